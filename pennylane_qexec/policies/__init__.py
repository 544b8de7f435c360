"""Policies: selectors, splits, merges, retries and hedges, and the registry of their names."""

from pennylane_qexec.policies import hedges, merges, retries, selectors, splits
from pennylane_qexec.policies.registry import Policies

__all__ = ["Policies", "hedges", "merges", "retries", "selectors", "splits"]

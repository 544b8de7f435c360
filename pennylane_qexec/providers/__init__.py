"""Providers: which backends there are, here and elsewhere, by provider and name."""

from pennylane_qexec.providers.backend import Backend, Kind, Provider
from pennylane_qexec.providers.choice import LOCAL
from pennylane_qexec.providers.virtual import VirtualProvider

__all__ = ["LOCAL", "Backend", "Kind", "Provider", "VirtualProvider"]

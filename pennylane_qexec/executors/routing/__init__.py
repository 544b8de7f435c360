"""Several executors as one, with a rule that says who gets which circuit."""

from pennylane_qexec.executors.routing.hybrid import Hybrid
from pennylane_qexec.executors.routing.rules import BySize, Tier, smallest_first

__all__ = ["BySize", "Hybrid", "Tier", "smallest_first"]

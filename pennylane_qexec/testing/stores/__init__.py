"""The contract of stores."""

from pennylane_qexec.testing.stores.jobs import Caching, Changes, Records
from pennylane_qexec.testing.stores.workers import Claims, Runs


class StoreContract(Runs, Records, Changes, Claims, Caching):
    """What every store keeps to."""

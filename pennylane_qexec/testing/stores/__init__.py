"""The contract of stores."""

from pennylane_qexec.testing.stores.caching import Caching
from pennylane_qexec.testing.stores.changes import Changes
from pennylane_qexec.testing.stores.claims import Claims
from pennylane_qexec.testing.stores.records import Records
from pennylane_qexec.testing.stores.runs import Runs


class StoreContract(Runs, Records, Changes, Claims, Caching):
    """What every store keeps to."""

"""The contract of stores."""

from pennylane_qexec.testing.stores.experiments import Experiments
from pennylane_qexec.testing.stores.forks import Forks
from pennylane_qexec.testing.stores.jobs import Caching, Changes, RecordedJobs
from pennylane_qexec.testing.stores.workers import Claims, Runs


class StoreContract(Runs, RecordedJobs, Changes, Claims, Forks, Experiments, Caching):
    """What every store keeps to."""

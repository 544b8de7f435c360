"""The cluster: what plans where circuits run, and has them run."""

from pennylane_qexec.cluster.cluster import QCluster
from pennylane_qexec.cluster.sweeps import submit_sweeps, sweeps_of

__all__ = ["QCluster", "submit_sweeps", "sweeps_of"]

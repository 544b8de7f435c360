"""The cluster: what plans where circuits run, and has them run."""

from pennylane_qexec.cluster.cluster import QCluster

__all__ = ["QCluster"]

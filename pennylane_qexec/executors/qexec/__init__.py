"""A server of one's own, or of a colleague's, as an executor."""

from pennylane_qexec.executors.qexec.executor import QExecRemote

__all__ = ["QExecRemote"]

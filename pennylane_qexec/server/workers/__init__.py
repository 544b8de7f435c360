"""Worker processes of a server: what runs in them, what drives one from outside, and how many there are of which."""

from pennylane_qexec.server.workers.pools import WorkerPool, pools_of
from pennylane_qexec.server.workers.processes import TaskStoppedError, WorkerProcess
from pennylane_qexec.server.workers.worker import Programs, ServerPrograms

__all__ = ["Programs", "ServerPrograms", "TaskStoppedError", "WorkerPool", "WorkerProcess", "pools_of"]

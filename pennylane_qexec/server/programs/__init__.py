"""Programs: what jobs ask for. Worker processes run them; what the server itself needs of them is cheap to import."""

from pennylane_qexec.server.programs.options import PROGRAMS, check_params, coalescing_key
from pennylane_qexec.server.programs.running import run
from pennylane_qexec.server.programs.tasks import Answer, ProgramError, Task

__all__ = ["PROGRAMS", "Answer", "ProgramError", "Task", "check_params", "coalescing_key", "run"]

"""Every exception of the package. Each message says what was wrong, then what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral
from typing import Any

from pennylane.exceptions import DeviceError, WireError


class QExecError(Exception):
    """Base of all errors raised by ``pennylane_qexec``."""


class ConfigurationError(QExecError, ValueError):
    """An option, a spec or a combination of them makes no sense."""


class PolicyError(QExecError):
    """A selector, split or merge is unknown, or returned something it must not return."""


class AnalyticCircuitError(QExecError, ValueError):
    """A circuit without shots was given to something that shares out shots."""


class NoExecutorError(QExecError, DeviceError, WireError):
    """No executor of the cluster can run a circuit; also what PennyLane's code expects of a device then.

    Args:
        circuit: a short description of the circuit.
        reasons: why, for each executor's name.
    """

    def __init__(self, circuit: str, reasons: dict[str, str]) -> None:
        super().__init__(circuit, reasons)
        self.circuit = circuit
        self.reasons = reasons

    def __str__(self) -> str:
        why = "; ".join(f"{name!r} {reason.rstrip('.')}" for name, reason in self.reasons.items())
        wide = any(word in why for word in ("wires", "qubits", "memory"))
        return (
            f"no executor of the cluster can run {self.circuit}: {why}. Add an executor that can, or change the "
            f"circuit{' (qml.cut_circuit makes wide circuits narrower)' if wide else ''}."
        )


class ExecutorError(QExecError, RuntimeError):
    """An executor failed on a circuit, after all attempts that the retry policy and failover allow.

    The executor's own exception is ``cause``, and ``__cause__`` in the traceback.

    Args:
        executor: name of the executor that failed last.
        attempt: how many attempts were made, on all executors together.
        cause: the exception of the last attempt.
    """

    def __init__(self, executor: str, attempt: int, cause: BaseException) -> None:
        super().__init__(executor, attempt, cause)
        self.executor = executor
        self.attempt = attempt
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        cause = f"{type(self.cause).__name__}: {str(self.cause).rstrip('.')}"
        return (
            f"executor {self.executor!r} failed at attempt {self.attempt}: {cause}. Look at the cause above, or add an "
            "executor to fail over to."
        )


class JobTimeoutError(QExecError, TimeoutError):
    """A circuit took longer than the cluster's ``timeout``.

    Args:
        seconds: the time limit, in seconds.
        executor: name of the executor the circuit was with; ``None`` if none had taken it.
    """

    def __init__(self, seconds: float, executor: str | None) -> None:
        super().__init__(seconds, executor)
        self.seconds = seconds
        self.executor = executor

    def __str__(self) -> str:
        where = f"on executor {self.executor!r}" if self.executor else "waiting for an executor"
        return f"a circuit had no result after {self.seconds:g} s {where}. Give a longer timeout=, or add executors."


class JobCancelledError(QExecError):
    """A job was cancelled, or its cluster closed, before it had a result."""


class JobFailedError(QExecError, RuntimeError):
    """A job failed at its backend.

    Args:
        backend: the backend's name.
        job_id: the provider's id of the job.
        reason: what the provider says of it.
    """

    def __init__(self, backend: str, job_id: str, reason: str) -> None:
        super().__init__(backend, job_id, reason)
        self.backend = backend
        self.job_id = job_id
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job_id!r} failed at {self.backend!r}: {self.reason.rstrip('.') or 'no reason was given'}."


class WorkerDiedError(QExecError):
    """A worker process ended in the middle of a batch: killed, out of memory, or crashed in native code."""


def unknown(kind: str, name: object, known: Iterable[str], hint: str = "") -> str:
    """The message for a name that nobody knows: the nearest known name, all of them, and what else would do."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"no {kind} is called {name!r}.{guess} Known: {', '.join(names) or 'none'}.{' ' + hint if hint else ''}"


def checked_seed(seed: Any) -> int | None:
    """A seed, as a plain number.

    Raises:
        ConfigurationError: it is none.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ConfigurationError(f"seed={seed!r} must be a whole number of at least 0, or None.")
    return int(seed)

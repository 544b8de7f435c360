"""Every exception of the package. Each message says what was wrong, then what to do."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from pennylane_qexec.redaction import scrub

if TYPE_CHECKING:
    from pennylane_qexec.errors.no_executor import NoBackendError as NoBackendError
    from pennylane_qexec.errors.no_executor import NoExecutorError as NoExecutorError

T = TypeVar("T")

_MOST_NAMES, _LIKE_IT = 50, 8


class QExecError(Exception):
    """Base of all errors raised by ``pennylane_qexec``. What they say has no secrets in it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*[scrub(one) if isinstance(one, str) else one for one in arguments])


class ConfigurationError(QExecError, ValueError):
    """An option, a spec or a combination of them makes no sense."""


class NoAccessError(ConfigurationError):
    """A backend cannot be used as it is configured: no account, no such machine, or a package that is missing."""


class PolicyError(QExecError):
    """A selector, split or merge is unknown, or returned something it must not return."""


class AnalyticCircuitError(QExecError, ValueError):
    """A circuit without shots was given to something that shares out shots."""


class ExecutorError(QExecError, RuntimeError):
    """An executor failed on a circuit, after all attempts that the retry policy and failover allow.

    The executor's own exception is ``cause``, and ``__cause__`` in the traceback. What catches that one catches this
    one too: it is also of the cause's class, if that is a ``ValueError``, a ``NotImplementedError``, one of PennyLane's
    or any other that adds nothing to its base.

    Args:
        executor: name of the executor that failed last.
        attempt: how many attempts were made, on all executors together; 0 if the executor was set aside before.
        cause: the exception of the last attempt.
        row: which circuit of a sweep it was, the first being 0; ``None`` if that is not known, or it was of none.
    """

    def __new__(cls, executor: str, attempt: int, cause: BaseException, row: int | None = None) -> ExecutorError:
        """An error that is also of its cause's class, as ``OSError(2, "")`` is a ``FileNotFoundError``."""
        kind: type[ExecutorError] = also_of(cls, type(cause))
        return super().__new__(kind, executor, attempt, cause)

    def __init__(self, executor: str, attempt: int, cause: BaseException, row: int | None = None) -> None:
        super().__init__(executor, attempt, cause)
        self.executor = executor
        self.attempt = attempt
        self.cause = cause
        self.row = row
        self.__cause__ = cause

    def __str__(self) -> str:
        cause = scrub(f"{type(self.cause).__name__}: {str(self.cause).rstrip('.')}")
        failed = f"failed at attempt {self.attempt}" if self.attempt else "was set aside before the first attempt"
        if self.row is not None:
            failed += f" on row {self.row} of a sweep, counted from 0"
        advice = "Look at the cause above, or add an executor to fail over to."
        return f"executor {self.executor!r} {failed}: {cause}. {advice}"

    def __reduce__(self) -> Any:
        return named(type(self)), self.args, self.__dict__


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


class ExperimentTimeoutError(JobTimeoutError):
    """An experiment was waited for in vain. It goes on.

    Args:
        seconds: how long it was waited for.
        ended: how many of its circuits have ended.
        circuits: how many there are.
    """

    def __init__(self, seconds: float, ended: int, circuits: int) -> None:
        super().__init__(seconds, None)
        self.args = (seconds, ended, circuits)
        self.ended = ended
        self.circuits = circuits

    def __str__(self) -> str:
        return (
            f"after {self.seconds:g} s, {self.ended} of {self.circuits} circuits have ended; the others go on. Ask "
            "again, look at partial_results(), or give them up with cancel()."
        )


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
        self.reason = scrub(reason)

    def __str__(self) -> str:
        return f"job {self.job_id!r} failed at {self.backend!r}: {self.reason.rstrip('.') or 'no reason was given'}."


class ResultError(QExecError, RuntimeError):
    """What came as the result of a circuit cannot be one. It may be worth trying again; it is never used.

    Args:
        what: what was measured.
        difference: what was expected of it, and what came.
    """

    def __init__(self, what: str, difference: str) -> None:
        super().__init__(what, difference)
        self.what = what
        self.difference = difference

    def __str__(self) -> str:
        return f"the result of {self.what} is not valid: {self.difference}. Correct what the executor returns."


class UnansweredError(QExecError, ConnectionError):
    """A backend did not say for long what has become of a job of a durable run. The job may still run there.

    Args:
        executor: name of the executor.
        job_id: the backend's id of the job.
        seconds: for how long it was asked.
    """

    def __init__(self, executor: str, job_id: str, seconds: float) -> None:
        super().__init__(executor, job_id, seconds)
        self.executor = executor
        self.job_id = job_id
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"executor {self.executor!r} was asked for job {self.job_id!r} for {self.seconds:.0f} s, in vain. Look at "
            "the connection and the account, and run the program again: its durable run picks the job up."
        )


class BudgetExceededError(QExecError, RuntimeError):
    """What was asked for would pass a budget, so it was not sent: of a call, no circuit; of a job, no further attempt.

    Args:
        what: what there is not enough of: ``"shots"``, ``"circuits"``, ``"cost"`` (US dollars) or ``"seconds"``.
        limit: how much there was.
        used: how much of it is used.
        reserved: how much is reserved for circuits that wait or run.
        asked: how much more was asked for.
    """

    def __init__(self, what: str, limit: float, used: float, reserved: float, asked: float) -> None:
        super().__init__(what, limit, used, reserved, asked)
        self.what = what
        self.limit = limit
        self.used = used
        self.reserved = reserved
        self.asked = asked

    def __str__(self) -> str:
        unit = "US dollars" if self.what == "cost" else self.what
        limit, used, reserved, asked = (
            f"{number:,}" if isinstance(number, int) else f"{number:,.6g}"
            for number in (self.limit, self.used, self.reserved, self.asked)
        )
        return (
            f"{asked} more {unit} would pass the budget of {limit} {unit}, of which {used} are used and {reserved} "
            f"reserved for circuits under way. Nothing was sent. Ask for less, or give a Budget with more {self.what}."
        )


class PartialResultError(QExecError):
    """Some of an experiment's results are missing, so that they are not merged.

    Args:
        reason: what failed.
        partial: the results that there are, by provider and backend.
    """

    def __init__(self, reason: str, partial: Any) -> None:
        super().__init__(reason, partial)
        self.reason = scrub(reason)
        self.partial = partial

    def __str__(self) -> str:
        return (
            f"{self.reason.rstrip('.')}. Results are not merged without them: look at errors; run them again with "
            "rerun(), or from the start with on_failure='rerun'; or merge what is there with on_failure='partial'."
        )


class PartialResultWarning(UserWarning):
    """Some of an experiment's shots are missing from what is looked at, or were not asked for."""


class StoreError(QExecError, RuntimeError):
    """A store cannot be opened, read or written, or was asked for a change that makes no sense."""


class StoreMismatchError(StoreError):
    """A run has another job under a number than the one that was to be recorded.

    Args:
        run: id of the run.
        stored: the job that it has.
        new: the job that was to be recorded.
    """

    def __init__(self, run: int, stored: Any, new: Any) -> None:
        super().__init__(run, stored, new)
        self.run = run
        self.stored = stored
        self.new = new

    def __str__(self) -> str:
        return (
            f"job {self.stored.number} of run {self.run} was recorded with the key {self.stored.key!r}, not "
            f"{self.new.key!r}. Record it in another run."
        )


class ReplayMismatchError(QExecError, RuntimeError):
    """A program asks for other circuits than its durable run has recorded. Nothing was sent, and nothing is lost.

    Args:
        run: name of the run.
        number: the recorded circuit that was expected next, counted from 1.
        difference: what is different, in words.
    """

    def __init__(self, run: str, number: int, difference: str) -> None:
        super().__init__(run, number, difference)
        self.run = run
        self.number = number
        self.difference = difference

    def __str__(self) -> str:
        return (
            f"the durable run {self.run!r} has recorded another circuit as number {self.number} than the program asks "
            f"for: {self.difference}. Nothing was sent. Run the program as it was, with the same parameters and seeds, "
            "or give what it does now another name."
        )


class WorkerDiedError(QExecError):
    """A worker process ended in the middle of a batch: killed, out of memory, or crashed in native code."""


def also_of(error: Any, cause: Any) -> Any:
    """A class of errors that is both, so that a ``try`` around plain PennyLane works around a cluster as well.

    Args:
        error: one of the errors here. It is what the class is called, and what it does.
        cause: the class of an exception. In its place stands the first of its bases that has nothing to initialize.

    Returns:
        The class; the error's own if there is no such base, or if the error is one of its kind already.
    """
    for base in cause.__mro__:
        if issubclass(error, base) or not issubclass(base, Exception):
            break
        if _adds_nothing(base):
            return _both(error, base)
    return error


@cache
def _both(error: Any, base: Any) -> Any:
    said = {"__module__": error.__module__, "__doc__": error.__doc__, "_named": error}
    return type(error.__name__, (error, base), said)


def _adds_nothing(kind: type[BaseException]) -> bool:
    """Whether an exception of this class is nothing else than its arguments."""
    builtin = next(one for one in kind.__mro__ if one.__module__ == "builtins")
    if issubclass(kind, QExecError) or type(kind) is not type or builtin.__basicsize__ != Exception.__basicsize__:
        return False
    others = kind.__mro__[: kind.__mro__.index(builtin)]
    return not any({"__init__", "__new__", "__slots__"} & vars(one).keys() for one in others)


def named(kind: type[BaseException]) -> Any:
    """The class of errors that another process can import, in place of one that :func:`also_of` has made of it."""
    return vars(kind).get("_named", kind)


def unknown(kind: str, name: object, known: Iterable[str], hint: str = "") -> str:
    """The message for a name that nobody knows: the nearest known name, all of them, and what else would do.

    Of very many names, those are listed that are most like it.
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    listed = names
    if len(names) > _MOST_NAMES:
        listed = sorted(difflib.get_close_matches(str(name), names, n=_LIKE_IT, cutoff=0.0))
        listed.append(f"and {len(names) - len(listed)} more")
    return f"no {kind} is called {name!r}.{guess} Known: {', '.join(listed) or 'none'}.{' ' + hint if hint else ''}"


def refuse_unknown(kind: str, names: Iterable[object], known: Collection[str]) -> None:
    """Refuse a name that nobody knows among those that a user gave; see :func:`unknown`.

    Raises:
        ConfigurationError: there is one.
    """
    for name in names:
        if name not in known:
            raise ConfigurationError(unknown(kind, name, known))


def coerce(kind: type[T], value: Any, refusal: str, argument: str = "") -> T:
    """A value that a user gave, as an object of a class: given as such, or as a mapping with its arguments.

    Args:
        kind: the class.
        value: what was given.
        refusal: the message for what is neither, or a mapping without an argument that the class needs.
        argument: what an argument is called in the message for one that there is not; default: after the class.

    Raises:
        ConfigurationError: the value means no such object.
    """
    if isinstance(value, kind):
        return value
    arguments = inspect.signature(kind).parameters
    needed = {name for name, parameter in arguments.items() if parameter.default is parameter.empty}
    if not isinstance(value, Mapping) or needed - value.keys():
        raise ConfigurationError(refusal)
    refuse_unknown(argument or f"argument of {kind.__name__}", value, arguments)
    return kind(**value)


def misfit(error: TypeError, function: Any, *arguments: Any, **options: Any) -> bool:
    """Whether a function raised an error since it does not take what it was given, and not for a mistake inside of it.

    Args:
        error: what it raised.
        function: what was called; functions and classes of extensions may not say what they take.
        arguments: what it was given.
        options: what it was given by name, and may have passed on to another one that does not know it.
    """
    if any(f"unexpected keyword argument {name!r}" in str(error) for name in options):
        return True
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError:
        return True
    except ValueError:
        return error.__traceback__ is None or error.__traceback__.tb_next is None
    return False


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


def __getattr__(name: str) -> Any:
    """The errors that are also PennyLane's, so that the others can be had without importing PennyLane."""
    if name in ("NoBackendError", "NoExecutorError"):
        return getattr(importlib.import_module("pennylane_qexec.errors.no_executor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

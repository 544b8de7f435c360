"""Jobs at Qiskit Runtime: each by itself, or in a session or batch that is open meanwhile; and what came back."""

from __future__ import annotations

import logging
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal, final

from pennylane_qexec.concurrency.lifecycle import ExitPhase, at_exit
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.remote.jobs import STATES, VendorJob
from pennylane_qexec.job import JobState

_PREFIX = "Unable to retrieve job result. "

_STATES = {**STATES, "DONE": JobState.DONE, "ERROR": JobState.FAILED}


@final
class PrimitiveJob(VendorJob):
    """A job of one of the primitives.

    Args:
        job: the job of Qiskit Runtime, or of its local mode.
    """

    polled_together = True  # there are two at most

    def __init__(self, job: Any) -> None:
        super().__init__()
        self._job = job

    @property
    def job_id(self) -> str:
        return str(self._job.job_id())

    @property
    def tags(self) -> Sequence[str]:
        return self._job.tags or ()

    def ask(self) -> JobState:
        status = self._job.status()
        name = status if isinstance(status, str) else status.name
        return _STATES.get(name.upper(), JobState.RUNNING)

    def stop(self) -> None:
        self._job.cancel()

    def reason(self, error: Exception | None) -> str:
        """What IBM says; its errors show their message in quotation marks."""
        return super().reason(error).strip("'\"").removeprefix(_PREFIX)

    def download(self, backend: str) -> Sequence[Any]:
        """The result of each PUB."""
        return list(self._job.result())


ModeName = Literal["session", "batch"]

_ENDED = ("Closed", "In progress, not accepting new jobs")
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

logger = logging.getLogger("pennylane_qexec")


@final
class Mode:
    """Sends jobs by themselves, or in one session or batch, which is opened when the first is sent.

    Args:
        kind: ``None`` for jobs by themselves.
        max_time: seconds that a session or batch is open at most, or a text such as ``"1h 30m"``; default: IBM's.

    Raises:
        ConfigurationError: there is no such mode, or it cannot have this time.
    """

    _session: Any = None

    def __init__(self, kind: ModeName | None = None, max_time: float | str | None = None) -> None:
        if kind not in (None, "session", "batch"):
            raise ConfigurationError(unknown("mode", kind, ("session", "batch"), "None sends each job by itself."))
        if kind is None and max_time is not None:
            raise ConfigurationError(
                f"max_time={max_time!r} is how long a session or a batch may be open: give mode='session' or 'batch' "
                "too; or limit each job with options={'max_execution_time': seconds}."
            )
        self._kind = kind
        self._max_time = None if max_time is None else seconds(max_time)
        self._start()

    def send(self, backend: Any, send: Callable[[Any], Any]) -> Any:
        """Send a job.

        Args:
            backend: Qiskit's backend, the same one every time.
            send: sends it, given what Qiskit's primitives take for ``mode``.

        Returns:
            What ``send`` returned. In a session that has ended meanwhile it fails, and is called again in a new one.
        """
        if self._kind is None:
            return send(backend)
        with self._lock:
            fresh = self._session is None
            session = self._session or self._open(backend)
            try:
                return send(session)
            except Exception:
                if fresh:
                    self._close()
                    raise
                if not _has_ended(session):
                    raise
            logger.info("the %s on %r has ended; opening another one", self._kind, session.backend())
            self._close()
            return send(self._open(backend))

    def close(self) -> None:
        """End the session or batch, if one is open. Jobs that were sent still run."""
        with self._lock:
            self._close()

    @property
    def session_id(self) -> str | None:
        """IBM's id of the session or batch that is open."""
        session = self._session
        return None if session is None else session.session_id

    def _open(self, backend: Any) -> Any:
        from qiskit_ibm_runtime import Batch, Session

        kind = Session if self._kind == "session" else Batch
        self._session = kind(backend=backend, max_time=self._max_time)
        at_exit(ExitPhase.SESSIONS, _close_all)
        _opened.add(self)
        return self._session

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        try:
            session.close()
        except Exception as error:  # it ends by itself, later; whoever closes has other things to close
            logger.warning("the %s on %r could not be ended (%r)", self._kind, session.backend(), error)

    def _start(self) -> None:
        self._session = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_kind": self._kind, "_max_time": self._max_time}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()


def seconds(time: float | str) -> int:
    """A time as whole seconds.

    Args:
        time: seconds, or a text such as ``"1h 30m"``.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(time, str):
        parts = re.findall(r"(?<!\d)(\d+)\s*([dhms])", time.lower())
        if parts and not re.sub(r"(?<!\d)\d+\s*[dhms]", "", time.lower()).strip():
            return sum(int(number) * _UNITS[unit] for number, unit in parts)
    elif not isinstance(time, bool) and time >= 1:
        return int(time)
    raise ConfigurationError(f"max_time={time!r} must be seconds, at least 1, or a text such as '1h 30m'.")


def _has_ended(session: Any) -> bool:
    try:
        return session.status() in _ENDED
    except Exception:  # the network: what sending raised says more
        return False


_opened: weakref.WeakSet[Mode] = weakref.WeakSet()
"""The modes that had a session; they are closed when the process ends."""


def _close_all() -> None:
    for mode in list(_opened):
        mode.close()

"""What remote executors share: the jobs an executor has sent to its backend, by their ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

_JOINT = "+"
_REMEMBERED = 8


class Sent(Protocol):
    """What was sent for a batch."""

    @property
    def job_id(self) -> str: ...


F = TypeVar("F", bound=Sent)


def joined(ids: Iterable[str]) -> str:
    """One id for what has become several jobs at the backend."""
    return _JOINT.join(ids)


def ids_of(job_id: str) -> list[str]:
    """The ids of the jobs at the backend."""
    return job_id.split(_JOINT)


class Flights(Generic[F]):
    """What was sent, by its id; of what has ended, only the last ones are remembered.

    Args:
        find: finds what another process has sent, by its id.
    """

    def __init__(self, find: Callable[[str], F]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._going: dict[str, F] = {}
        self._ended: OrderedDict[str, F] = OrderedDict()

    def add(self, flight: F) -> str:
        """Remember what was sent, and return its id."""
        job_id = flight.job_id
        with self._lock:
            self._going[job_id] = flight
        return job_id

    def get(self, job_id: str) -> F:
        """What was sent with an id, by whichever process."""
        with self._lock:
            flight = self._going.get(job_id) or self._ended.get(job_id)
        if flight is None:
            flight = self._find(job_id)
            self.add(flight)
        return flight

    def end(self, job_id: str) -> None:
        """It need not be remembered for long."""
        with self._lock:
            flight = self._going.pop(job_id, None)
            if flight is not None:
                self._ended[job_id] = flight
            while len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

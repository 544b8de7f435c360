"""How entries come to their end: written down first, then told to whoever waits."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pennylane_qexec.durable.entry import Entry
from pennylane_qexec.durable.follower import Follower
from pennylane_qexec.durable.keeper import Keeper, TakenOverError
from pennylane_qexec.durable.recorder import Recorder
from pennylane_qexec.engine.futures import resolve
from pennylane_qexec.errors import BudgetExceededError, JobCancelledError, StoreError, UnansweredError
from pennylane_qexec.job import Outcome

logger = logging.getLogger("pennylane_qexec")

_KEPT = 1000
"""Entries that were cancelled, and may still be sent with others."""


class Ended(NamedTuple):
    """An entry has ended: with an outcome, or an error; or nobody wants it any more."""

    entry: Entry
    value: Outcome | BaseException | None


class Settling:
    """Brings entries to their end, in the recorder's thread.

    Args:
        keeper: writes it down.
        follower: forgets them.
        recorder: counts them.
        taken_over: called with entries that another process has now.
        resumes: whether the run asks for what was left when it goes on.
        in_vain: called with entries of which nothing came, before it is told.
    """

    def __init__(
        self,
        keeper: Keeper,
        follower: Follower,
        recorder: Recorder,
        taken_over: Callable[[list[Entry]], None],
        resumes: bool,
        in_vain: Callable[[Entry], None],
    ) -> None:
        self._keeper = keeper
        self._follower = follower
        self._recorder = recorder
        self._taken_over = taken_over
        self._resumes = resumes
        self._in_vain = in_vain
        self._cancelled: deque[Entry] = deque()
        self.left: list[Entry] = []
        """Entries that nobody waits for now, and that were not given back."""

    def settle(self, ended: Sequence[Ended]) -> None:
        """Write down how entries ended, and tell those who wait."""
        fresh = {id(one.entry): one for one in reversed(ended) if not one.entry.over}
        done: list[tuple[Entry, Outcome]] = []
        for one in reversed(fresh.values()):
            if isinstance(one.value, Outcome):
                done.append((one.entry, one.value))
            elif isinstance(one.value, TakenOverError):
                self._taken_over([one.entry])
            else:
                self._settle_without(one.entry, one.value)
        if done:
            self._settle_done(done)

    def tell(self, entry: Entry, value: Outcome | BaseException) -> None:
        """Bring an entry to its end, as the store has it already."""
        if entry.over:
            return
        entry.over = True
        try:
            entry.asking.context.copy().run(resolve, entry.future, value)
        finally:
            self._recorder.ended()

    def _settle_done(self, done: Sequence[tuple[Entry, Outcome]]) -> None:
        try:
            others = self._keeper.done(done)
        except Exception as error:  # whatever it is, nobody is left waiting
            for entry, _ in done:
                self._in_vain(entry)
                self._forget_and_tell(entry, error)
            return
        for entry, outcome in done:
            if entry not in others:
                self._forget_and_tell(entry, outcome)
        if others:
            self._taken_over(others)

    def _settle_without(self, entry: Entry, error: BaseException | None) -> None:
        """Settle an entry that was not run; ``None`` if its future was cancelled."""
        if error is None:
            error = JobCancelledError("the job was cancelled.")
        later = self._resumes and (
            entry.left
            or isinstance(error, UnansweredError)
            or (isinstance(error, JobCancelledError) and not entry.future.cancelled())
        )
        try:
            self._write_without(entry, error, later)
        except Exception as broken:  # nobody is left waiting
            logger.warning("how a circuit ended (%r) could not be recorded: %s", error, broken)
        self._in_vain(entry)
        if later:
            entry.left = True
            self.left.append(entry)
            self.tell(entry, error)
        elif entry.future.cancelled():
            self._keep_for_a_while(entry)
            self.tell(entry, error)
        else:
            self._forget_and_tell(entry, error)

    def _keep_for_a_while(self, entry: Entry) -> None:
        """Not forget an entry that was cancelled: others may go on in the job in which it is sent."""
        self._cancelled.append(entry)
        if len(self._cancelled) > _KEPT:
            self._follower.forget(self._cancelled.popleft())

    def _write_without(self, entry: Entry, error: BaseException, later: bool) -> None:
        if later or isinstance(error, StoreError):
            self._keeper.give_back([entry])
        elif isinstance(error, BudgetExceededError):
            self._keeper.send_back([entry])
        elif isinstance(error, JobCancelledError):
            self._keeper.cancelled([entry])
        else:
            self._keeper.failed([(entry, error)])

    def _forget_and_tell(self, entry: Entry, value: Outcome | BaseException) -> None:
        self._follower.forget(entry)
        self.tell(entry, value)

"""Entries that have to be run: in the calling thread, or by whoever asks for them, and what comes back."""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Sequence
from functools import partial

from pennylane_qexec.concurrency.futures import AskedFuture, wait_for_all
from pennylane_qexec.job import Outcome
from pennylane_qexec.persistence.durable.completion import Ended, EventThread, ResultRecorder
from pennylane_qexec.persistence.durable.jobs import RunCall, RunEntry
from pennylane_qexec.persistence.runners import Runner
from pennylane_qexec.persistence.store import State
from pennylane_qexec.policies.budgets import Budget, counting


class EntryRunner:
    """Has entries run.

    Args:
        recorder: in whose thread it is dealt with how they end.
        settling: deals with that.
        budget: what counts for all of them, in whatever thread they are asked for.

    Attributes:
        executed: how many circuits were run.
    """

    def __init__(self, recorder: EventThread, settling: ResultRecorder, budget: Budget | None) -> None:
        self._recorder = recorder
        self._settling = settling
        self._budget = budget
        self._stopped_by: Exception | None = None
        self.executed = 0

    def here(self, runner: Runner, entries: Sequence[RunEntry]) -> None:
        """Run entries in the calling thread, and record their results."""
        _note_attempts(entries)
        try:
            with counting(self._budget):
                outcomes: Sequence[Outcome | BaseException] = runner.run([entry.job for entry in entries])
        except BaseException as error:
            for entry in entries:
                entry.left = not isinstance(error, Exception)
            outcomes = [error] * len(entries)
        self.executed += len(entries)
        self._settling.settle([Ended(entry, one) for entry, one in zip(entries, outcomes, strict=True)])

    def begin(self, entries: Sequence[RunEntry]) -> None:
        """Have entries run; those of one call together."""
        calls: dict[int, list[RunEntry]] = {}
        for entry in entries:
            calls.setdefault(id(entry.asking), []).append(entry)
        for of_one_call in calls.values():
            self._submit(of_one_call[0].asking, of_one_call)

    def _submit(self, asking: RunCall, entries: Sequence[RunEntry]) -> None:
        def is_asked() -> bool:
            return any(entry.future.asked for entry in entries)

        def submit() -> list[AskedFuture[Outcome]]:
            with counting(self._budget):
                return asking.runner.submit([entry.job for entry in entries], asking.asked or is_asked)

        _note_attempts(entries)
        try:
            inner = asking.context.copy().run(submit)
        except Exception as error:
            self._settling.settle([Ended(entry, error) for entry in entries])
            return
        self.executed += len(entries)
        for entry, future in zip(entries, inner, strict=True):
            entry.inner = future
            future.add_done_callback(partial(self._ended, entry))
            if entry.future.cancelled():
                future.cancel()

    def _ended(self, entry: RunEntry, inner: concurrent.futures.Future[Outcome]) -> None:
        """Whoever ran an entry has come to an end with it."""
        value = self._stopped_by if inner.cancelled() else inner.exception() or inner.result()
        self._recorder.put(Ended(entry, value))

    def stop(self, entries: Sequence[RunEntry], error: Exception) -> None:
        """Let entries not begin that wait for an executor.

        Args:
            entries: entries, of which some may have begun, and go on.
            error: what their callers are told.
        """
        self._stopped_by = error
        for entry in entries:
            if entry.inner is not None and entry.inner.started is None and entry.state is State.CLAIMED:
                entry.inner.cancel()

    def dropped(self, entry: RunEntry, future: concurrent.futures.Future[Outcome]) -> None:
        """What a caller waits for has ended, perhaps since it was cancelled."""
        if not future.cancelled():
            return
        if isinstance(sys.exception(), KeyboardInterrupt | SystemExit):
            entry.left = True  # the program is being ended, and does not mean this circuit
        if entry.inner is not None:
            entry.inner.cancel()
        self._recorder.put(Ended(entry, None))


def _note_attempts(entries: Sequence[RunEntry]) -> None:
    for entry in entries:
        entry.before = entry.row.attempt - 1


def wait_or_leave(entries: Sequence[RunEntry]) -> list[Outcome]:
    """The outcomes of entries. After the first error, or Ctrl-C, the others are left to the next try."""
    try:
        return wait_for_all([entry.future for entry in entries])
    except BaseException:
        leave(entries)
        raise


def leave(entries: Sequence[RunEntry]) -> None:
    """Wait no longer for entries that have not ended: they are asked for when the program is run again."""
    for entry in entries:
        if not entry.future.done():
            entry.left = True
            entry.future.cancel()


def raise_what_was_refused(entries: Sequence[RunEntry]) -> None:
    """Raise the error, if there is one, for which entries were not even sent."""
    for entry in entries:
        if entry.inner is None and entry.over and not entry.future.cancelled():
            entry.future.result()

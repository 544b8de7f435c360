"""Many calls of a QElectron at the same time: circuits that differ in numbers only go out as one sweep."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from pennylane_qexec.cluster.sweeps import JobGroup, grouped
from pennylane_qexec.concurrency import context, interrupts
from pennylane_qexec.concurrency.futures import bar
from pennylane_qexec.device.calls import PreparedCall
from pennylane_qexec.job import Job, Outcome

_AT_ONCE = 256
"""Calls whose circuits go out together if they run on this machine, which computes while others are recorded. Backends
elsewhere get all at the end, as one job."""


class MappedCalls:
    """Calls that run together.

    Args:
        device: the device on whose cluster they run.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._tracker = device.tracker if device.tracker.active else None
        self._calls: list[tuple[PreparedCall, range] | Future[Any]] = []
        self._owners: list[int] = []
        self._left: list[int] = []
        self._recorded: list[JobGroup] = []
        self._recorded_calls = 0
        self._kept: list[JobGroup] = []
        self._groups: dict[Future[Any], JobGroup | None] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._asked = False

    def add(self, call: PreparedCall) -> None:
        """Add a call whose circuits can be sent.

        Raises:
            BudgetExceededError: circuits that go out now would pass a budget.
        """
        first = len(self._owners)
        for job in self._device.cluster.numbered(call.jobs(self._device)):
            self._recorded.append(JobGroup.of(len(self._owners), job))
            self._owners.append(len(self._calls))
        self._left.append(len(self._owners) - first)
        self._calls.append((call, range(first, len(self._owners))))
        if self._tracker is None:
            call.circuits = ()  # of thousands of calls, their numbers take less memory
        self._recorded_calls += 1
        if self._recorded_calls == _AT_ONCE:
            self._send()

    def add_future(self, future: Future[Any]) -> None:
        """Add a call that runs by itself."""
        self._groups[future] = None
        self._left.append(1)
        self._calls.append(future)

    def results(self, progress: bool) -> list[Any]:
        """Wait for all calls; returns their results, in order.

        Args:
            progress: whether to show a progress bar.

        Raises:
            Exception: what the first that failed raises.
        """
        self._asked = True
        self._send(last=True)
        with bar(len(self._calls), progress) as advance:
            advance(self._left.count(0))
            for future in interrupts.as_completed(self._groups):
                ended, group = future.result(), self._groups[future]
                advance(1 if group is None else self._note(group, ended))
        return [one.result() if isinstance(one, Future) else self._finished(*one) for one in self._calls]

    def cancel(self) -> None:
        """Give up what has not run."""
        for future in self._groups:
            future.cancel()

    def _send(self, last: bool = False) -> None:
        groups = grouped(self._recorded)
        self._recorded, self._recorded_calls = [], 0
        if last:
            groups, self._kept = grouped([*self._kept, *groups]), []
        else:
            self._kept += [group for group in groups if _goes_whole(group.job)]
            groups = [group for group in groups if not _goes_whole(group.job)]
        futures = self._device.cluster.submit([group.job for group in groups], lambda: self._asked)
        self._groups.update(zip(futures, groups, strict=True))

    def _note(self, group: JobGroup, outcome: Outcome) -> int:
        """Take the outcomes of jobs; returns how many calls have ended with them."""
        ended = 0
        for place, own in group.outcomes(outcome):
            self._outcomes[place] = own
            owner = self._owners[place]
            self._left[owner] -= 1
            ended += not self._left[owner]
        return ended

    def _finished(self, call: PreparedCall, places: range) -> Any:
        outcomes = [self._outcomes[place] for place in places]
        context.note(outcomes)
        if self._tracker is not None:
            call.count(self._tracker, outcomes)
        return call.finish([outcome.result for outcome in outcomes])


def _goes_whole(job: Job) -> bool:
    return job.executor is not None and not job.executor.local

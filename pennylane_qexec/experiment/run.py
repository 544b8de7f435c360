"""One experiment under way: its entries, and what is done about those that fail."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.splits import too_small
from pennylane_qexec.experiment.submission import Launch, Workshop
from pennylane_qexec.experiment.tasks import Entry
from pennylane_qexec.persistence.cache.cache import Cache
from pennylane_qexec.policies.budgets import Budget
from pennylane_qexec.policies.retries import Backoff
from pennylane_qexec.policies.splits import apportion
from pennylane_qexec.providers import Backend
from pennylane_qexec.providers.backend import OF_CALLS

logger = logging.getLogger("pennylane_qexec")

OnFailure = Literal["refuse", "rerun", "partial"]
"""What to do about jobs that failed: not to merge results; to run their shots elsewhere; to merge what is there."""


@dataclass(frozen=True)
class Settings:
    """How the jobs of an experiment are run.

    Attributes:
        processes: whether local simulators run in worker processes.
        timeout: seconds that each circuit may take; ``None`` for no limit.
        retry: how often a circuit is tried on its backend.
        on_failure: what is done about jobs that failed.
        adds_up: whether the shares of a circuit add up to it, so that failed ones may be run by other backends.
        budget: what all jobs together may use at most; ``None`` for no limit.
        cache: answers circuits whose results are known; ``None`` for none.
    """

    processes: bool
    timeout: float | None
    retry: Backoff
    on_failure: OnFailure
    adds_up: bool
    budget: Budget | None = None
    cache: Cache | None = None


class Run:
    """Runs the entries of an experiment.

    Args:
        entries: what to run, in the order of the dispatch.
        workshop: where executors come from.
        settings: how.
    """

    def __init__(self, entries: Sequence[Entry], workshop: Workshop, settings: Settings) -> None:
        self.entries = list(entries)
        self.settings = settings
        self._workshop = workshop
        self._condition = threading.Condition()
        self._launches: list[Launch] = []
        self._under_way = 0
        self._moved = False
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    def start(self, wait: bool) -> None:
        """Start all entries.

        Args:
            wait: whether the caller waits anyway; else executors are built in a thread.
        """
        self._launch(self.entries, wait)

    @property
    def over(self) -> bool:
        """Whether everything has ended."""
        with self._condition:
            return not self._under_way

    def wait(self, timeout: float | None) -> bool:
        """Wait until everything has ended, or for some seconds; returns whether it has."""
        with self._condition:
            return interrupts.wait(
                lambda seconds: self._condition.wait_for(lambda: not self._under_way, seconds), timeout
            )

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever an entry has ended."""
        self._listeners.append(listener)

    def cancel(self) -> None:
        """Give up what has not ended."""
        with self._condition:
            self._cancelled = True
            launches = list(self._launches)
        for launch in launches:
            launch.cancel()

    def rerun(self, backends: Sequence[Backend] | None) -> None:
        """Run the shots of what has failed again.

        Args:
            backends: where, in equal shares; ``None`` for the backends where they have failed.

        Raises:
            ConfigurationError: each backend's shots are of interest by themselves, so that no other can run them.
        """
        if backends is not None and not self.settings.adds_up:
            raise ConfigurationError(
                "every backend was to run all the shots, so that none can run another's: use rerun() without backends."
            )
        with self._condition:
            self._cancelled = False
        failed = self.failed()
        moved = [
            one
            for entry in failed
            for one in self._again(entry, [entry.backend] if backends is None else list(backends))
        ]
        if moved:
            self._launch(moved, wait=True)

    def failed(self) -> list[Entry]:
        """The entries that failed, or were cancelled, and whose shots have not been sent anywhere since."""
        return [entry for entry in self.entries if entry.state.final and not entry.done and not entry.moved]

    def _launch(self, entries: Sequence[Entry], wait: bool) -> None:
        settings = self.settings
        launch = Launch(
            entries,
            self._workshop,
            settings.processes,
            settings.timeout,
            settings.retry,
            settings.budget,
            settings.cache,
            self._note,
        )
        with self._condition:
            self._launches.append(launch)
            self._under_way += 1
        if not wait:
            # What a context says, such as a budget, holds for what is started within.
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(launch.start,), name="qexec-experiment").start()
            return
        launch.start()
        if launch.refused is not None:
            raise launch.refused

    def _note(self, entry: Entry | None) -> None:
        """An entry has ended, or, without one, a launch has."""
        if entry is None:
            self._launch_over()
            return
        for listener in self._listeners:
            try:
                listener()
            except Exception:
                logger.exception("what listens to an experiment failed; the experiment goes on")

    def _launch_over(self) -> None:
        moved = self._move_once()
        if moved:
            self._launch(moved, wait=False)
        with self._condition:
            self._under_way -= 1
            self._condition.notify_all()

    def _move_once(self) -> list[Entry]:
        """The failed shots of the first launch, on other backends, if they are wanted there."""
        with self._condition:
            if self._moved or self._cancelled or self.settings.on_failure != "rerun":
                return []
            self._moved = True
        failed = self.failed()
        broken = {entry.place for entry in failed}
        working = {entry.place: entry.backend for entry in self.entries if entry.done and entry.place not in broken}
        moved = []
        for entry in failed:
            elsewhere = [one for one in working.values() if _fits(one, entry)]
            moved += self._again(entry, elsewhere if self.settings.adds_up else [entry.backend])
        return moved

    def _again(self, failed: Entry, backends: Sequence[Backend]) -> list[Entry]:
        """The shots of a failed entry, shared out over backends."""
        if not backends:
            return []
        shares = [failed.shots] if failed.shots is None else apportion(failed.shots, [1.0] * len(backends))
        chosen = [(one, shots) for one, shots in zip(backends, shares, strict=False) if shots != 0]
        moved = [self._entry(failed, *pair, number) for number, pair in enumerate(chosen)]
        failed.moved = moved
        self.entries += moved
        return moved

    def _entry(self, failed: Entry, backend: Backend, shots: int | None, number: int) -> Entry:
        """Shots of a failed entry on a backend, as a guest of what it runs of the same circuit, if it does."""
        place, share = str(backend), len(self.entries) + number
        hosts = [entry for entry in self.entries if (entry.place, entry.circuit) == (place, failed.circuit)]
        config = dict(hosts[0].config) if hosts else _seed_of(failed.config, backend)
        if config.get("seed") is not None:  # or these would be the shots that it has run already
            config["seed"] = int(np.random.SeedSequence([config["seed"], share]).generate_state(1)[0])
        entry = Entry(failed.job, failed.circuit, backend, shots, config, failed.form, share, instead_of=failed)
        if hosts:
            entry.host = hosts[0]
            hosts[0].guests.append(entry)
        return entry


def _seed_of(config: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """The options of a job that any backend takes; the others need not fit."""
    seed = {name: value for name, value in config.items() if name in ("seed", OF_CALLS)}
    try:
        backend.check(seed)
    except ConfigurationError:
        return {}
    return seed


def _fits(backend: Backend, entry: Entry) -> bool:
    """Whether an entry's circuits have a place on another backend, as far as can be told without asking it."""
    circuits = entry.form.circuits(entry.shots, entry.share)
    return all(too_small(backend, circuit) is None for circuit in circuits)

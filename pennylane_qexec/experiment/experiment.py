"""One experiment under way: its tasks, and what is done about those that fail."""

from __future__ import annotations

import contextvars
import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pennylane_qexec.concurrency import interrupts, lifecycle
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.results import Source
from pennylane_qexec.experiment.splits import too_small
from pennylane_qexec.experiment.submission import Settings, Submission
from pennylane_qexec.experiment.tasks import CircuitTask
from pennylane_qexec.policies.splits import apportion
from pennylane_qexec.providers import Backend
from pennylane_qexec.providers.backend import OF_CALLS

logger = logging.getLogger("pennylane_qexec")


class Experiment(Source):
    """Runs the tasks of an experiment.

    Args:
        tasks: what to run, in the order of the dispatch.
        settings: how.
        find: finds the backends that a user names.
        many: whether the user gave a list of circuits.
        record: records what has become of the tasks, once they have ended.
    """

    def __init__(
        self,
        tasks: Sequence[CircuitTask],
        settings: Settings,
        find: Callable[[Any], list[Backend]],
        many: bool,
        record: Callable[[Sequence[CircuitTask]], None] | None = None,
    ) -> None:
        super().__init__(tasks, many)
        self._record = record
        self._unrecorded: BaseException | None = None
        self._settings = settings
        self._find = find
        self._condition = threading.Condition()
        self._submissions: weakref.WeakSet[Submission] = weakref.WeakSet()
        self._under_way = 0
        self._moved = False
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    def start(self, wait: bool) -> None:
        """Start all tasks.

        Args:
            wait: whether the caller waits anyway; else executors are built in a thread.
        """
        self._start(self._tasks, wait)

    @property
    def over(self) -> bool:
        with self._condition:
            return not self._under_way

    def wait(self, timeout: float | None) -> bool:
        with self._condition:
            over = interrupts.wait(
                lambda seconds: self._condition.wait_for(lambda: not self._under_way, seconds), timeout
            )
            error, self._unrecorded = self._unrecorded, None
        if error is not None:  # once: the results are there
            raise error
        return over

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def cancel(self) -> None:
        with self._condition:
            self._cancelled = True
            submissions = list(self._submissions)
        for submission in submissions:
            submission.cancel()

    def rerun(self, backends: Any) -> None:
        """Run the shots of what has failed again.

        Args:
            backends: where, in equal shares; ``None`` for the backends where they have failed.

        Raises:
            ConfigurationError: each backend's shots are of interest by themselves, so that no other can run them.
        """
        chosen = None if backends is None else self._find(backends)
        if chosen is not None and not self._settings.adds_up:
            raise ConfigurationError(
                "every backend was to run all the shots, so that none can run another's: use rerun() without backends."
            )
        with self._condition:
            self._cancelled = False
            moved = [one for task in self._failed() for one in self._again(task, chosen or [task.backend])]
        if moved:
            self._start(moved, wait=True)

    def _failed(self) -> list[CircuitTask]:
        """The tasks that failed, or were cancelled, and whose shots have not been sent anywhere since."""
        return [task for task in self._tasks if task.state.final and not task.done and not task.reruns]

    def _start(self, tasks: Sequence[CircuitTask], wait: bool) -> None:
        submission = self._submission(tasks)
        # What a context says, such as a budget, holds for what is started within.
        run = contextvars.copy_context().run
        lifecycle.begin(self, 0)  # its jobs are those of its submissions
        with self._condition:
            self._under_way += 1
        try:
            if wait:
                submission.send()
            threading.Thread(target=run, args=(self._work, submission), name="qexec-experiment", daemon=True).start()
        except BaseException:
            self.cancel()
            self._work(submission)
            raise

    def _work(self, submission: Submission) -> None:
        """Bring tasks to their end, and those that run the shots of failed ones: in a thread of its own."""
        try:
            submission.run()
            if moved := self._moved_once():
                self._submission(moved).run()
        finally:
            self._record_end()
            with self._condition:
                self._under_way -= 1
                self._condition.notify_all()
            lifecycle.end(self, 0)

    def _record_end(self) -> None:
        if self._record is None:
            return
        try:
            self._record(list(self._tasks))
        except BaseException as error:
            logger.error("an experiment could not be recorded; its results are with its collector: %s", error)
            self._unrecorded = error

    def _submission(self, tasks: Sequence[CircuitTask]) -> Submission:
        submission = Submission(tasks, self._settings, self._note)
        with self._condition:
            self._submissions.add(submission)
            if self._cancelled:
                submission.cancel()
        return submission

    def _note(self) -> None:
        """A task has ended."""
        for listener in self._listeners:
            try:
                listener()
            except Exception:
                logger.exception("what listens to an experiment failed; the experiment goes on")

    def _moved_once(self) -> list[CircuitTask]:
        """The failed shots of the first submission, on other backends, if they are wanted there."""
        with self._condition:
            if self._moved or self._cancelled or self._settings.on_failure != "rerun":
                return []
            self._moved = True
        failed = self._failed()
        broken = {task.place for task in failed}
        working = {task.place: task.backend for task in self._tasks if task.done and task.place not in broken}
        moved = []
        for task in failed:
            elsewhere = [backend for backend in working.values() if _fits(backend, task)]
            moved += self._again(task, elsewhere if self._settings.adds_up else [task.backend])
        return moved

    def _again(self, failed: CircuitTask, backends: Sequence[Backend]) -> list[CircuitTask]:
        """The shots of a failed task, shared out over backends."""
        if not backends:
            return []
        shares = [failed.shots] if failed.shots is None else apportion(failed.shots, [1.0] * len(backends))
        chosen = [(one, shots) for one, shots in zip(backends, shares, strict=False) if shots != 0]
        failed.reruns = [self._task(failed, *pair, number) for number, pair in enumerate(chosen)]
        self._tasks += failed.reruns
        return failed.reruns

    def _task(self, failed: CircuitTask, backend: Backend, shots: int | None, number: int) -> CircuitTask:
        """Shots of a failed task on a backend, with the options by which it has run the same circuit, if it has."""
        share = len(self._tasks) + number
        same = (task for task in self._tasks if task.circuit == failed.circuit and task.place == str(backend))
        known = next(same, None)
        config = _common_options(failed.config, backend) if known is None else dict(known.config)
        if config.get("seed") is not None:  # or these would be the shots that it has run already
            config["seed"] = int(np.random.SeedSequence([config["seed"], share]).generate_state(1)[0])
        return CircuitTask(failed.job, failed.circuit, backend, shots, config, failed.plan, share, failed.place)


def _common_options(config: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """The options of a job that any backend takes; the others need not fit."""
    common = {name: value for name, value in config.items() if name in ("seed", OF_CALLS)}
    try:
        backend.check(common)
    except ConfigurationError:
        return {}
    return common


def _fits(backend: Backend, task: CircuitTask) -> bool:
    """Whether a task's circuits have a place on another backend, as far as can be told without asking it."""
    return all(too_small(backend, circuit) is None for circuit in task.circuits())

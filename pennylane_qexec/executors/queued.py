"""Executors of backends with a queue: jobs are submitted, polled and fetched."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency.clock import SYSTEM_CLOCK, Clock
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import JobState, Result, Sweep, Work


class QueuedExecutor(Executor):
    """Runs circuits on a backend with a queue: jobs are submitted, polled and fetched. Subclass it for remote backends.

    Any number of jobs may be in flight (``workers`` limits it) without a thread each.

    Jobs outlive the process that submitted them, so that a durable run that is taken up again looks for its own: by
    their ids, and if the process ended before it knew the id, by the label that the job was submitted with. ``poll``,
    ``fetch`` and ``cancel`` then get ids of jobs that another process submitted, after :meth:`adopt`, and raise a
    :class:`ConfigurationError` if there is no such job.

    Attributes:
        poll_interval: seconds between the first polls of a job.
        poll_interval_max: what the interval grows to while a job goes on.
        clock: by which :meth:`run` waits.
        patience: for how many seconds a durable run goes on asking for a job while there is no answer.
    """

    poll_interval: float = 0.1
    poll_interval_max: float = 5.0
    patience: float = 3600.0
    clock: Clock = SYSTEM_CLOCK

    @abstractmethod
    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Send circuits to the backend as one job, and return the provider's id of it."""

    @abstractmethod
    def poll(self, job_id: str) -> JobState:
        """The state of a job, at once.

        Raises:
            ConfigurationError: there is no such job.
        """

    @abstractmethod
    def fetch(self, job_id: str) -> Sequence[Result]:
        """The results of a job that is done, one for each circuit; raises what the backend says of one that failed.

        Raises:
            ConfigurationError: there is no such job, or its circuits are not known here.
        """

    @abstractmethod
    def cancel(self, job_id: str) -> None:
        """Ask the backend to stop a job. Nothing happens if it has ended.

        Raises:
            ConfigurationError: there is no such job.
        """

    @property
    def labels(self) -> bool:
        """Whether the backend keeps the label of a job, so that :meth:`find` can tell; here, it does not.

        An executor that says so has to give :meth:`submit_labelled` and :meth:`find`.
        """
        return False

    def submit_labelled(self, circuits: Sequence[QuantumScript], label: str) -> str:
        """Send circuits as :meth:`submit` does, with a label that the backend keeps, if it can.

        Args:
            circuits: at least one circuit.
            label: at most 80 letters, digits, underscores, points and hyphens. No other batch has the same one, but a
                batch is sent again with its label if nobody knows whether it has arrived.

        Returns:
            The provider's id of the job.
        """
        return self.submit(circuits)

    def submit_numbered(self, circuits: Sequence[QuantumScript], label: str, numbers: Sequence[int]) -> str:
        """Send circuits as :meth:`submit_labelled` does. A backend that draws by a seed given here has to have more.

        Args:
            circuits: at least one circuit.
            label: as above.
            numbers: of the circuits in a durable run; see :class:`Executor`.
        """
        return self.submit_labelled(circuits, label)

    def submit_work(self, work: Work, label: str = "") -> str:
        """Send a batch of circuits, or of sweeps, as one job; this is what clusters call.

        Here, all circuits are sent, one for each row of a sweep. A backend that takes a circuit with a matrix of
        parameters has to have more.

        Args:
            work: what to run, with numbers in a durable run.
            label: as above; empty for none.

        Returns:
            The provider's id of the job. :meth:`fetch` has a result for each circuit, those of one sweep after the
            other's.
        """
        circuits, numbers = work.circuits, work.row_numbers()
        if work.sweeps:
            circuits = tuple(map(self.with_shots, work.expanded().circuits))
        return self.submit_numbered(circuits, label, numbers) if label or numbers else self.submit(circuits)

    def find(self, label: str) -> str | None:
        """The id of the job that was submitted with a label, by whichever process.

        Returns:
            Of several, the first that has not failed and was not cancelled; ``None`` if there is none.
        """
        return None

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Take over a job that another process submitted, so that it can be polled, fetched and cancelled here.

        There is nothing to do where an id is enough for that.

        Args:
            job_id: what :meth:`submit` returned there.
            circuits: the circuits that the job was submitted with, in their order.

        Raises:
            ConfigurationError: there is no such job, or it has other circuits.
        """

    def adopt_work(self, job_id: str, work: Work) -> None:
        """Take over a job of another process, as :meth:`adopt` does, that was sent by :meth:`submit_work`."""
        self.adopt(job_id, work.expanded().circuits)

    def recover(self, job_id: str, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Wait for a job that another process submitted, and fetch its results; see :meth:`adopt`."""
        self.adopt(job_id, circuits)
        return self._awaited(job_id)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Submit circuits, wait for the job, and fetch the results; clusters poll many jobs at a time instead."""
        return self._awaited(self.submit(circuits))

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        """Submit a sweep, wait for the job, and fetch the results."""
        return self.perform_sweeps(Work((sweep.template,), sweeps=(sweep,)))[0]

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        """Submit sweeps as one job, wait for it, and fetch the results."""
        if work.call.method != "execute":
            return super().perform_sweeps(work)
        return work.by_sweep(self._awaited(self.submit_work(work)))

    def _awaited(self, job_id: str) -> Sequence[Result]:
        """Wait for a job, and fetch its results."""
        interval = self.poll_interval
        while not self.poll(job_id).final:
            self.clock.wait(interval)
            interval = min(2 * interval, self.poll_interval_max)
        return self.fetch(job_id)

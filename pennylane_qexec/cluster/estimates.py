"""What circuits are going to use, found out without running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pennylane.tape import QuantumScript

from pennylane_qexec.cluster.nested import ClusterExecutor
from pennylane_qexec.cluster.planning import CallPlanner, Planner
from pennylane_qexec.cluster.selection import Selection
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Job

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Part:
    """What circuits are going to use on one executor.

    Attributes:
        executor: its name.
        circuits: how many its backend is going to run: one for each basis in which a circuit is measured, after what
            the backend needs it to be expanded into.
        shots: their shots, all together.
        cost: US dollars; ``None`` where it depends on a running time that nobody knows.
        seconds: running time, by the executor's speed until now; ``None`` if it has not run anything.
    """

    executor: str
    circuits: int
    shots: int
    cost: float | None
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """What circuits are going to use on a cluster, if all goes well; returned by :meth:`QCluster.estimate`.

    Attributes:
        parts: those of the executors that get circuits, in the cluster's order.
    """

    parts: tuple[Part, ...]

    @property
    def circuits(self) -> int:
        """The circuits, on all executors together."""
        return sum(part.circuits for part in self.parts)

    @property
    def shots(self) -> int:
        """The shots, on all executors together."""
        return sum(part.shots for part in self.parts)

    @property
    def cost(self) -> float | None:
        """US dollars, on all executors together; ``None`` if that of one is unknown."""
        return _total([part.cost for part in self.parts])

    @property
    def seconds(self) -> float | None:
        """The running times of all executors, added up; ``None`` if that of one is unknown.

        Executors run at the same time, so the results may be there earlier; or later, where there is a queue.
        """
        return _total([part.seconds for part in self.parts])

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each executor.

        Returns:
            A table with the columns ``executor``, ``circuits``, ``shots``, ``cost`` (US dollars) and ``seconds``; what
            is unknown is missing (NaN).
        """
        import pandas

        table = pandas.DataFrame([asdict(part) for part in self.parts], columns=list(Part.__dataclass_fields__))
        return table.astype({"cost": float, "seconds": float})

    def __str__(self) -> str:
        lines = [_line(part.executor, part) for part in self.parts]
        return "\n".join([*lines, _line("together", self)])


def estimate(cluster: Planner, selection: Selection, circuits: Sequence[QuantumScript]) -> Estimate:
    """What circuits are going to use.

    Args:
        cluster: the cluster.
        selection: copies of its policies.
        circuits: the circuits.

    Raises:
        NoExecutorError: no executor can run one of them.
    """
    dispatcher = CallPlanner(cluster, selection=selection)
    jobs: dict[Executor, list[Job]] = {executor: [] for executor in cluster.executors}
    for circuit in circuits:
        for one in dispatcher(circuit)[0]:
            job = dispatcher.job(one)
            executor = job.executor
            if executor is None:  # whoever is free first: as many for each
                executor = min(cluster.candidates(one, {}), key=lambda each: len(jobs[each]))
            jobs[executor].append(job)
    return Estimate(tuple([_part(executor, given) for executor, given in jobs.items() if given]))


def _part(executor: Executor, jobs: Sequence[Job]) -> Part:
    if isinstance(executor, ClusterExecutor):
        inside = executor.cluster.estimate([executor.with_shots(job.circuit) for job in jobs])
        return Part(executor.name, inside.circuits, inside.shots, inside.cost, inside.seconds)
    usages = [executor.usage_of(job.circuit, job.call) for job in jobs]
    return Part(
        executor.name,
        sum(usage.circuits for usage in usages),
        sum(usage.shots for usage in usages),
        _total([usage.cost for usage in usages]),
        _total([usage.seconds for usage in usages]),
    )


def _total(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known, 0.0) if len(known) == len(numbers) else None


def _line(name: str, part: Any) -> str:
    cost = "unknown cost" if part.cost is None else f"{part.cost:,.6g} US dollars"
    seconds = "unknown running time" if part.seconds is None else f"{part.seconds:,.3g} s"
    return f"{name}: {part.circuits:,} circuits, {part.shots:,} shots, {cost}, {seconds}"

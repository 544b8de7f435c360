"""Contract tests: what every executor, selector, split and merge keeps to."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec.cluster import QCluster
from pennylane_qexec.errors import AnalyticCircuitError, ConfigurationError
from pennylane_qexec.executors import DeviceExecutor, Executor, QueuedExecutor, identity
from pennylane_qexec.job import JobState, Outcome, Status, Work
from pennylane_qexec.policies.base import PolicyFactory
from pennylane_qexec.policies.budgets import Budget
from pennylane_qexec.policies.merges import Merge, of_callable
from pennylane_qexec.testing.fakes import ScriptedExecutor, flip
from pennylane_qexec.testing.sweeps import SweepContract


class ShotsContract:
    """Independence of shots, which every executor keeps to; a part of :class:`ExecutorContract`."""

    seeded = False
    """Whether the executor has a seed, and draws the shots of circuits with numbers by these; see :class:`Executor`."""

    @abstractmethod
    def make(self) -> Executor:
        """A new executor with room for at least two wires."""

    @pytest.fixture
    def executor(self) -> Any:
        """The executor under test, closed at the end."""
        made = self.make()
        yield made
        made.close()

    def test_calls_and_circuits_of_a_call_draw_independent_shots(self, executor: Executor) -> None:
        """See :func:`_equal_pairs`."""
        draws = [counts for _ in range(3) for counts in _counted(executor)]
        assert _equal_pairs(draws) < 3

    def test_copies_in_worker_processes_draw_independent_shots(self, executor: Executor) -> None:
        """Those that are sent to worker processes are, with and without a seed; see :func:`_equal_pairs`."""
        if not executor.shareable:
            return
        _counted(executor)  # so that there is something of it that could be copied
        copies = [pickle.loads(pickle.dumps(executor)) for _ in range(2)]
        for number, copy in enumerate(copies):
            copy.become_replica(number)
        draws = [counts for one in (executor, *copies) for counts in _counted(one)]
        assert _equal_pairs(draws) < 3

    def test_two_of_a_kind_draw_independent_shots_in_a_cluster(self, executor: Executor) -> None:
        """With equal seeds, and without; see :func:`_equal_pairs`."""
        another = self.make()
        identity.settle([executor, another])
        draws = [counts for one in (executor, another) for _ in range(2) for counts in _counted(one)]
        another.close()
        assert _equal_pairs(draws) < 3

    def test_what_does_not_commute_is_measured_by_independent_shots(self, executor: Executor) -> None:
        """Two equal values of 2048 shots have a probability of 0.0125, six times two one below 1e-11."""
        circuit = QuantumScript([qml.RX(np.pi / 2, 0)], [qml.expval(qml.Z(0)), qml.expval(qml.X(0))], shots=2048)
        values = np.array(executor.run([circuit] * 6), dtype=float)
        assert not np.allclose(values[:, 0], values[:, 1])

    def test_shots_come_in_no_order(self, executor: Executor) -> None:
        """Neighbours differ 500 times in 1000; by Hoeffding, 110 more or fewer have a probability below 1e-10."""
        (samples,) = executor.run([QuantumScript([qml.H(0)], [qml.sample(wires=[0])], shots=1001)])
        assert abs(np.count_nonzero(np.diff(np.ravel(samples))) - 500) < 110


class ExecutorContract(ShotsContract, SweepContract):
    """What every executor keeps to."""

    analytic = True
    """Whether the executor runs circuits without shots."""

    def test_results_come_in_the_order_of_the_circuits(self, executor: Executor) -> None:
        angles = [0.0, np.pi, 0.0, np.pi, np.pi]
        results = executor.run([flip(angle, shots=50) for angle in angles])
        assert [round(float(result)) for result in results] == [1, -1, 1, -1, -1]

    def test_every_shot_asked_for_is_run(self, executor: Executor) -> None:
        circuits = [QuantumScript([qml.H(0)], [qml.sample(wires=[0])], shots=shots) for shots in (1, 7, 100)]
        assert [np.size(result) for result in executor.run(circuits)] == [1, 7, 100]

    def test_the_first_wire_is_the_first_bit(self, executor: Executor) -> None:
        circuit = QuantumScript([qml.X(0), qml.I(1)], [qml.counts(wires=[0, 1])], shots=20)
        (counts,) = executor.run([circuit])
        assert {str(key): int(value) for key, value in counts.items()} == {"10": 20}

    def test_several_measurements_give_a_tuple(self, executor: Executor) -> None:
        circuit = QuantumScript([qml.X(0)], [qml.expval(qml.Z(0)), qml.probs(wires=[0])], shots=20)
        (result,) = executor.run([circuit])
        assert isinstance(result, tuple)
        assert float(result[0]) == -1
        assert np.allclose(result[1], [0, 1])

    def test_analytic_results_are_exact_or_refused(self, executor: Executor) -> None:
        if self.analytic:
            assert float(executor.run([flip(0.4)])[0]) == pytest.approx(np.cos(0.4), abs=1e-5)
        else:
            assert executor.rejects(flip(0.4)) is not None

    def test_circuits_are_left_as_they_were(self, executor: Executor) -> None:
        circuit = flip(0.4, shots=20)
        before = (list(circuit.operations), list(circuit.measurements), circuit.shots)
        executor.run([circuit])
        assert (list(circuit.operations), list(circuit.measurements), circuit.shots) == before

    def test_two_threads_may_use_it_at_once(self, executor: Executor) -> None:
        def run(angle: float) -> list[int]:
            return [round(float(result)) for result in executor.run([flip(angle, shots=20)] * 5)]

        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(run, [0.0, np.pi] * 4))
        assert results == [[1] * 5, [-1] * 5] * 4

    def test_numbers_change_nothing_that_is_certain(self, executor: Executor) -> None:
        circuits = [flip(angle, shots=20) for angle in (0.0, np.pi, np.pi)]
        results = executor.perform(Work(tuple(circuits), numbers=(7, 8, 3)))
        assert [round(float(result)) for result in results] == [1, -1, -1]

    def test_with_a_seed_numbers_decide_on_shots_whatever_ran_before(self, executor: Executor) -> None:
        first = _numbered(executor, [(0, 1, 2)])
        executor.run([flip(1.2, shots=100), flip(0.1, shots=30)])
        _numbered(executor, [(5, 9)])
        assert not self.seeded or _numbered(executor, [(0, 1, 2)]) == first

    def test_with_a_seed_large_numbers_decide_on_shots_too(self, executor: Executor) -> None:
        numbers = (2**63 - 1, 2**62 + 5, 7)
        together, alone = _numbered(executor, [numbers]), _numbered(executor, [(number,) for number in numbers])
        assert not self.seeded or together == alone

    def test_with_a_seed_numbers_decide_on_shots_however_circuits_are_batched(self, executor: Executor) -> None:
        together = _numbered(executor, [range(16)])
        parts = _numbered(executor, [(9,), (3, 2, 12, 1), (15, 4), (0, 5, 6, 7, 8), (14, 10, 11, 13)])
        assert together.keys() == parts.keys()
        assert not self.seeded or together == parts

    def test_with_a_seed_numbers_decide_on_shots_in_every_copy(self, executor: Executor) -> None:
        copy = self.make()
        copy.become_replica(1)
        counted = [_numbered(each, [(1, 2, 3)]) for each in (executor, copy)]
        copy.close()
        assert not self.seeded or counted[0] == counted[1]

    def test_circuits_of_different_numbers_draw_different_shots(self, executor: Executor) -> None:
        """Sums of 1000 shots have a spread of 29: that fewer than 5 of 16 differ has a probability below 1e-8."""
        values = _numbered(executor, [range(16)]).values()
        assert not self.seeded or len(set(values)) > 4

    def test_usage_is_known_before_anything_runs(self, executor: Executor) -> None:
        once, twice = executor.usage(flip(0.4, shots=20)), executor.usage(flip(0.4, shots=40))
        assert once.circuits >= 1
        assert twice.shots == 2 * once.shots > 0
        assert not self.analytic or executor.usage(flip(0.4)).shots == 0

    def test_estimates_budgets_and_histories_count_what_usage_says(self) -> None:
        circuits = [
            flip(0.4, shots=20),
            QuantumScript([qml.H(0)], [qml.expval(qml.Z(0)), qml.expval(qml.X(0))], shots=30),
        ]
        executor = self.make()
        usages = [executor.usage(circuit) for circuit in circuits]
        expected = sum(usage.circuits for usage in usages), sum(usage.shots for usage in usages)
        budget = Budget()
        with QCluster([executor], budget=budget) as cluster:
            estimate = cluster.estimate(circuits)
            cluster.execute(circuits)
        used, totals = budget.used, cluster.history.totals
        assert (estimate.circuits, estimate.shots) == expected
        assert (used.circuits, used.shots) == expected
        assert (totals.circuits, totals.shots) == expected

    def test_it_says_its_name_and_status(self, executor: Executor) -> None:
        assert executor.name
        assert executor.name in repr(executor)
        assert isinstance(executor.status(), Status)


class QueuedExecutorContract(ExecutorContract):
    """What every executor with a queue keeps to, besides: jobs are found, polled, fetched and cancelled by anybody."""

    @abstractmethod
    def make(self) -> QueuedExecutor:
        """A new executor with room for at least two wires."""

    def another(self, executor: QueuedExecutor) -> QueuedExecutor:
        """An executor for the same backend, as another process would make it.

        Here: the same one, as for a backend whose jobs end with the process.
        """
        return executor

    @pytest.fixture
    def other(self, executor: QueuedExecutor) -> Any:
        """What another process has in place of the executor, closed at the end."""
        made = self.another(executor)
        yield made
        made.close()

    def test_a_job_is_polled_until_it_is_done(self, executor: QueuedExecutor) -> None:
        job_id = executor.submit([flip(0.0, 20), flip(np.pi, 20)])
        assert _end(executor, job_id) is JobState.DONE
        assert _rounded(executor.fetch(job_id)) == [1, -1]

    def test_a_job_of_another_process_is_adopted_and_fetched(
        self, executor: QueuedExecutor, other: QueuedExecutor
    ) -> None:
        circuits = [flip(0.0, 20), flip(np.pi, 20)]
        job_id = executor.submit(circuits)
        other.adopt(job_id, circuits)
        assert _end(other, job_id) is JobState.DONE
        assert _rounded(other.fetch(job_id)) == [1, -1]

    def test_a_job_of_another_process_is_recovered(self, executor: QueuedExecutor, other: QueuedExecutor) -> None:
        job_id = executor.submit([flip(np.pi, 20)])
        assert _rounded(other.recover(job_id, [flip(np.pi, 20)])) == [-1]

    def test_a_job_of_another_process_is_cancelled(self, executor: QueuedExecutor, other: QueuedExecutor) -> None:
        job_id = executor.submit([flip(0.0, 20)])
        other.adopt(job_id, [flip(0.0, 20)])
        other.cancel(job_id)
        assert _end(other, job_id) in (JobState.CANCELLED, JobState.DONE)

    def test_jobs_that_go_on_at_the_same_time_keep_their_results(self, executor: QueuedExecutor) -> None:
        job_ids = [executor.submit([flip(angle, 20)]) for angle in (0.0, np.pi, 0.0)]
        assert len(set(job_ids)) == 3
        fetched = {job_id: _fetched(executor, job_id) for job_id in reversed(job_ids)}
        assert [fetched[job_id] for job_id in job_ids] == [[1], [-1], [1]]

    def test_circuits_with_different_shots_are_one_job(self, executor: QueuedExecutor) -> None:
        samples = [QuantumScript([qml.X(0)], [qml.sample(wires=[0])], shots=shots) for shots in (7, 3, 7)]
        job_id = executor.submit([*samples, flip(np.pi, 20)])
        assert _end(executor, job_id) is JobState.DONE
        *sampled, value = executor.fetch(job_id)
        assert [np.size(one) for one in sampled] == [7, 3, 7]
        assert round(float(value)) == -1

    def test_a_job_is_adopted_by_the_executor_that_sent_it(self, executor: QueuedExecutor) -> None:
        job_id = executor.submit([flip(np.pi, 20)])
        executor.adopt(job_id, [flip(np.pi, 20)])
        assert _fetched(executor, job_id) == [-1]

    def test_cancelling_a_job_that_has_ended_does_nothing(self, executor: QueuedExecutor) -> None:
        job_id = executor.submit([flip(0.0, 20)])
        _end(executor, job_id)
        executor.cancel(job_id)
        assert _rounded(executor.fetch(job_id)) == [1]

    @pytest.mark.parametrize("ask", ["poll", "fetch", "cancel"])
    def test_a_job_that_does_not_exist_is_said_not_to(self, executor: QueuedExecutor, ask: str) -> None:
        with pytest.raises(ConfigurationError):
            getattr(executor, ask)("no-such-job")

    def test_a_job_with_a_label_runs_as_any_other(self, executor: QueuedExecutor) -> None:
        job_id = executor.submit_labelled([flip(np.pi, 20)], "run_7.batch-1")
        assert _end(executor, job_id) is JobState.DONE
        assert _rounded(executor.fetch(job_id)) == [-1]

    def test_a_job_is_found_by_its_label_if_labels_are_kept(
        self, executor: QueuedExecutor, other: QueuedExecutor
    ) -> None:
        label = "a" * 80
        executor.submit_labelled([flip(0.0, 20)], "b" * 80)
        job_ids = [executor.submit_labelled([flip(0.0, 20)], label) for _ in range(2)]
        assert other.find(label) == (job_ids[0] if other.labels else None)

    def test_nothing_is_found_by_a_label_that_no_job_has(self, executor: QueuedExecutor, other: QueuedExecutor) -> None:
        executor.submit([flip(0.0, 20)])
        executor.submit_labelled([flip(0.0, 20)], "one")
        assert other.find("another") is None


def _end(executor: QueuedExecutor, job_id: str) -> JobState:
    """The state that a job ends in."""
    while not (state := executor.poll(job_id)).final:
        pass
    return state


def _fetched(executor: QueuedExecutor, job_id: str) -> list[int]:
    """The results of a job, rounded, once it is done."""
    assert _end(executor, job_id) is JobState.DONE
    return _rounded(executor.fetch(job_id))


def _rounded(results: Sequence[Any]) -> list[int]:
    return [round(float(result)) for result in results]


def _numbered(executor: Executor, batches: Sequence[Sequence[int]]) -> dict[int, float]:
    """The values that circuits, equal but for their numbers, have when they run in these batches."""
    values: dict[int, float] = {}
    for numbers in batches:
        work = Work(tuple([flip(1.2, shots=1000) for _ in numbers]), numbers=tuple(numbers))
        values.update(zip(numbers, map(float, executor.perform(work)), strict=True))
    return values


def _counted(executor: Executor) -> list[tuple[int, ...]]:
    """How often 2048 shots have each outcome of two wires, for three circuits that run together."""
    circuit = QuantumScript([qml.H(0), qml.H(1)], [qml.counts(wires=[0, 1])], shots=2048)
    results = executor.run([circuit] * 3)
    return [tuple([int(counts.get(bits, 0)) for bits in ("00", "01", "10", "11")]) for counts in results]


def _equal_pairs(draws: Sequence[tuple[int, ...]]) -> int:
    """How many pairs of draws are equal.

    Independent counts of 2048 shots over four outcomes are equal with a probability of 3.9e-6 (the sum of the squares
    of the multinomial distribution), and three of the at most 66 pairs here with one below 1e-11. Draws that repeat
    each other are three pairs at least, since three circuits run together.
    """
    return sum(one == other for one, other in combinations(draws, 2))


def _candidates(number: int = 3) -> list[Executor]:
    return [ScriptedExecutor(f"executor-{index}") for index in range(number)]


class _PolicyContract:
    @abstractmethod
    def make(self) -> Any:
        """The policy, as a user would give it; named executors are called ``executor-0`` to ``executor-2``."""

    def policy(self, seed: int = 0) -> Any:
        """The policy as a cluster with this seed uses it."""
        made = self.make()
        return made.fresh(np.random.default_rng(seed)) if isinstance(made, PolicyFactory) else made


class SelectorContract(_PolicyContract):
    """What every selector keeps to."""

    def test_it_returns_one_of_the_executors(self) -> None:
        select, executors = self.policy(), _candidates()
        assert all(select(flip(0.1 * index, 10), executors) in executors for index in range(50))

    def test_it_returns_the_only_one(self) -> None:
        (only,) = _candidates(1)
        assert self.policy()(flip(0.1), [only]) is only

    def test_it_takes_analytic_circuits(self) -> None:
        executors = _candidates()
        assert self.policy()(flip(0.1), executors) in executors

    def test_equal_seeds_give_equal_choices(self) -> None:
        executors = _candidates()
        first, second = self.policy(3), self.policy(3)
        assert [first(flip(0.1), executors) for _ in range(20)] == [second(flip(0.1), executors) for _ in range(20)]

    def test_choosing_reserves_nothing(self) -> None:
        select, executors = self.policy(), _candidates()
        select(flip(0.1), executors)
        assert [executor.load().waiting for executor in executors] == [0, 0, 0]


class SplitContract(_PolicyContract):
    """What every split keeps to."""

    multiplies = False
    """Whether every executor gets all the shots."""

    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("shots", [1, 2, 3, 5, 100, 1024, 1_000_003])
    def test_no_shot_is_lost_or_invented(self, shots: int, number: int) -> None:
        executors = _candidates(number)
        given = [share for _, share in self.policy()(flip(0.1, shots), executors)]
        assert sum(given) == shots * (number if self.multiplies else 1)
        assert all(isinstance(share, int) and share >= 0 for share in given)

    def test_shares_go_to_the_executors_it_was_given(self) -> None:
        executors = _candidates()
        assert all(executor in executors for executor, _ in self.policy()(flip(0.1, 100), executors))

    def test_an_analytic_circuit_is_refused(self) -> None:
        with pytest.raises(AnalyticCircuitError):
            self.policy()(flip(0.1), _candidates())


class MergeContract(_PolicyContract):
    """What every merge of expectation values keeps to."""

    def test_shares_of_a_certain_result_give_that_result(self) -> None:
        assert float(self._merged(flip(np.pi, shots=30), [10, 20])) == pytest.approx(-1)

    def test_a_single_share_gives_its_own_result(self) -> None:
        assert float(self._merged(flip(0.0, shots=30), [30])) == pytest.approx(1)

    def test_the_merged_value_is_near_the_exact_one(self) -> None:
        """Within 5 standard errors: sqrt(sin(0.7)**2 / 30000) is 0.0037."""
        assert float(self._merged(flip(0.7, shots=30_000), [10_000, 20_000])) == pytest.approx(np.cos(0.7), abs=0.019)

    def _merged(self, circuit: QuantumScript, shares: Sequence[int]) -> Any:
        merge: Merge = of_callable(self.policy())
        plan = merge.plan(circuit)
        assert plan is not None
        outcomes = []
        for index, shots in enumerate(shares):
            simulator = DeviceExecutor("default.qubit", seed=index)
            results = tuple(simulator.run(plan.share(index, shots)))
            outcomes.append(Outcome(results, f"executor-{index}", shots))
        return plan.join(outcomes)

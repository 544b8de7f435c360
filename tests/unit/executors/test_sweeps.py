"""Sweeps on executors that run them as a template and a matrix: the values and shots of their circuits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import JobFailedError, VirtualClock
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.executors.routing import Hybrid, Tier
from pennylane_qexec.job import Call, Sweep, Work
from pennylane_qexec.testing import FakeQPU

ROWS = np.linspace(-2.0, 2.9, 28).reshape(7, 4)
GATES = [qml.RX(0.0, 0), qml.RY(0.0, 1), qml.CNOT([0, 1]), qml.RZ(0.0, 1), qml.RY(0.0, 0)]
OBSERVABLES = [qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(0.5 * qml.X(0) + qml.Y(1)), qml.var(qml.Z(1))]


def sweep(measurements=OBSERVABLES, shots=None, gates=GATES, rows=ROWS):
    one = sweep_of_circuit(QuantumScript(gates, measurements, shots=shots))
    return replace(one, parameters=rows)


def by_hand(circuit, slots, rows):
    """The sweep of a template that cannot be compared with others."""
    return Sweep(circuit, np.array(rows), slots)


def work(*sweeps, numbers=(), bound=False):
    return Work(tuple(one.template for one in sweeps), Call(bound=bound), numbers=numbers, sweeps=sweeps)


def both(make, batch):
    """What new executors make of sweeps, and of their circuits."""
    by_sweeps, by_circuits = make(), make()
    found = by_sweeps.perform_sweeps(batch), batch.by_sweep(by_circuits.perform(batch.expanded()))
    by_sweeps.close()
    by_circuits.close()
    return found


def assert_equal(one, other):
    """To the last bit, whatever values are made of."""
    assert type(one) is type(other)
    if isinstance(one, tuple | list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_equal(mine, theirs)
    elif isinstance(one, dict):
        assert one == other
    else:
        assert np.array_equal(one, other)


def counting(monkeypatch, owner, name):
    """How often a method is called."""
    calls, method = [], getattr(owner, name)

    def counted(*arguments, **options):
        calls.append(arguments)
        return method(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


# Aer


@pytest.mark.parametrize("options", [{}, {"method": "density_matrix"}, {"wires": 3}, {"backend": "fake_manila"}])
def test_aer_has_the_exact_values_of_the_circuits(options):
    exact = sweep([*OBSERVABLES, qml.probs(wires=[1, 0])])
    found, expected = both(lambda: qexec.executor("aer", **options), work(exact, bound=True))
    for row, other in zip(found[0], expected[0], strict=True):
        for value, theirs in zip(row, other, strict=True):
            assert np.allclose(value, theirs, atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", [{}, {"backend": "fake_manila"}, {"method": "matrix_product_state"}])
@pytest.mark.parametrize("numbers", [(), (5, 100)])
def test_aer_draws_the_seeded_shots_of_the_circuits(options, numbers):
    measured = [qml.sample(wires=[0]), qml.counts(wires=[1, 0]), qml.expval(qml.X(0))]
    batch = work(sweep(measured, 50), sweep(shots=300), numbers=numbers, bound=True)
    assert_equal(*both(lambda: qexec.executor("aer", seed=3, **options), batch))


def test_aer_runs_a_long_sweep_a_limited_number_of_rows_at_a_time(monkeypatch):
    monkeypatch.setattr("pennylane_qexec.executors.aer.backend._CIRCUITS_AT_ONCE", 3)
    executor = qexec.executor("aer", seed=1)
    runs = counting(monkeypatch, executor._aer._simulation, "outputs")
    batch = work(sweep(shots=100), bound=True)
    (rows,) = executor.perform_sweeps(batch)
    assert [len(plans[0].rows) for plans, _ in runs] == [3, 3, 1]
    (expected,) = batch.by_sweep(qexec.executor("aer", seed=1).perform(batch.expanded()))
    assert_equal(list(rows), expected)


def test_aer_converts_a_template_once_and_builds_no_circuits(monkeypatch):
    executor = qexec.executor("aer")
    compiled = counting(monkeypatch, executor._aer, "_compile")
    monkeypatch.setattr(Sweep, "circuit", None)
    for _ in range(2):
        executor.perform_sweeps(work(sweep(shots=10), bound=True))
        executor.perform_sweeps(work(sweep(shots=10)))  # by whom does not matter, if there is nothing to prepare
    assert len(compiled) == 1


def test_aer_makes_circuits_of_a_template_that_cannot_be_compared():
    template = QuantumScript([qml.QubitUnitary(np.eye(2), 0), qml.RX(0.0, 0)], [qml.expval(qml.Z(0))], shots=20)
    rows = work(by_hand(template, (1,), [[0.0], [np.pi]]))
    for _ in range(2):
        assert qexec.executor("aer").perform_sweeps(rows) == [[1.0, -1.0]]


def _measured():
    qml.RX(0.0, 0)
    qml.measure(0)
    qml.RY(0.3, 1)


PREPARED = {
    "mid-circuit": ([*qml.tape.make_qscript(_measured)().operations], qml.probs(wires=[0, 1]), 40, [[0.4], [np.pi]]),
    "shot vector": ([qml.RX(0.0, 0)], qml.probs(wires=0), (10, 20), [[0.4], [np.pi]]),
    "broadcasted": ([qml.RY(0.3, 0), qml.RX(np.array([0.1, 0.2]), 0)], qml.probs(wires=0), 30, [[0.4], [np.pi]]),
    "taken apart": ([qml.CRot(0.1, 0.2, 0.3, [0, 1])], qml.probs(wires=[1, 0]), 30, [[0.4, 0.1, 3.0]]),
    "shadow": ([qml.RX(0.0, 0)], qml.classical_shadow(wires=[0], seed=3), 30, [[0.4]]),
}


@pytest.mark.parametrize("kind", PREPARED)
def test_aer_prepares_the_circuits_of_what_is_no_template_for_it(kind):
    operations, measurement, shots, rows = PREPARED[kind]
    batch = work(by_hand(QuantumScript(operations, [measurement], shots=shots), (0,), rows), numbers=(9,))
    assert_equal(*both(lambda: qexec.executor("aer", seed=2), batch))


def test_an_executor_with_shots_of_its_own_runs_all_rows_with_those():
    executor = qexec.executor("aer", seed=1)
    executor.shots = 70
    for asked in (10, 20):
        (rows,) = executor.perform_sweeps(work(sweep([qml.sample(wires=0)], asked)))
        assert [np.size(row) for row in rows] == [70] * len(ROWS)
    executor.shots = None
    (rows,) = executor.perform_sweeps(work(sweep([qml.expval(qml.Z(0))], 10, rows=np.zeros((2, 4)))))
    assert rows == pytest.approx([1.0, 1.0], abs=1e-12)


# Backends with a queue


ESTIMATED = [qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(0.5 * qml.X(0) + qml.Y(1) + 0.3 * qml.I(0))]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aer", "fake_manila"])
@pytest.mark.parametrize("primitive", ["sampler", "estimator"])
@pytest.mark.parametrize("numbers", [(), (5, 100, 40)])
def test_runtime_draws_the_seeded_shots_of_the_circuits(backend, primitive, numbers):
    sweeps = [sweep(ESTIMATED, 64), sweep(ESTIMATED, 10, rows=ROWS[:2]), sweep(ESTIMATED, 64, rows=ROWS[3:])]
    batch = work(*sweeps, numbers=numbers)
    assert_equal(*both(lambda: qexec.executor(f"ibm:{backend}", primitive=primitive, seed=3), batch))


def test_runtime_shuffles_samples_as_those_of_the_circuits():
    batch = work(sweep([qml.sample(wires=[1, 0])], 20), sweep([qml.counts(wires=0), qml.expval(qml.X(1))], 30))
    assert_equal(*both(lambda: qexec.executor("ibm:aer", seed=3), batch))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in PREPARED if kind != "shadow"])
def test_runtime_prepares_the_circuits_of_what_is_no_template_for_it(kind):
    operations, measurement, shots, rows = PREPARED[kind]
    batch = work(by_hand(QuantumScript(operations, [measurement], shots=shots), (0,), rows), sweep(shots=9))
    assert_equal(*both(lambda: qexec.executor("ibm:aer", seed=2), batch))


def test_runtime_binds_no_circuit_of_a_sweep(monkeypatch):
    batch = work(sweep(ESTIMATED, 20))
    executor = qexec.executor("ibm:aer")
    usages = [executor.usage(circuit) for circuit in batch.sweeps[0].circuits()]
    monkeypatch.setattr(Sweep, "circuit", None)
    assert len(executor.run_sweep(batch.sweeps[0])) == len(ROWS)
    assert set(usages) == {executor.usage_of(batch.circuits[0], batch.call)}


def test_a_qpu_of_a_users_own_is_sent_the_circuits_of_sweeps():
    qpu = FakeQPU(polls=1)
    batch = work(sweep(shots=10), sweep([qml.sample(wires=0)], 5, rows=ROWS[:2]), numbers=(3, 20))
    job_id = qpu.submit_work(batch, "one")
    assert qpu.labelled == {job_id: "one"}
    assert [circuit.shots.total_shots for circuit in qpu.jobs[job_id]] == [10] * 7 + [5] * 2
    assert [circuit.operations[0].data[0] for circuit in qpu.jobs[job_id]] == [*ROWS[:, 0], *ROWS[:2, 0]]
    qpu.adopt_work(job_id, batch)
    assert qpu.adopted == [job_id]
    assert list(map(len, batch.by_sweep(qpu.fetch(job_id)))) == [7, 2]


def test_a_qpu_of_a_users_own_is_sent_circuits_as_ever():
    circuits = tuple(sweep(shots=10).circuits())
    qpu = FakeQPU(polls=1)
    job_id = qpu.submit_work(Work(circuits))
    assert qpu.jobs[job_id] == circuits


# Rehearsals


def rehearsal(inner="aer", **options):
    return qexec.Rehearsal(inner, **{"clock": VirtualClock(), "seed": 1, "name": "qpu", **options})


def test_a_rehearsal_with_a_seed_draws_the_shots_of_the_circuits():
    batch = work(sweep([qml.sample(wires=0)], 30), sweep(shots=20, rows=ROWS[:2]), sweep(rows=ROWS[:2]))
    assert_equal(*both(rehearsal, batch))
    drifting = {"drift": {"start": 0.1}, "seed": 4}
    assert_equal(*both(lambda: rehearsal(**drifting), work(sweep([qml.sample(wires=0)], 30))))


def test_a_rehearsal_counts_bills_and_delays_a_sweep_as_its_rows():
    sweeps = sweep([qml.expval(qml.Z(0)), qml.expval(qml.X(0))], 30), sweep([qml.probs(wires=0)], 10, rows=ROWS[:2])
    timed = {"queue": 100, "circuit_time": 1.0, "shot_time": 0.1, "cost": {"per_shot": 0.01, "per_circuit": 1.0}}
    ledgers = []
    for by_circuits in (False, True):
        executor, batch = rehearsal(**timed), work(*sweeps)
        executor.run(batch.expanded().circuits) if by_circuits else executor.perform_sweeps(batch)
        ledgers.append(executor.ledger)
    assert ledgers[0] == ledgers[1]
    (entry,) = ledgers[0]
    assert entry.shots == (30,) * 7 + (10,) * 2
    assert entry.executed == 7 * 60 + 20
    assert entry.cost == pytest.approx(4.4 + 16)
    assert entry.ended - entry.started == pytest.approx(16 + 44)


def test_a_rehearsal_has_its_inner_executor_run_the_sweep(monkeypatch):
    inner = qexec.executor("aer")
    ran = counting(monkeypatch, inner, "perform_sweeps")
    exact, drawn = sweep(rows=ROWS[:2]), sweep(shots=10)
    assert list(map(len, rehearsal(inner, seed=None).perform_sweeps(work(exact, drawn)))) == [2, 7]
    assert [list(map(len, given.sweeps)) for (given,) in ran] == [[2, 7]]


@pytest.mark.parametrize("fault", [{"failed": 1.0}, {"lost": 1.0}, {"refused": 1.0}])
def test_what_goes_wrong_in_a_rehearsal_goes_wrong_with_a_sweep(fault):
    executor = rehearsal(failure_rate=fault, seed=None)
    with pytest.raises((JobFailedError, ConnectionError)):
        executor.run_sweep(sweep(shots=10))


def test_a_sweep_that_is_submitted_to_a_folder_is_fetched_by_another_process(tmp_path):
    batch = work(sweep([qml.sample(wires=0)], 12))
    first, second = (rehearsal(folder=tmp_path, seed=None) for _ in range(2))
    job_id = first.submit_work(batch, "one")
    assert second.find("one") == job_id
    second.adopt_work(job_id, batch)
    while not second.poll(job_id).final:
        pass
    assert_equal(list(second.fetch(job_id)), list(first.fetch(job_id)))


# Hybrids


def hybrid(rule=None, **options):
    members = {"narrow": {"type": "aer", "seed": 1, **options}, "wide": {"type": "default.qubit", "seed": 2}}
    return Hybrid(members, rule=rule or [Tier("narrow", shots=50), Tier("wide")])


def by_angle(circuit, members):
    return members[circuit.operations[0].data[0] > 0]


@pytest.mark.parametrize("rule", [None, by_angle])
@pytest.mark.parametrize("numbers", [(), (5, 100, 300)])
def test_a_hybrid_draws_the_seeded_shots_of_the_circuits(rule, numbers):
    batch = work(sweep(shots=40), sweep(shots=60, rows=ROWS[:2]), sweep(shots=30), numbers=numbers)
    assert_equal(*both(lambda: hybrid(rule), batch))


def test_a_hybrid_hands_a_sweep_on_to_one_member_which_runs_it_as_a_sweep(monkeypatch):
    monkeypatch.setattr(Sweep, "circuit", None)
    rows = hybrid([Tier("narrow")]).run_sweep(sweep(shots=40))
    assert len(rows) == len(ROWS)


def test_a_hybrid_divides_a_sweep_that_is_too_large_for_a_member(monkeypatch):
    executor = hybrid(max_circuits=3)
    runs = counting(monkeypatch, executor.members[0]._aer, "sweep_results")
    batch = work(sweep(shots=40), sweep(shots=30, rows=ROWS[:2]), numbers=(10, 100))
    found = executor.perform_sweeps(batch)
    assert [(len(one), number) for one, number in runs] == [(3, 10), (3, 13), (1, 16), (2, 100)]
    assert_equal(found, batch.by_sweep(hybrid().perform(batch.expanded())))
    limited = hybrid(max_shots=100)
    assert_equal(limited.perform_sweeps(batch), found)


def test_the_address_of_a_bound_sweep_says_which_member_runs_it():
    executor, one = hybrid(), sweep(shots=40)
    bound = executor.binder(ExecutionConfig(), one.template)(one.template)
    batch = Work(bound.circuits, Call(bound=True, config=bound.config), sweeps=(one,))
    assert_equal(executor.perform_sweeps(batch), [hybrid().members[0].perform_sweeps(work(one))[0]])


# Numbers of rows


@pytest.mark.parametrize("number", [6, 8])
def test_a_wrong_number_of_results_is_an_error(number):
    with pytest.raises(RuntimeError, match=f"{number} results were returned for the 7 circuits of a sweep"):
        work(sweep()).by_sweep([0.0] * number)

"""PUBs of samplers and estimators on executors and clusters of ours: the numbers are those that Qiskit would give."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import ParameterVector
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeSherbrooke
from qiskit_ibm_runtime.utils import RuntimeDecoder, RuntimeEncoder

import pennylane_qexec as qexec
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import Task, ours
from pennylane_qexec.server.programs import run as run_task
from pennylane_qexec.server.programs.clusters import ClusterJob
from pennylane_qexec.server.sources import source_of, sources_of

pytestmark = pytest.mark.slow  # importing what it needs takes most of its time

SHOTS = 20_000


@dataclass
class Metadata:
    """As much of a backend's metadata as is asked for."""

    name: str = "ideal"
    properties: object = None


def run(program, pubs, source="default.qubit", metadata=None, backend=None, **options):
    """The result of a job, as the client decodes it."""
    source = source if hasattr(source, "kind") else source_of(source)
    job = ClusterJob("job", source, metadata or Metadata(), lambda: backend)
    return json.loads(ours.run(job, program, {"pubs": pubs, "options": options}), cls=RuntimeDecoder)


def near(counts, probabilities, shots):
    """Whether counts are within 6.5 standard errors of probabilities, which chance passes with less than 1e-10."""
    return (
        all(
            abs(counts.get(key, 0) - shots * p) <= 6.5 * np.sqrt(shots * p * (1 - p)) + 1e-9
            for key, p in probabilities.items()
        )
        and sum(counts.values()) == shots
    )


@pytest.fixture(params=["default.qubit", "aer", "jax"])
def source(request):
    return source_of({"type": request.param, "name": f"seeded {request.param}", "seed": 5})


class TestSampler:
    def test_counts_of_several_registers_are_joint_and_in_qiskits_order(self, source):
        circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "low"), ClassicalRegister(2, "high"))
        circuit.ry(1.0, 0)
        circuit.cx(0, 2)
        circuit.rx(0.7, 1)
        circuit.measure([0, 1, 2], [1, 0, 3])
        (result,) = run("sampler", [(circuit, None, SHOTS)], source)
        state = Statevector(circuit.remove_final_measurements(inplace=False))
        expected = {}
        for bits, probability in state.probabilities_dict().items():
            second, first, zeroth = bits
            expected[f"{second}0{zeroth}{first}"] = probability
        together = {}
        for low, high in zip(result.data.low.get_bitstrings(), result.data.high.get_bitstrings(), strict=True):
            together[high + low] = together.get(high + low, 0) + 1
        assert near(together, expected, SHOTS)
        assert result.metadata["shots"] == SHOTS

    def test_the_order_of_shots_says_nothing(self):
        circuit = QuantumCircuit(1)
        circuit.h(0)
        circuit.measure_all()
        (result,) = run("sampler", [(circuit, None, SHOTS)])
        half = result.data.meas.slice_shots(range(SHOTS // 2)).get_counts()
        assert near(half, {"0": 0.5, "1": 0.5}, SHOTS // 2)

    def test_parameters_of_any_shape_are_broadcast(self, source):
        angles = ParameterVector("t", 2)
        circuit = QuantumCircuit(2)
        circuit.rx(angles[0] + 0.1, 0)
        circuit.ry(2 * angles[1], 1)
        circuit.measure_all()
        values = np.linspace(0, 1, 12).reshape(2, 3, 2)
        (result,) = run("sampler", [(circuit, values, 2000)], source)
        assert result.data.meas.shape == (2, 3)
        for index in np.ndindex(2, 3):
            state = Statevector(circuit.remove_final_measurements(inplace=False).assign_parameters(values[index]))
            assert near(result.data.meas[index].get_counts(), state.probabilities_dict(), 2000)

    def test_each_pub_has_its_shots(self):
        circuit = QuantumCircuit(1)
        circuit.measure_all()
        results = run("sampler", [(circuit, None, 7), (circuit, None, None), (circuit,)], default_shots=30)
        assert [one.data.meas.num_shots for one in results] == [7, 30, 30]
        assert run("sampler", [(circuit,)])[0].data.meas.num_shots == 4096

    def test_measurements_in_the_middle_decide_on_gates(self, source):
        circuit = QuantumCircuit(2, 3)
        circuit.ry(1.0, 0)
        circuit.measure(0, 0)
        with circuit.if_test((0, 1)):
            circuit.x(1)
        circuit.reset(0)
        circuit.measure([0, 1], [1, 2])
        (result,) = run("sampler", [(circuit, None, SHOTS)], source)
        assert near(result.data.c.get_counts(), {"000": np.cos(0.5) ** 2, "101": np.sin(0.5) ** 2}, SHOTS)

    def test_loops_run_where_qiskits_circuits_do(self):
        circuit = QuantumCircuit(2, 2)
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.while_loop((circuit.clbits[0], 1)):
            circuit.h(0)
            circuit.measure(0, 0)
            circuit.x(1)
        circuit.measure(1, 1)
        (result,) = run("sampler", [(circuit, None, SHOTS)], "aer")
        assert near(result.data.c.get_counts(), {"00": 2 / 3, "10": 1 / 3}, SHOTS)

    def test_of_a_machine_only_the_qubits_are_simulated_to_which_something_happens(self):
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.cx(0, 1)
        fitted = transpile(circuit, FakeSherbrooke(), optimization_level=1, seed_transpiler=3)
        fitted.measure_all()
        assert fitted.num_qubits == 127
        (result,) = run("sampler", [(fitted, None, 1000)])
        ones = {bits.count("1") for bits in result.data.meas.get_counts()}
        assert ones == {0, 2}
        assert result.data.meas.num_bits == 127

    def test_a_bit_that_is_written_twice_has_what_was_written_last(self):
        circuit = QuantumCircuit(2, 1)
        circuit.x(0)
        circuit.measure(0, 0)
        circuit.measure(1, 0)
        (result,) = run("sampler", [(circuit, None, 10)])
        assert result.data.c.get_counts() == {"0": 10}

    def test_what_measures_nothing_is_answered(self):
        nothing, unused = QuantumCircuit(2), QuantumCircuit(2, 2)
        unused.h(0)
        results = run("sampler", [(nothing, None, 10), (unused, None, 10)])
        assert not dict(results[0].data)
        assert results[1].data.c.get_counts() == {"00": 10}

    def test_with_a_seed_the_counts_are_the_same_in_every_job(self):
        circuit = QuantumCircuit(3)
        circuit.h(range(3))
        circuit.measure_all()
        pubs, options = [(circuit, None, 500)] * 2, {"simulator": {"seed_simulator": 7}}
        first, second = (run("sampler", pubs, **options) for _ in range(2))
        bits = [[one.data.meas.get_bitstrings() for one in result] for result in (first, second)]
        assert bits[0] == bits[1]
        assert bits[0][0] != bits[0][1]

    def test_two_jobs_of_a_source_with_a_seed_draw_different_shots(self, source):
        circuit = QuantumCircuit(8)
        circuit.h(range(8))
        circuit.measure_all()
        drawn = []
        for name in ("one", "two", "one"):
            params = {"pubs": [(circuit, None, 100)]}
            drawn.append(ours.run(ClusterJob(name, source, Metadata(), lambda: None), "sampler", params))
        counts = [json.loads(one, cls=RuntimeDecoder)[0].data.meas.get_counts() for one in drawn]
        assert counts[0] == counts[2] != counts[1]


class TestEstimator:
    def test_observables_are_broadcast_against_parameters(self, source):
        angles = ParameterVector("t", 2)
        circuit = QuantumCircuit(3)
        circuit.rx(angles[0], 0)
        circuit.cx(0, 1)
        circuit.ry(angles[1], 2)
        observables = [[SparsePauliOp(["ZZI", "IXX", "III"], [1, 2, -0.5])], [{"YIZ": 1.0}]]
        values = np.linspace(0.2, 2, 6).reshape(3, 2)
        pub = (circuit, observables, values)
        (result,) = run("estimator", [(*pub, 0.02)], source)
        exact = StatevectorEstimator().run([pub]).result()[0].data.evs
        assert result.data.evs.shape == result.data.stds.shape == (2, 3)
        assert np.all(np.abs(result.data.evs - exact) <= 6.5 * result.data.stds + 1e-12)
        assert result.metadata == {"target_precision": 0.02, "shots": 2500, "circuit_metadata": {}}

    def test_standard_errors_are_those_of_qiskits_backend_estimator(self):
        circuit = QuantumCircuit(2)
        circuit.ry(0.4, 0)
        circuit.cx(0, 1)
        words, weights = ["ZZ", "XX", "IZ", "II"], [1.5, -2.0, 0.5, 3.0]
        observables = [SparsePauliOp(words, weights), *[{word: 1.0} for word in words]]
        by_qiskit = BackendEstimatorV2(backend=AerSimulator()).run([(circuit, observables)]).result()[0].data
        (result,) = run("estimator", [(circuit, observables)])
        for data in (by_qiskit, result.data):
            of_words = np.sqrt(np.maximum(0, 1 - data.evs[1:] ** 2)) / np.sqrt(4096)
            assert data.stds[1:] == pytest.approx(of_words, abs=1e-12)
            if data is result.data:
                assert data.stds[0] == pytest.approx(np.abs(weights) @ of_words, abs=1e-12)
        assert by_qiskit.stds[0] == pytest.approx(result.data.stds[0], rel=0.1)

    @pytest.mark.parametrize("precise", ["default.qubit", "aer", "jax"])
    def test_a_precision_of_0_gives_exact_values(self, precise):
        circuit = QuantumCircuit(2)
        circuit.ry(0.4, 0)
        circuit.cx(0, 1)
        observables = [SparsePauliOp(["ZZ", "XX", "IZ"], [1.5, -2.0, 0.5]), {"YI": 1.0}]
        (result,) = run("estimator", [(circuit, observables, None, 0.0)], precise)
        exact = StatevectorEstimator().run([(circuit, observables)]).result()[0].data.evs
        assert result.data.evs == pytest.approx(exact, abs=1e-6)
        assert not result.data.stds.any()

    def test_executors_that_compute_without_shots_are_exact(self):
        executor = qexec.AerExecutor(name="exact")
        executor.shots = None
        circuit = QuantumCircuit(1)
        circuit.ry(0.4, 0)
        (result,) = run("estimator", [(circuit, "Z", None, 0.1)], executor)
        assert float(result.data.evs) == pytest.approx(np.cos(0.4), abs=1e-9)
        assert float(result.data.stds) == 0
        circuit.measure_all()
        with pytest.raises(qexec.ConfigurationError, match="nothing to be sampled"):
            run("sampler", [(circuit, None, 10)], executor)

    def test_projectors_have_the_probabilities_of_outcomes(self):
        circuit = QuantumCircuit(2)
        circuit.ry(1.0, 0)
        observables = ["I0", "I1", "01", "-I", "lI"]
        (result,) = run("estimator", [(circuit, observables, None, 0.0)])
        one = np.sin(0.5) ** 2
        assert result.data.evs == pytest.approx([1 - one, one, one, 0.5, 0.5], abs=1e-9)

    def test_of_a_machine_only_the_qubits_are_simulated_to_which_something_happens(self):
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.cx(0, 1)
        fitted = transpile(circuit, FakeSherbrooke(), optimization_level=1, seed_transpiler=3)
        total = SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0) for qubit in range(127)], 127)
        pair = SparsePauliOp(["XX", "ZZ"], [1, 1]).apply_layout(fitted.layout)
        (result,) = run("estimator", [(fitted, [total, pair], None, 0.0)])
        assert result.data.evs == pytest.approx([125, 2], abs=1e-9)

    @pytest.mark.parametrize("after", [False, True])
    def test_a_measurement_changes_what_is_measured_after_it(self, after):
        circuit = QuantumCircuit(1, 1)
        circuit.h(0)
        circuit.measure(0, 0)
        if after:
            circuit.h(0)
        (result,) = run("estimator", [(circuit, ["X", "Z"], None, 0.02)])
        assert np.all(np.abs(result.data.evs) <= 6.5 * 0.02)


class TestSources:
    def test_a_cluster_shares_shots_out_and_counts_them_by_its_budget(self):
        budget = qexec.Budget(shots=1500)
        cluster = qexec.QCluster(["default.qubit", "lightning.qubit"], split="uniform", budget=budget)
        circuit = QuantumCircuit(1)
        circuit.ry(0.3, 0)
        circuit.measure_all()
        source = source_of(cluster)
        (result,) = run("sampler", [(circuit, None, 1000)], source)
        assert near(result.data.meas.get_counts(), {"1": np.sin(0.15) ** 2, "0": np.cos(0.15) ** 2}, 1000)
        assert {row.executor for row in cluster.history} == {"default.qubit", "lightning.qubit"}
        assert budget.used.shots == 1000
        with pytest.raises(qexec.BudgetExceededError):
            run("sampler", [(circuit, None, 1000)], source)

    def test_a_function_makes_an_executor_of_the_backends_metadata(self):
        made = []

        def noisy(metadata):
            made.append(metadata.name)
            return qexec.AerExecutor(metadata.name, seed=1)

        circuit = QuantumCircuit(1)
        circuit.x(0)
        circuit.measure_all()
        source = source_of(noisy)
        manila = Metadata("fake_manila")
        counts = [run("sampler", [(circuit, None, 4000)], source, manila)[0].data.meas.get_counts() for _ in range(2)]
        assert made == ["fake_manila"]
        assert all(0 < one["0"] < 400 for one in counts)
        run("sampler", [(circuit, None, 10)], source, Metadata("fake_lima"))
        assert made == ["fake_manila", "fake_lima"]

    def test_aer_has_the_noise_of_the_backend_where_its_own_program_does_not_run(self):
        circuit = QuantumCircuit(1)
        circuit.x(0)
        circuit.measure_all()
        noisy = Metadata("lab", properties={})
        counts = run("sampler", [(circuit, None, 4000)], "aer", noisy, FakeManilaV2())[0].data.meas.get_counts()
        assert 0 < counts["0"] < 400

    def test_an_object_runs_the_primitives_itself(self):
        asked = []

        class Mine:
            name = "mine"

            def execute_sampler(self, pubs, options, backend_name):
                asked.append((len(pubs[0]), options, backend_name))
                return StatevectorSampler().run(pubs).result()

            def execute_estimator(self, pubs, options, backend_name):
                asked.append(pubs[0][1:])
                return "nothing"

        circuit = QuantumCircuit(1)
        circuit.measure_all()
        source = source_of(Mine())
        (result,) = run("sampler", [(circuit, None, 9)], source, default_shots=3)
        assert result.data.meas.get_counts() == {"0": 9}
        assert asked.pop() == (3, {"default_shots": 3}, "ideal")
        for pub, options, shots in (((circuit,), {"default_shots": 3}, 3), ((circuit, None, None), {}, 4096)):
            assert run("sampler", [pub], source, **options)[0].data.meas.get_counts() == {"0": shots}
        with pytest.raises(qexec.ConfigurationError, match="returned str in place of a PrimitiveResult"):
            run("estimator", [(circuit, "Z")], source, default_precision=0.1)
        assert asked.pop() == ("Z", None, 0.1)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"simulator": {"noise_model": {}}}, "noise_model: 'default.qubit' has its own noise"),
            ({"execution": {"meas_type": "kerneled"}}, "measures bits"),
        ],
    )
    def test_options_that_cannot_be_had_are_refused(self, options, message):
        circuit = QuantumCircuit(1)
        circuit.measure_all()
        with pytest.raises(qexec.ConfigurationError, match=message):
            run("sampler", [(circuit, None, 9)], **options)

    def test_a_seed_is_refused_by_what_was_built_already(self):
        circuit = QuantumCircuit(1)
        circuit.measure_all()
        with pytest.raises(qexec.ConfigurationError, match="seed_simulator=3"):
            run("sampler", [(circuit, None, 9)], qexec.AerExecutor(), simulator={"seed_simulator": 3})

    def test_a_seed_of_an_estimator_is_that_of_its_shots(self):
        circuit = QuantumCircuit(1)
        circuit.h(0)
        values = [run("estimator", [(circuit, "Z", None, 0.01)], seed_estimator=seed)[0].data.evs for seed in (0, 0, 1)]
        assert values[0] == values[1] != values[2]

    def test_a_pub_that_is_none_is_refused(self):
        with pytest.raises(qexec.ConfigurationError, match="PUB 0 is not valid"):
            run("estimator", [(QuantumCircuit(1), "ZZ")])

    def test_a_pub_with_a_precision_has_as_many_shots_as_qiskit_takes(self):
        pub = EstimatorPub.coerce((QuantumCircuit(1), "X", None, 0.03))
        (result,) = run("estimator", [(pub.circuit, "X", None, 0.03)])
        assert result.metadata["shots"] == 1112


def test_jobs_that_run_as_one_fail_alone():
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    endless = circuit.copy()
    with endless.while_loop((endless.clbits[0], 1)):
        endless.measure(0, 0)
    pubs = [(circuit, None, 9), (circuit, [1.0], 9), (endless, None, 9), (circuit, None, 7)]
    payloads = [json.dumps({"pubs": [pub]}, cls=RuntimeEncoder).encode() for pub in pubs]
    sources = sources_of("default.qubit")
    catalogue = Catalogue(list(sources))
    task = Task("sampler", catalogue.find("ideal"), ("a", "b", "c", "d"), tuple(payloads))
    first, unreadable, refused, last = run_task(task, catalogue, sources, Limits())
    assert "PUB 0" in unreadable.reason
    assert refused.result is None
    for answer, shots in ((first, 9), (last, 7)):
        assert json.loads(answer.result, cls=RuntimeDecoder)[0].data.meas.get_counts() == {"1": shots}

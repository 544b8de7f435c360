"""Samplers and estimators on Aer: the numbers of the client's local testing mode, and right where it is not."""

import json
import warnings

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import ParameterVector
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_ibm_runtime import EstimatorV2, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2
from qiskit_ibm_runtime.utils import RuntimeDecoder, RuntimeEncoder

from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import Task, coalescing_key, run
from pennylane_qexec.server.sources import sources_of

pytestmark = pytest.mark.slow  # importing what it needs takes most of its time

SOURCES = sources_of(["aer", {"type": "aer", "name": "noiseless", "noise": False}])
CATALOGUE = Catalogue(list(SOURCES))
PROVIDER = FakeProviderForBackendV2()

SLOW = ["fake_athens", "fake_quito", "fake_lima", "fake_lagos", "fake_perth", "fake_fractional", "fake_guadalupe"]
SLOW += ["fake_cairo", "fake_brisbane"]
MACHINES = ["fake_manila", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(params=MACHINES)
def machine(request, monkeypatch):
    """A fake backend of 5 to 127 qubits that builds its noise once: local testing mode copies it in every run."""
    backend = PROVIDER.backend(request.param)
    backend._setup_sim()
    monkeypatch.setattr(type(backend), "__deepcopy__", lambda self, memo: self, raising=False)
    return backend


def answers(program, backend, *jobs):
    """What becomes of jobs that run as one."""
    texts = tuple(json.dumps(params, cls=RuntimeEncoder).encode() for params in jobs)
    task = Task(program, CATALOGUE.find(backend), tuple(str(number) for number in range(len(jobs))), texts)
    return run(task, CATALOGUE, SOURCES, Limits())


def result(program, backend, pubs, **options):
    """The result of a job, as the client decodes it."""
    (answer,) = answers(program, backend, params(program, pubs, **options))
    assert answer.result, answer.reason
    return json.loads(answer.result, cls=RuntimeDecoder)


def params(program, pubs, **options):
    """What a client sends."""
    kind = SamplerPub if program == "sampler" else EstimatorPub
    return {"pubs": [kind.coerce(pub) for pub in pubs], "options": options, "version": 2, "support_qiskit": True}


def local(primitive, backend, pubs, **options):
    """The result of the client's local testing mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return primitive(mode=backend, options=options).run(pubs).result()


def fitted(circuit, backend):
    return transpile(circuit, backend, optimization_level=1, seed_transpiler=5)


def assert_equal_samples(backend, pubs):
    options = {"default_shots": 250, "simulator": {"seed_simulator": 11}}
    got, wanted = result("sampler", backend.name, pubs, **options), local(SamplerV2, backend, pubs, **options)
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.data.shape == theirs.data.shape
        assert mine.metadata == theirs.metadata
        assert list(mine.data) == list(theirs.data)
        for register in theirs.data:
            assert np.array_equal(mine.data[register].array, theirs.data[register].array)


def assert_equal_values(backend, pubs):
    options = {"default_precision": 0.05, "simulator": {"seed_simulator": 11}}
    got, wanted = result("estimator", backend.name, pubs, **options), local(EstimatorV2, backend, pubs, **options)
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.metadata == theirs.metadata
        assert "target_precision" in mine.metadata
        assert mine.data.evs.shape == theirs.data.evs.shape
        assert np.array_equal(mine.data.evs, theirs.data.evs)
        assert np.array_equal(mine.data.stds, theirs.data.stds)


def ansatz(measured):
    angles = ParameterVector("angle", 3)
    circuit = QuantumCircuit(QuantumRegister(3, "q"))
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.h(0)
    if measured:
        circuit.measure_all()
    return circuit


def ghz(name="meas"):
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(3, name))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure(range(3), range(3))
    return circuit


ANGLES = np.array([[[0.1, 0.5, 2.0], [1.1, -0.5, 0.3]], [[0.0, 0.0, 0.0], [3.0, 1.0, 2.0]]])


class TestParity:
    def test_counts_and_values_are_those_of_local_testing_mode(self, machine):
        rows, one = fitted(ansatz(True), machine), fitted(ghz("c"), machine)
        assert_equal_samples(machine, [(rows, ANGLES, 50), (one, [], 50)])
        rows = fitted(ansatz(False), machine)
        observable = SparsePauliOp(["ZZI", "XXI", "IYY"], [1, 0.5, -2]).apply_layout(rows.layout)
        assert_equal_values(machine, [(rows, observable, ANGLES, 0.1)])

    @pytest.mark.slow
    def test_pubs_may_have_shots_and_precisions_of_their_own(self):
        backend = PROVIDER.backend("fake_manila")
        rows, one = fitted(ansatz(True), backend), fitted(ghz("c"), backend)
        assert_equal_samples(backend, [(rows, ANGLES, 100), (one,), (one, [], 37), (rows, ANGLES[0, 0])])
        rows = fitted(ansatz(False), backend)
        observables = [
            SparsePauliOp(["ZZI", "XXI", "IYY"], [1, 0.5, -2]).apply_layout(rows.layout),
            SparsePauliOp(["III"]).apply_layout(rows.layout),
        ]
        pubs = [
            (rows, observables, ANGLES),
            (rows, [[one] for one in observables], ANGLES[0, :, :]),
            (rows, observables[0], ANGLES[0, 0], 0.1),
        ]
        assert_equal_values(backend, pubs)

    def test_the_default_shots_of_an_estimator_are_its_precision(self):
        backend = PROVIDER.backend("fake_manila")
        circuit = fitted(ansatz(False), backend).assign_parameters(ANGLES[0, 0])
        pubs = [(circuit, SparsePauliOp("ZZZ").apply_layout(circuit.layout))]
        options = {"default_shots": 100, "default_precision": 0.01, "simulator": {"seed_simulator": 3}}
        got, wanted = result("estimator", "fake_manila", pubs, **options), local(EstimatorV2, backend, pubs, **options)
        assert got[0].data.evs == wanted[0].data.evs
        assert got[0].metadata["shots"] == 100

    def test_dynamic_circuits_run_as_aer_runs_them(self):
        circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "first"), ClassicalRegister(2, "last"))
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((0, 1)) as otherwise:
            circuit.x(1)
        with otherwise:
            circuit.h(1)
        circuit.measure(range(2), [1, 2])
        pubs = [(fitted(circuit, PROVIDER.backend("fake_brisbane")), [], 2000)]
        (one,) = result("sampler", "fake_brisbane", pubs, simulator={"seed_simulator": 4})
        both = one.data.first.array[:, 0] + 2 * one.data.last.array[:, 0]
        drawn = np.bincount(both, minlength=8) / 2000
        assert np.allclose(drawn[[1 + 2 * 3, 0, 4]], [0.5, 0.25, 0.25], atol=0.1)  # the machine is right in 94 %


class TestBeyondLocalTestingMode:
    """What local testing mode leaves out without an error."""

    def test_a_seed_of_zero_is_a_seed(self):
        circuit = fitted(ghz(), PROVIDER.backend("fake_manila"))
        options = {"simulator": {"seed_simulator": 0}}
        first, second = (result("sampler", "fake_manila", [(circuit, [], 300)], **options) for _ in range(2))
        assert np.array_equal(first[0].data.meas.array, second[0].data.meas.array)

    def test_without_a_seed_shots_are_independent(self):
        circuit = fitted(ghz(), PROVIDER.backend("fake_manila"))
        first, second = (result("sampler", "fake_manila", [(circuit, [], 300)]) for _ in range(2))
        assert not np.array_equal(first[0].data.meas.array, second[0].data.meas.array)

    @pytest.mark.parametrize("program", ["sampler", "estimator"])
    def test_a_noise_model_of_the_users_takes_the_place_of_the_backends(self, program):
        noise = NoiseModel()
        noise.add_all_qubit_quantum_error(depolarizing_error(1.0, 1), ["sx", "x"])
        circuit = QuantumCircuit(1, 1)
        circuit.x(0)
        if program == "sampler":
            circuit.measure(0, 0)
            pub = (circuit, [], 20_000)
        else:
            pub = (circuit, SparsePauliOp("Z"), [], 0.0071)
        wide = transpile(circuit, PROVIDER.backend("fake_manila"), initial_layout=[2])
        pub = (wide, *((pub[1].apply_layout(wide.layout),) if program == "estimator" else (pub[1],)), *pub[2:])
        simulator = {"noise_model": noise, "seed_simulator": 5}
        (one,) = result(program, "fake_manila", [pub], simulator=simulator)
        mean = 1 - 2 * one.data.c.get_counts()["1"] / 20_000 if program == "sampler" else one.data.evs
        assert abs(mean) < 6.5 / np.sqrt(19_800)  # without it, about -0.95

    def test_an_empty_noise_model_has_no_noise(self):
        circuit = fitted(ghz(), PROVIDER.backend("fake_manila"))
        options = {"simulator": {"noise_model": NoiseModel()}}
        (one,) = result("sampler", "fake_manila", [(circuit, [], 500)], **options)
        assert set(one.data.meas.get_counts()) == {"000", "111"}


class TestIdeal:
    def test_what_nobody_has_transpiled_runs(self):
        circuit = QuantumCircuit(4)
        circuit.h(0)
        circuit.mcx([0, 1, 2], 3)
        circuit.compose(ansatz(False), [0, 1, 2], inplace=True)
        circuit.measure_all()
        (one,) = result("sampler", "ideal", [(circuit, ANGLES)], simulator={"seed_simulator": 1})
        assert one.data.meas.shape == (2, 2)
        assert one.data.meas.num_shots == 4096

    def test_clifford_circuits_of_many_qubits_run(self):
        circuit = QuantumCircuit(100)
        circuit.h(0)
        for qubit in range(99):
            circuit.cx(qubit, qubit + 1)
        circuit.measure_all()
        (one,) = result("sampler", "ideal", [(circuit, [], 100)])
        assert set(one.data.meas.get_counts()) == {"0" * 100, "1" * 100}

    def test_a_source_without_noise_runs_what_was_transpiled_for_a_machine(self):
        circuit = fitted(ghz(), PROVIDER.backend("fake_manila"))
        (one,) = result("sampler", "fake_manila@noiseless", [(circuit, [], 500)])
        assert set(one.data.meas.get_counts()) == {"000", "111"}

    def test_numbers_are_those_of_qiskits_primitives_on_aer(self):
        circuit, options = ghz(), {"seed_simulator": 8}
        (mine,) = result("sampler", "ideal", [(circuit, [], 100)], simulator=options)
        wanted = BackendSamplerV2(backend=AerSimulator(), options=options).run([(circuit, [], 100)]).result()[0]
        assert np.array_equal(mine.data.meas.array, wanted.data.meas.array)
        pub = (ansatz(False), SparsePauliOp(["ZZZ", "XII"]), ANGLES)
        (mine,) = result("estimator", "ideal", [pub], simulator=options)
        wanted = BackendEstimatorV2(backend=AerSimulator(), options=options).run([pub]).result()[0]
        assert np.array_equal(mine.data.evs, wanted.data.evs)


class TestPubs:
    def test_registers_that_share_bits_are_refused(self):
        circuit = QuantumCircuit(2, 2)
        circuit.add_register(ClassicalRegister(bits=[circuit.clbits[1], circuit.clbits[0]], name="swapped"))
        circuit.measure([0, 1], [0, 1])
        (answer,) = answers("sampler", "ideal", params("sampler", [(circuit,)]))
        assert "'swapped'" in answer.reason

    def test_a_circuit_without_measurements_has_no_data(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (one,) = result("sampler", "ideal", [(QuantumCircuit(1), [], 10)])
        assert list(one.data) == []

    @pytest.mark.parametrize(
        ("circuit", "why"),
        [(ghz(), "does not support|not supported"), (QuantumCircuit(6), "6 qubits")],
        ids=["other gates", "more qubits"],
    )
    def test_a_circuit_that_is_not_the_machines_is_refused(self, circuit, why):
        (answer,) = answers("sampler", "fake_manila", params("sampler", [(circuit,)]))
        assert any(part in answer.reason for part in why.split("|"))
        assert "Transpile" in answer.reason

    def test_what_is_wrong_with_a_pub_is_said(self):
        (answer,) = answers("sampler", "ideal", {"pubs": [[ansatz(True), np.zeros(5)]]})
        assert answer.reason.startswith("PUB 0 is not valid")
        (answer,) = answers("estimator", "ideal", {"pubs": [[ansatz(False), {"QQQ": 1.0}, np.zeros(3)]]})
        assert answer.reason.startswith("PUB 0 is not valid")
        (answer,) = answers("estimator", "ideal", {"pubs": [[ansatz(False), {"ZZ": 1.0}, np.zeros(3)]]})
        assert answer.reason.startswith("PUB 0 is not valid")

    def test_more_memory_than_there_is_is_refused(self):
        circuit = QuantumCircuit(60)
        for qubit in range(60):
            circuit.ry(0.1 + qubit, qubit)
            for other in range(qubit):
                circuit.cp(0.2, qubit, other)
        circuit.measure_all()
        bare = circuit.remove_final_measurements(inplace=False)
        for program, pub in (("sampler", (circuit, [], 1)), ("estimator", (bare, "Z" * 60))):
            (answer,) = answers(program, "ideal", params(program, [pub], simulator={"seed_simulator": 1}))
            assert answer.result is None
            assert "Insufficient memory" in answer.reason


class TestCoalescing:
    def test_jobs_that_run_as_one_have_their_own_results(self):
        small = params("sampler", [(ghz(), [], 10)]), params("sampler", [(ansatz(True), ANGLES), (ghz("c"), [], 20)])
        first, second = (json.loads(one.result, cls=RuntimeDecoder) for one in answers("sampler", "ideal", *small))
        assert len(first) == 1
        assert first[0].data.meas.num_shots == 10
        assert len(second) == 2
        assert second[0].data.meas.shape == (2, 2)
        assert second[1].data.c.num_shots == 20

    def test_equal_jobs_that_run_as_one_draw_independent_shots(self):
        circuit = fitted(ghz(), PROVIDER.backend("fake_manila"))
        jobs = [params("sampler", [(circuit, [], 500)])] * 6
        drawn = [
            json.loads(one.result, cls=RuntimeDecoder)[0].data.meas.array
            for one in answers("sampler", "fake_manila", *jobs)
        ]
        assert len({array.tobytes() for array in drawn}) == 6

    def test_one_that_cannot_run_does_not_fail_the_others(self):
        good = params("sampler", [(ghz(), [], 10)])
        circuit = QuantumCircuit(1, 1)
        circuit.append(QuantumCircuit(1, name="opaque").to_instruction(), [0])
        circuit.data[0] = circuit.data[0].replace(operation=circuit.data[0].operation.__class__("opaque", 1, 0, []))
        circuit.measure(0, 0)
        bad = params("sampler", [(circuit, [], 10)])
        one, other, third = answers("sampler", "ideal", good, bad, good)
        assert one.result
        assert third.result
        assert "opaque" in other.reason

    def test_keys_are_equal_for_jobs_of_equal_options(self):
        backend = CATALOGUE.find("fake_manila")

        few = [(ghz(), [], 10)]

        def key(pubs=few, backend=backend, program="sampler", **options):
            text = json.dumps(params(program, pubs, **options), cls=RuntimeEncoder)
            return coalescing_key(program, backend, json.loads(text))

        assert key() == key([(ansatz(True), ANGLES, 7)]) != key(default_shots=5)
        assert key() != key(backend=CATALOGUE.find("ideal"))
        assert key() != key([(QuantumCircuit(1), "Z")], program="estimator")
        assert key(simulator={"seed_simulator": 0}) is None
        assert key([(ghz(), [], 10)] * 30) is None
        assert key([(ghz(), [], 10**6)]) is None
        assert key([(ghz(),)], default_shots=10**6) is None
        assert key([(QuantumCircuit(1), "Z", [], 1e-4)], program="estimator") is None

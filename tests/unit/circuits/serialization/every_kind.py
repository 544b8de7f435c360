"""One operator of each kind that can be stored, and measurements in all their forms."""

from __future__ import annotations

import numpy as np
import pennylane as qml
from pennylane.measurements import MeasurementProcess, NullMeasurement
from pennylane.operation import Operator
from pennylane.ops import Evolution, MidMeasure
from pennylane.ops.qubit.special_unitary import TmpPauliRot
from pennylane.tape import QuantumScript
from pennylane.templates.layers.basic_entangler import BasicEntanglerLayers
from pennylane.wires import Wires
from scipy import sparse
from scipy.stats import unitary_group

from pennylane_qexec.circuits.serialization.encoding import kinds

PAULIS = qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(0)
HAMILTONIAN = qml.Hamiltonian([0.5, 0.2], [qml.Z(0) @ qml.Z(1), qml.X(0)])
BITS = [[0, 1], [1, 0], [1, 1], [0, 0]]
ANGLES = np.linspace(0.1, 1.1, 11)
CV_SHAPES = [(1, 1), (1, 1), (1, 2), (1, 2), (1, 2), (1, 1), (1, 1), (1, 2), (1, 2), (1, 2), (1, 2)]
NORMED = np.array([0.5, 0.5, 0.5, 0.5])


def simple() -> dict[str, Operator]:
    """Operators that some numbers and wires make."""
    built: dict[str, Operator] = {}
    for name, kind in sorted(kinds().items()):
        wires = kind.num_wires if isinstance(getattr(kind, "num_wires", None), int) else 2
        numbers = kind.num_params if isinstance(getattr(kind, "num_params", None), int) else 1
        if issubclass(kind, Operator) and kind is not MidMeasure:
            try:
                built[name] = kind(*ANGLES[:numbers], wires=list(range(wires)))
            except Exception:  # these are made by hand
                continue
    return built


def gates() -> dict[str, Operator]:
    """Operators made by hand: gates, states, channels and observables."""
    return {
        "AmplitudeEmbedding": qml.AmplitudeEmbedding([0.3, 0.4, 0.7], wires=[0, 1], pad_with=0.1, normalize=True),
        "BasisState": qml.BasisState([0, 1], wires=[0, 1]),
        "BasisEmbedding": qml.BasisEmbedding(2, wires=[0, 1]),
        "BasisStateProjector": qml.Projector([0, 1], wires=[0, 1]),
        "BlockEncode": qml.BlockEncode([[0.1, 0.2], [0.3, 0.4]], wires=[0, 1]),
        "ControlledQubitUnitary": qml.ControlledQubitUnitary(unitary_group.rvs(2, random_state=1), wires=[1, 0]),
        "DiagonalQubitUnitary": qml.DiagonalQubitUnitary(np.array([1, 1j]), wires=0),
        "FockStateProjector": qml.FockStateProjector(np.array([1, 2]), wires=[0, 1]),
        "Hermitian": qml.Hermitian(np.diag([1.0, 2.0]), 0),
        "IntegerComparator": qml.IntegerComparator(1, geq=False, wires=[0, 1]),
        "MultiControlledX": qml.MultiControlledX(wires=[0, 1, 2], control_values=[1, 0], work_wires=["w"]),
        "PCPhase": qml.PCPhase(0.1, 2, [0, 1]),
        "PauliError": qml.PauliError("XY", 0.1, wires=[0, 1]),
        "PauliRot": qml.PauliRot(0.3, "XY", wires=[0, 1]),
        "QubitChannel": qml.QubitChannel([np.sqrt(0.9) * np.eye(2), np.sqrt(0.1) * qml.X(0).matrix()], 0),
        "QubitDensityMatrix": qml.QubitDensityMatrix(np.diag([0.5, 0.5]), wires=0),
        "QubitUnitary": qml.QubitUnitary(unitary_group.rvs(16, random_state=1), wires=range(4)),
        "QutritBasisState": qml.QutritBasisState(np.array([1, 2]), wires=[0, 1]),
        "QutritChannel": qml.QutritChannel([np.eye(3)], wires=0),
        "QutritUnitary": qml.QutritUnitary(np.eye(3), wires=0),
        "SparseHamiltonian": qml.SparseHamiltonian(sparse.csr_matrix(np.diag([1.0, 0, 0, 2.0])), wires=[0, 1]),
        "SpecialUnitary": qml.SpecialUnitary(ANGLES[:3], wires=0),
        "StatePrep": qml.StatePrep(np.array([1.0, 1.0, 1.0]), wires=[0, 1], pad_with=0.0, normalize=True),
        "StateVectorProjector": qml.Projector(np.array([0.6, 0.8]), wires=0),
        "Superposition": qml.Superposition(NORMED[:2] * np.sqrt(2), np.array([[0, 1], [1, 0]]), [0, 1], 2),
        "THermitian": qml.THermitian(np.diag([1.0, 2.0, 3.0]), wires=0),
        "TmpPauliRot": TmpPauliRot(0.3, "XY", wires=[0, 1]),
        "GellMann": qml.GellMann(0, 3),
        "InterferometerUnitary": qml.InterferometerUnitary(np.eye(2), wires=[0, 1]),
        "GaussianState": qml.GaussianState(np.eye(4), np.zeros(4), wires=[0, 1]),
        "FockDensityMatrix": qml.FockDensityMatrix(np.diag([0.5, 0.5]), wires=0),
        "FockStateVector": qml.FockStateVector(np.array([0.6, 0.8]), wires=0),
        "PolyXP": qml.PolyXP(np.array([1.0, 2.0, 3.0]), wires=0),
        "Allocate": qml.allocation.Allocate(Wires([7]), state="zero", restored=False),
        "Deallocate": qml.allocation.Deallocate(Wires([7])),
        "Snapshot": qml.Snapshot("here", qml.expval(qml.Z(0))),
    }


def composed() -> dict[str, Operator]:
    """Operators made of others."""
    return {
        "Adjoint": qml.adjoint(HAMILTONIAN),
        "AdjointOperation": qml.adjoint(qml.RX(0.3, 0)),
        "ChangeOpBasis": qml.change_op_basis(qml.H(0), qml.X(0)),
        "Controlled": qml.ctrl(HAMILTONIAN, "c"),
        "ControlledOp": qml.ctrl(qml.Rot(0.1, 0.2, 0.3, 0), control=[1, 2], control_values=[0, 1], work_wires=3),
        "Evolution": Evolution(qml.X(0), 0.3),
        "Exp": qml.exp(qml.X(0), 0.3j),
        "LabelledOp": qml.drawer.label(qml.X(0), "mine"),
        "LinearCombination": HAMILTONIAN,
        "MarkedOp": qml.fourier.mark(qml.RX(0.1, 0), "x0"),
        "Pow": qml.pow(HAMILTONIAN, 2),
        "PowOperation": qml.pow(qml.RX(0.3, 0), 0.5),
        "Prod": qml.prod(qml.X(0), qml.RY(0.1, 1), qml.adjoint(qml.T(2))),
        "SProd": 0.5 * qml.X(0),
        "Sum": PAULIS,
    }


def embeddings() -> dict[str, Operator]:
    """Templates of gates with angles."""
    return {
        "AllSinglesDoubles": qml.AllSinglesDoubles(
            ANGLES[:2], [0, 1, 2, 3], np.array([1, 1, 0, 0]), [[0, 2]], [[0, 1, 2, 3]]
        ),
        "AngleEmbedding": qml.AngleEmbedding(ANGLES[:2], wires=[0, 1], rotation="Y"),
        "ArbitraryStatePreparation": qml.ArbitraryStatePreparation(ANGLES[:6], wires=[0, 1]),
        "ArbitraryUnitary": qml.ArbitraryUnitary(ANGLES[:3], wires=[0]),
        "BasicEntanglerLayers": BasicEntanglerLayers(ANGLES[:2].reshape(1, 2), wires=[0, 1], rotation=qml.RY),
        "BasisRotation": qml.BasisRotation(wires=[0, 1], unitary_matrix=unitary_group.rvs(2, random_state=2)),
        "CVNeuralNetLayers": qml.CVNeuralNetLayers(*map(np.ones, CV_SHAPES), wires=[0, 1]),
        "DisplacementEmbedding": qml.DisplacementEmbedding(ANGLES[:2], wires=[0, 1], method="phase", c=0.5),
        "FermionicDoubleExcitation": qml.FermionicDoubleExcitation(0.3, wires1=[0, 1], wires2=[2, 3]),
        "FermionicSingleExcitation": qml.FermionicSingleExcitation(0.3, wires=[0, 1]),
        "GateFabric": qml.GateFabric(np.ones((1, 1, 2)), wires=[0, 1, 2, 3], init_state=np.array([1, 1, 0, 0])),
        "IQPEmbedding": qml.IQPEmbedding(ANGLES[:2], wires=[0, 1], n_repeats=2, pattern=[[0, 1]]),
        "Interferometer": qml.Interferometer(ANGLES[:1], ANGLES[:1], ANGLES[:2], wires=[0, 1]),
        "ParticleConservingU1": qml.ParticleConservingU1(np.ones((1, 1, 2)), wires=[0, 1], init_state=np.array([1, 0])),
        "ParticleConservingU2": qml.ParticleConservingU2(np.ones((1, 3)), wires=[0, 1], init_state=np.array([1, 0])),
        "QAOAEmbedding": qml.QAOAEmbedding(ANGLES[:2], np.ones((1, 3)), wires=[0, 1]),
        "RandomLayers": qml.RandomLayers(np.ones((1, 3)), wires=[0, 1], seed=4),
        "SimplifiedTwoDesign": qml.SimplifiedTwoDesign(ANGLES[:2], np.ones((1, 1, 2)), wires=[0, 1]),
        "SqueezingEmbedding": qml.SqueezingEmbedding(ANGLES[:2], wires=[0, 1]),
        "StronglyEntanglingLayers": qml.StronglyEntanglingLayers(np.ones((2, 2, 3)), wires=[0, 1], ranges=[1, 1]),
        "UCCSD": qml.UCCSD(ANGLES[:2], [0, 1, 2, 3], [[0, 1, 2]], [[[0, 1], [2, 3]]], np.array([1, 1, 0, 0])),
        "kUpCCGSD": qml.kUpCCGSD(np.ones((1, 6)), [0, 1, 2, 3], k=1, delta_sz=0, init_state=np.array([1, 1, 0, 0])),
    }


def routines() -> dict[str, Operator]:
    """Templates of algorithms."""
    iterate = qml.prod(qml.Z(1), qml.X(0))
    return {
        "Adder": qml.Adder(3, [0, 1], mod=3, work_wires=[2, 3]),
        "AmplitudeAmplification": qml.AmplitudeAmplification(qml.H(0), qml.Z(0), iters=2),
        "ApproxTimeEvolution": qml.ApproxTimeEvolution(HAMILTONIAN, 0.3, 2),
        "CommutingEvolution": qml.CommutingEvolution(HAMILTONIAN, 0.3, frequencies=(2,)),
        "ControlledSequence": qml.ControlledSequence(qml.RX(0.25, wires=3), control=[0, 1, 2]),
        "FABLE": qml.FABLE(np.diag([0.1, 0.2]), wires=range(3), tol=0.01),
        "FlipSign": qml.FlipSign([1, 0], wires=[0, 1]),
        "GQSP": qml.GQSP(qml.RX(0.3, 1), np.ones((3, 2)), control=0),
        "GroverOperator": qml.GroverOperator(wires=[0, 1]),
        "HilbertSchmidt": qml.HilbertSchmidt([qml.RX(0.1, 1)], [qml.H(0)]),
        "LocalHilbertSchmidt": qml.LocalHilbertSchmidt([qml.RX(0.1, 1)], [qml.H(0)]),
        "MPSPrep": qml.MPSPrep(
            [np.array([[0.6, 0.8], [0.8, -0.6]]), np.array([[1.0, 0.0], [0.0, 1.0]])], wires=[0, 1], work_wires=[2]
        ),
        "ModExp": qml.ModExp([0, 1], [2, 3], base=2, mod=3, work_wires=[4, 5, 6, 7]),
        "MottonenStatePreparation": qml.MottonenStatePreparation(NORMED, wires=[0, 1]),
        "MultiplexerStatePreparation": qml.MultiplexerStatePreparation(NORMED, wires=[0, 1]),
        "Multiplier": qml.Multiplier(2, [0, 1], mod=3, work_wires=[2, 3, 4, 5]),
        "OutAdder": qml.OutAdder([0, 1], [2, 3], [4, 5], mod=3, work_wires=[6, 7]),
        "OutMultiplier": qml.OutMultiplier([0, 1], [2, 3], [4, 5], mod=3, work_wires=[6, 7]),
        "Permute": qml.Permute([1, 2, 0], wires=[0, 1, 2]),
        "PhaseAdder": qml.PhaseAdder(3, [0, 1], mod=3, work_wire=2),
        "PrepSelPrep": qml.PrepSelPrep(HAMILTONIAN, control=[2]),
        "QDrift": qml.QDrift(HAMILTONIAN, 0.3, n=2, seed=1),
        "QFT": qml.QFT(wires=[0, 1]),
        "QROM": qml.QROM(BITS, control_wires=[0, 1], target_wires=[2, 3], work_wires=None, clean=False),
        "QROMStatePreparation": qml.QROMStatePreparation(NORMED, [0, 1], precision_wires=[2, 3]),
        "QSVT": qml.QSVT(qml.BlockEncode([0.1], wires=[0]), [qml.PCPhase(0.2, 1, wires=[0])]),
        "QuantumPhaseEstimation": qml.QuantumPhaseEstimation(qml.RX(0.3, 0), estimation_wires=[1, 2]),
        "Qubitization": qml.Qubitization(HAMILTONIAN, control=[2]),
        "QutritBasisStatePreparation": qml.QutritBasisStatePreparation([1, 2], wires=[0, 1]),
        "Reflection": qml.Reflection(qml.H(0), 0.3, reflection_wires=[0]),
        "Select": qml.Select([qml.X(2), iterate], control=3, work_wires=[5]),
        "SelectPauliRot": qml.SelectPauliRot(ANGLES[:2], control_wires=[0], target_wire=1, rot_axis="Y"),
        "SemiAdder": qml.SemiAdder([0, 1], [2, 3], work_wires=[4]),
        "SumOfSlatersPrep": qml.SumOfSlatersPrep(NORMED[:2] * np.sqrt(2), wires=[0, 1], indices=(0, 3)),
        "TemporaryAND": qml.TemporaryAND([0, 1, 2], control_values=(0, 1)),
        "TrotterProduct": qml.TrotterProduct(HAMILTONIAN, 0.3, n=2, order=2),
    }


def operators() -> dict[str, Operator]:
    """One operator of each kind."""
    return {**simple(), **gates(), **composed(), **embeddings(), **routines()}


def measurements() -> dict[str, MeasurementProcess]:
    """Measurements in all their forms, of wires and observables."""
    return {
        "expval": qml.expval(HAMILTONIAN),
        "variance": qml.var(qml.Z("a") @ qml.Hermitian(np.diag([1.0, 2.0, 3.0, 4.0]), ("b", 1))),
        "probs": qml.probs(wires=[0, 1]),
        "probs of an observable": qml.probs(op=qml.Z(0)),
        "samples": qml.sample(),
        "samples of wires": qml.sample(wires=[1, 0]),
        "samples of an observable": qml.sample(qml.X(0) @ qml.Y(1)),
        "small samples": qml.sample(dtype="int8"),
        "typed samples": qml.sample(wires=0, dtype=np.int8),
        "counts": qml.counts(),
        "all counts": qml.counts(wires=[0], all_outcomes=True),
        "counts of an observable": qml.counts(qml.Z(0)),
        "eigenvalues": qml.measurements.ExpectationMP(eigvals=np.array([1.0, -1.0]), wires=Wires([0])),
        "state": qml.state(),
        "density matrix": qml.density_matrix([0]),
        "purity": qml.purity([0]),
        "entropy": qml.vn_entropy([0], log_base=2),
        "mutual information": qml.mutual_info([0], [1], log_base=2),
        "shadow": qml.classical_shadow([0, 1]),
        "shadow with a seed": qml.classical_shadow([0, 1], seed=5),
        "expectation value of a shadow": qml.shadow_expval(HAMILTONIAN, k=2, seed=3),
        "nothing": NullMeasurement(),
        "projector": qml.expval(qml.Projector([0, 1], wires=[0, 1])),
        "sparse": qml.expval(qml.SparseHamiltonian(sparse.csr_matrix(np.diag([1.0, 2.0])), wires=[0])),
        "sum": qml.expval(PAULIS + qml.Y("x")),
    }


def dynamic() -> QuantumScript:
    """A circuit with measurements in the middle, their postselection, and what depends on them."""
    with qml.queuing.AnnotatedQueue() as queue:
        first, second = qml.measure(0, reset=True), qml.measure("b", postselect=1)
        third = qml.pauli_measure("XY", wires=[0, 1])
        qml.cond(second, qml.RX)(0.3, 2)
        qml.cond(third, qml.adjoint(qml.Rot))(0.1, 0.2, 0.3, wires=[1])
        qml.expval(first)
        qml.probs(op=[second, first])
        qml.counts([first, second], all_outcomes=True)
        qml.sample(second)
    return QuantumScript.from_queue(queue, shots=10)

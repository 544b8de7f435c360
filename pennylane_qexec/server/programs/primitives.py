"""IBM's primitives on executors and clusters of ours: the PUBs of a sampler, and those of an estimator.

Only qubits to which something happens are simulated, whatever the number that a circuit for a machine has. Importing
this imports Qiskit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.mid_circuit import dynamic_part
from pennylane_qexec.circuits.qiskit.native import measures
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Result
from pennylane_qexec.server.programs.clusters import ClusterJob, is_ideal

SHOTS = 4096
"""Of a sampler's PUB without any."""

PRECISION = 0.015625
"""Of an estimator's PUB without any."""

_VERSION = {"version": 2}
_IDLE = ("barrier", "delay", "id")


def sampled(job: ClusterJob, pubs: Iterable[SamplerPub]) -> PrimitiveResult:
    """The result of a sampler.

    Args:
        job: the job.
        pubs: its PUBs, all of which have shots.

    Raises:
        QExecError: a circuit cannot be run here, or was not.
    """
    with job.cluster() as cluster:
        if exact := [one.name for one in cluster.executors if one.shots is None]:
            raise ConfigurationError(
                f"{exact[0]!r} computes without shots, so that there is nothing to be sampled: take an estimator."
            )
        asked = [_Sampled(pub, is_ideal(cluster)) for pub in pubs]
        results = iter(job.run(cluster, [circuit for one in asked for circuit in one.circuits]))
        rng = np.random.default_rng(job.seed)
        return PrimitiveResult([one.result(list(islice(results, len(one.circuits))), rng) for one in asked], _VERSION)


def estimated(job: ClusterJob, pubs: Iterable[EstimatorPub]) -> PrimitiveResult:
    """The result of an estimator.

    The standard errors are those of Qiskit's ``BackendEstimatorV2``: the sum over the Pauli words of an observable of
    ``abs(coefficient) * sqrt(1 - value**2) / sqrt(shots)``. With a precision of 0, and from executors that compute
    without shots, they are 0.

    Args:
        job: the job.
        pubs: its PUBs, all of which have a precision.

    Raises:
        QExecError: a circuit cannot be run here, or was not.
    """
    with job.cluster() as cluster:
        own = {one.shots for one in cluster.executors}
        shots = own.pop() if len(own) == 1 else 0
        asked = [_Estimated(pub, is_ideal(cluster), shots) for pub in pubs]
        results = iter(job.run(cluster, [circuit for one in asked for circuit in one.circuits]))
        return PrimitiveResult([one.result(islice(results, len(one.circuits))) for one in asked], _VERSION)


class _Sampled:
    """A PUB of a sampler.

    Attributes:
        circuits: what is run for it, one after the other for each set of parameters.
    """

    def __init__(self, pub: SamplerPub, ideal: bool) -> None:
        self._pub = pub
        circuit, self.circuits = pub.circuit, list[QuantumScript]()
        self._places: Sequence[int | None] = [None] * circuit.num_clbits
        reduced = _with_active_qubits(circuit, _active(circuit, ideal), measured=True)
        for program in _programs(reduced, pub) if measures(reduced) else ():
            assert program.bits is not None
            self._places = [place for register in program.bits.registers for place in register]
            self.circuits.append(QuantumScript(program.circuit.operations, program.circuit.measurements, pub.shots))

    def result(self, counts: Sequence[Mapping[str, int]], rng: np.random.Generator) -> SamplerPubResult:
        """What the primitive returns.

        Args:
            counts: of the circuits.
            rng: puts shots in their order, which says nothing about what was measured.
        """
        shape, shots = self._pub.shape, self._pub.shots
        rows = [_shots_of(one, rng) for one in counts]
        if numbers := {len(row) for row in rows}:
            if len(numbers) > 1:
                raise ConfigurationError(f"circuits of one PUB came back with {sorted(numbers)} shots.")
            (shots,) = numbers
        samples = np.array(rows, dtype=bool).reshape(*shape, shots, -1) if rows else np.empty((*shape, shots, 0), bool)
        data = {}
        for register in self._pub.circuit.cregs:
            bits = np.zeros((*shape, shots, len(register)), bool)
            for number, bit in enumerate(register):
                place = self._places[self._pub.circuit.find_bit(bit).index]
                if place is not None:
                    bits[..., number] = samples[..., place]
            data[register.name] = _packed(bits)
        metadata = {"shots": shots, "circuit_metadata": self._pub.circuit.metadata}
        return SamplerPubResult(DataBin(**data, shape=shape), metadata)


def _shots_of(counts: Mapping[str, int], rng: np.random.Generator) -> np.ndarray:
    """The bits ``(shots, bits)`` of outcomes, in an order that chance has made."""
    outcomes = np.array([[bit == "1" for bit in str(outcome)] for outcome in counts], dtype=bool)
    shots = np.repeat(outcomes, [int(times) for times in counts.values()], axis=0)
    return rng.permutation(shots, axis=0)


def _packed(bits: np.ndarray) -> BitArray:
    """Bits ``(..., shots, bits)``, bit 0 first, as Qiskit has them."""
    if bits.shape[-1]:
        return BitArray.from_bool_array(bits, order="little")
    return BitArray(np.empty(bits.shape, np.uint8), 0)


@dataclass(frozen=True)
class _Words:
    """Circuits of an estimator's PUB that measure the same Pauli words.

    Attributes:
        rows: which of the PUB's parameters they have.
        words: the words, as Qiskit writes them, that are measured.
    """

    rows: tuple[int, ...]
    words: tuple[str, ...]


class _Estimated:
    """A PUB of an estimator.

    Args:
        pub: the PUB.
        ideal: whether qubits to which nothing happens are known to be 0.
        own: the executor's own shots; ``None`` if it computes without shots, 0 if it has none of its own.

    Attributes:
        circuits: what is run for it.
    """

    def __init__(self, pub: EstimatorPub, ideal: bool, own: int | None) -> None:
        self._pub = pub
        asked = math.ceil(1 / pub.precision**2) if pub.precision else None
        self._shots = own if own != 0 else asked
        numbers = np.arange(math.prod(pub.parameter_values.shape)).reshape(pub.parameter_values.shape)
        self._rows, observables = np.broadcast_arrays(numbers, np.asarray(pub.observables))
        self._observables: Any = observables
        self._active = _active(pub.circuit, ideal)
        self._groups = list(self._grouped(ideal))
        self._values: dict[tuple[int, str], float] = {}
        used = {*self._active, *(qubit for group in self._groups for word in group.words for qubit in _support(word))}
        wires = {qubit: wire for wire, qubit in enumerate(sorted(used))}
        reduced = _with_active_qubits(pub.circuit, used, measured=False)
        programs = _programs(reduced, pub) if self._groups and reduced.num_qubits else []
        self.circuits = []
        for group in self._groups:
            measurements = [qml.expval(_observable(word, wires)) for word in group.words]
            for row in group.rows:
                if dynamic_part(programs[row].circuit) is not None:
                    raise ConfigurationError(
                        f"circuit {pub.circuit.name!r} does what only samplers can measure: while-loops and stores."
                    )
                self.circuits.append(QuantumScript(programs[row].circuit.operations, measurements, shots=asked))

    def _grouped(self, ideal: bool) -> Iterator[_Words]:
        """The Pauli words that are measured, and for which parameters."""
        wanted: dict[int, set[str]] = {}
        for index in np.ndindex(self._rows.shape):
            own = wanted.setdefault(int(self._rows[index]), set())
            own.update(self._reduced(word, ideal) for word, _ in _words(self._observables[index]))
        self._ideal = ideal
        alike: dict[tuple[str, ...], list[int]] = {}
        for row, words in wanted.items():
            alike.setdefault(tuple(sorted(word for word in words if _support(word))), []).append(row)
        return (_Words(tuple(rows), words) for words, rows in alike.items() if words)

    def _reduced(self, word: str, ideal: bool) -> str:
        """A word without what is known: the Z of a qubit to which nothing happens, of a simulator without noise."""
        if not ideal:
            return word
        last = len(word) - 1
        letters = (
            "I" if letter == "Z" and last - place not in self._active else letter for place, letter in enumerate(word)
        )
        return "".join(letters)

    def result(self, results: Iterator[Result]) -> PubResult:
        """What the primitive returns, of the results of the circuits."""
        for group in self._groups:
            for row in group.rows:
                values = next(results)
                several = values if len(group.words) > 1 else (values,)
                for word, value in zip(group.words, several, strict=True):
                    self._values[row, word] = float(value)
        evs, stds = np.zeros(self._rows.shape), np.zeros(self._rows.shape)
        for index in np.ndindex(self._rows.shape):
            for word, coefficient in _words(self._observables[index]):
                reduced = self._reduced(word, self._ideal)
                value = self._values[int(self._rows[index]), reduced] if _support(reduced) else 1.0
                evs[index] += coefficient * value
                stds[index] += abs(coefficient) * math.sqrt(max(0.0, 1 - value**2))
        stds = stds / math.sqrt(self._shots) if self._shots else np.zeros_like(stds)
        metadata = {
            "target_precision": self._pub.precision,
            "shots": self._shots,
            "circuit_metadata": self._pub.circuit.metadata,
        }
        return PubResult(DataBin(evs=evs, stds=stds, shape=evs.shape), metadata)


# Observables

_PROJECTORS = {"0": ("Z", 1), "1": ("Z", -1), "+": ("X", 1), "-": ("X", -1), "r": ("Y", 1), "l": ("Y", -1)}
_PAULIS = {"X": qml.X, "Y": qml.Y, "Z": qml.Z}
_MOST_PROJECTORS = 12


def _words(observable: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """The Pauli words of an observable, as Qiskit writes them, with their coefficients."""
    for word, coefficient in observable.items():
        projected = [letter for letter in word if letter in _PROJECTORS]
        if len(projected) > _MOST_PROJECTORS:
            raise ConfigurationError(
                f"the observable {word!r} projects {len(projected)} qubits: at most {_MOST_PROJECTORS} are possible."
            )
        choices = [
            (("I", 0.5), (_PROJECTORS[letter][0], 0.5 * _PROJECTORS[letter][1]))
            if letter in _PROJECTORS
            else ((letter, 1.0),)
            for letter in word
        ]
        for chosen in product(*choices):
            yield "".join(letter for letter, _ in chosen), coefficient * math.prod(part for _, part in chosen)


def _support(word: str) -> list[int]:
    """The qubits on which a word is no identity; the last letter is that of qubit 0."""
    return [qubit for qubit, letter in enumerate(reversed(word)) if letter != "I"]


def _observable(word: str, wires: Mapping[int, int]) -> Any:
    factors = [_PAULIS[word[-1 - qubit]](wires[qubit]) for qubit in _support(word)]
    return factors[0] if len(factors) == 1 else qml.prod(*factors)


# Circuits


def _programs(circuit: QuantumCircuit, pub: SamplerPub | EstimatorPub) -> list[frameworks.Program]:
    """What a PUB's circuit says with each set of its parameters."""
    values = pub.parameter_values
    if not pub.circuit.num_parameters:
        return [frameworks.read(circuit)] * math.prod(values.shape)
    parameters = tuple(pub.circuit.parameters)
    numbers = values.as_array([one.name for one in parameters]).reshape(-1, len(parameters))
    return frameworks.CircuitTable(circuit, parameters, numbers).programs() if len(numbers) else []


def _active(circuit: QuantumCircuit, ideal: bool) -> set[int]:
    """The qubits to which something happens. Where there is noise, they include those that are only measured."""
    idle = (*_IDLE, "measure") if ideal else _IDLE
    return {
        circuit.find_bit(qubit).index
        for item in circuit.data
        if item.name not in idle or (item.name == "measure" and _is_overwritten(circuit, item))
        for qubit in item.qubits
    }


def _is_overwritten(circuit: QuantumCircuit, measurement: Any) -> bool:
    """Whether something else writes the bit of a measurement, so that it matters that it is 0 then."""
    (bit,) = measurement.clbits
    return sum(bit in item.clbits for item in circuit.data) > 1


def _with_active_qubits(circuit: QuantumCircuit, qubits: set[int], measured: bool) -> QuantumCircuit:
    """The circuit on some of its qubits, in their order, with all its bits.

    Args:
        circuit: the circuit.
        qubits: those on which it stays.
        measured: whether measurements at its end are what counts. Otherwise, they are in the middle of what counts.
    """
    chosen = [circuit.qubits[index] for index in sorted(qubits)]
    kept = set(chosen)
    reduced = QuantumCircuit(chosen, circuit.clbits, *circuit.cregs, name=circuit.name)
    reduced.global_phase = circuit.global_phase
    for item in circuit.data:
        own = [qubit for qubit in item.qubits if qubit in kept]
        if item.name == "barrier":
            if own:
                reduced.barrier(own)
        elif len(own) == len(item.qubits):
            reduced.append(item.operation, item.qubits, item.clbits, copy=False)
    if not measured:
        for qubit in {qubit for item in reduced.data if item.clbits or item.name == "reset" for qubit in item.qubits}:
            reduced.rz(0.0, qubit)  # a measurement before something else is not put off
    return reduced

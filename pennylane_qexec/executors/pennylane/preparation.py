"""Prepares circuits for a PennyLane device by the device's own program, once for each structure.

Circuits that the program leaves as they are need not go through it again. Executors count here what they will run for a
circuit that is not prepared yet.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig, LegacyDeviceFacade
from pennylane.devices.preprocess import validate_device_wires
from pennylane.exceptions import DeviceError
from pennylane.measurements import ClassicalShadowMP, ExpectationMP, MutualInfoMP, ShadowExpvalMP, VnEntropyMP
from pennylane.operation import Operator
from pennylane.ops import SProd
from pennylane.ops.op_math import CompositeOp
from pennylane.ops.qubit.observables import BasisStateProjector
from pennylane.shadows import ClassicalShadow
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import Runs, counted, together
from pennylane_qexec.circuits.mid_circuit import measured_in
from pennylane_qexec.circuits.parameters import unwrapped
from pennylane_qexec.circuits.sampling import SHADOWS, pool
from pennylane_qexec.circuits.structure import (
    BARE,
    CONTROLLED,
    forget_batch,
    is_broadcasted,
    rows_of,
    structure_of,
    wires_in_order,
)
from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.concurrency.differentiation import are_recorded
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.pennylane import adjoint, legacy, mid_circuit
from pennylane_qexec.executors.pennylane.devices import BuiltDevices, GivenDevice
from pennylane_qexec.executors.shots import reshot_sweep
from pennylane_qexec.job import Bound, Call, Postprocessing, Result, Sweep, Usage, only, postprocessed

# Circuits that stay as they are

_SIMULATORS = ("default.mixed", "default.qubit", "lightning.qubit")
"""Simulators whose programs decide by kinds of operations, wires, measurements and shots, never by parameters."""

_KEPT = 4
_KEPT_PROGRAMS = 16


class UnchangedCircuits:
    """Remembers what a program left as it was.

    Only circuits of plain gates are remembered: with them, nothing but the structure can make a difference.

    Args:
        differentiated: whether the program prepares circuits that are differentiated, whose numbers are recorded. Of
            these, circuits are remembered whose gates have one number at most: a program that takes gates apart by what
            they can be differentiated by leaves them, whichever numbers are trainable.
    """

    def __init__(self, differentiated: bool = False) -> None:
        self._differentiated = differentiated
        self._structures: deque[Hashable] = deque(maxlen=_KEPT)
        self._tries = _KEPT

    def _structure(self, circuit: QuantumScript) -> Hashable:
        if self._differentiated and max((one.num_params for one in circuit.operations), default=0) > 1:
            return None
        return structure_of(circuit, any_numbers=self._differentiated)

    def covers(self, circuit: QuantumScript) -> bool:
        """Whether the program would leave a circuit as it is."""
        covered = bool(self._structures) and self._structure(circuit) in self._structures
        self._tries += covered
        return covered

    def note(self, circuit: QuantumScript, circuits: Sequence[QuantumScript], postprocess: Postprocessing) -> None:
        """Remember what the program made of a circuit; not if that never helped before."""
        if self._tries <= 0 or len(circuits) != 1 or circuits[0] is not circuit:
            return
        structure = self._structure(circuit)
        if structure is None:
            return
        self._tries -= 1
        if _hands_on(postprocess):
            self._structures.append(structure)


def _hands_on(postprocess: Callable[[Any], Any]) -> bool:
    """Whether what a program makes of the result of one circuit is that result."""
    result = object()
    try:
        return postprocess((result,))[0] is result
    except Exception:  # it looks into the result
        return False


_here = threading.local()
"""What was remembered in this thread, with the program that it is of, by the program's id; the oldest first."""


def goes_by_structure(source: GivenDevice | BuiltDevices) -> bool:
    """Whether what devices say of circuits, and their programs, are known to look at nothing but structure."""
    return isinstance(source, BuiltDevices) and source.name in _SIMULATORS


def unchanged_by(program: Any, source: GivenDevice | BuiltDevices, config: ExecutionConfig) -> UnchangedCircuits | None:
    """What this thread knows of a program; ``None`` if such programs are not known well enough.

    Args:
        program: the program of a device.
        source: where the device comes from.
        config: the configuration that the program is for.
    """
    by_adjoint = config.gradient_method == "adjoint"
    if not goes_by_structure(source) or not (config.gradient_method is None or by_adjoint) or qml.capture.enabled():
        return None
    known: dict[int, tuple[Any, UnchangedCircuits]] = vars(_here).setdefault("known", {})
    of, unchanged = known.get(id(program), (None, None))
    if unchanged is None or of is not program:
        unchanged = UnchangedCircuits(by_adjoint)
        known[id(program)] = (program, unchanged)
        while len(known) > _KEPT_PROGRAMS:
            del known[next(iter(known))]
    return unchanged


_ROTATED = {qml.X, qml.Y, qml.Z, qml.Hadamard, qml.Identity, BasisStateProjector}
"""Factors of observables that PennyLane's ``diagonalize_measurements`` rotates, or that are diagonal."""


_ENTROPIES = (VnEntropyMP, MutualInfoMP)


class _Program(threading.local):
    """The device that the current thread has used last with a binder, its program, and what that leaves as it is."""

    device: Any = None
    program: Any = None
    unchanged: UnchangedCircuits | None = None


class DeviceBinder:
    """Prepares circuits by the program that a device has for one configuration.

    Args:
        source: where the device comes from.
        config: the configuration.
        by_tree: the configuration for circuits that tree traversal suits; ``None`` for none.
    """

    def __init__(
        self, source: GivenDevice | BuiltDevices, config: ExecutionConfig, by_tree: ExecutionConfig | None = None
    ) -> None:
        self._source = source
        self._config = config
        self._by_tree = None if by_tree is None else DeviceBinder(source, by_tree)
        self._here = _Program()

    def __call__(self, circuit: QuantumScript) -> Bound:
        if self._by_tree is not None and mid_circuit.suits(circuit):
            return self._by_tree(circuit)
        if mid_circuit.is_by_tree(self._config):
            mid_circuit.refuse(circuit)
            circuit = mid_circuit.with_integers(self._source.name, circuit)
        device, here = self._source.device(circuit), self._here
        bound = self._in_parts(circuit, device)
        if bound is not None:
            return bound
        circuit = self._adapted(circuit, device)
        with self._source.exclusive():
            if here.device is not device:
                program = self._source.program(device, self._config)
                here.program = adjoint.corrected(program, device, self._config)
                here.device = device
                here.unchanged = unchanged_by(here.program, self._source, self._config)
            if here.unchanged is not None and here.unchanged.covers(circuit):
                return Bound((circuit,), self._config, only)
            given = [legacy.with_whole_state(device, one) for one in self._source.with_wires(circuit)]
            circuits, postprocess = here.program(given)
        if len(circuits) > 1:
            forget_batch(circuits)
        for one in circuits:
            legacy.check(device, one)
        if here.unchanged is not None:
            here.unchanged.note(circuit, circuits, postprocess)
            known = here.unchanged.covers(circuit) or self._config.gradient_method is None
            if known and len(circuits) == 1 and circuits[0] is circuit and _hands_on(postprocess):
                return Bound((circuit,), self._config, only)
        return Bound(tuple(circuits), self._config, lambda results: postprocess(results)[0])

    def _in_parts(self, circuit: QuantumScript, device: Device) -> Bound | None:
        """The circuit as several that the device can take, each prepared; ``None`` if it can take it in one."""
        if mid_circuit.is_by_tree(self._config) and (groups := mid_circuit.groups_of_tree(circuit)) is not None:
            return self._apart(circuit, groups)
        # PennyLane reads shot vectors of devices of the older interface wrongly: several measurements where two
        # neighbours are equal, and single shots.
        no_vector = self._source.traits.no_shot_vectors or isinstance(device, LegacyDeviceFacade)
        if circuit.shots.has_partitioned_shots and no_vector:
            if not self._source.traits.no_shot_vectors and legacy.samples_bits(device, circuit):
                return self._in_bins(validate_device_wires(circuit, device.wires or wires_in_order(circuit))[0][0])
            return self._joined([circuit.copy(shots=shots) for shots in circuit.shots], tuple)
        if isinstance(device, LegacyDeviceFacade):
            if self._config.mcm_config.mcm_method == "deferred" and measured_in(circuit):  # wires come in their place
                (given,) = self._source.with_wires(circuit)
                return self._joined(*qml.defer_measurements(given, allow_postselect=False))
            groups = legacy.together(device, circuit)
            if len(groups) > 1:
                return self._apart(circuit, groups)
        elif any(isinstance(one, SHADOWS) for one in circuit.measurements):
            # A simulator that replaces the names of wires by numbers forgets those of the observables of expectation
            # values from shadows: it raises a KeyError, or takes another wire.
            renamed = any(set(wires) != set(range(len(wires))) for wires in (circuit.wires, device.wires or ()))
            if is_broadcasted(circuit) and (renamed or device.name == "default.mixed"):  # which cannot broadcast them
                return self._joined(*rows_of(circuit))
            if renamed and any(isinstance(one, ShadowExpvalMP) for one in circuit.measurements):
                return self._by_shadows(circuit)
        if self._config.gradient_method == "adjoint" and is_broadcasted(circuit):
            return self._joined(*rows_of(circuit))  # the program would do so twice
        return None

    def _adapted(self, circuit: QuantumScript, device: Device) -> QuantumScript:
        """The circuit with what the device can take in place of what its program leaves as it is."""
        if self._source.traits.rotates_letters_only:
            _refuse_other_bases(device, circuit)
            circuit = circuit if are_recorded(circuit) else unwrapped(circuit)  # it knows no numbers but NumPy's
        loses = mid_circuit.is_by_tree(self._config) and mid_circuit.loses_preparation(device, circuit)
        if loses or (circuit.shots and self._source.traits.prepares_exactly_only):
            circuit = legacy.with_preparation_decomposed(circuit)
        return circuit

    def _in_bins(self, circuit: QuantumScript) -> Bound:
        """The circuit with all its shots at once, sampled, and each number of them evaluated by itself."""
        samples = pool(circuit.copy(shots=circuit.shots.total_shots))
        edges = np.cumsum([0, *circuit.shots])

        def join(results: Sequence[Result]) -> Result:
            sampled = [np.asarray(result) for result in results]
            return tuple([samples.evaluate([[row[start:stop]] for row in sampled]) for start, stop in pairwise(edges)])

        return self._joined(samples.circuits, join)

    def _apart(self, circuit: QuantumScript, groups: Sequence[Sequence[int]]) -> Bound:
        """The circuit, once for each group of measurements that the device can take in one run."""
        if self._source.wires is None:  # what is measured of all wires is so of those that only other groups have
            circuit = validate_device_wires(circuit, wires_in_order(circuit))[0][0]

        def join(results: Sequence[Result]) -> Result:
            by_index: dict[int, Result] = {}
            for group, result in zip(groups, results, strict=True):
                by_index.update(zip(group, (result,) if len(group) == 1 else result, strict=True))
            return tuple([by_index[index] for index in sorted(by_index)]) if len(by_index) > 1 else by_index[0]

        parts = [circuit.copy(measurements=[circuit.measurements[index] for index in group]) for group in groups]
        return self._joined(parts, join)

    def _by_shadows(self, circuit: QuantumScript) -> Bound:
        """The circuit with the shadows of which it wants expectation values, which are computed here."""
        wanted = circuit.measurements
        shadows = [
            ClassicalShadowMP(wires=one.wires, seed=one.seed) if isinstance(one, ShadowExpvalMP) else one
            for one in wanted
        ]

        def estimate(result: Result) -> Result:
            values = [
                ClassicalShadow(*value, wire_map=one.wires.tolist()).expval(one.H, one.k)
                if isinstance(one, ShadowExpvalMP)
                else value
                for one, value in zip(wanted, (result,) if len(wanted) == 1 else result, strict=True)
            ]
            return values[0] if len(values) == 1 else tuple(values)

        def join(results: Sequence[Result]) -> Result:
            (result,) = results
            return tuple(map(estimate, result)) if circuit.shots.has_partitioned_shots else estimate(result)

        return self._joined([circuit.copy(measurements=shadows)], join)

    def _joined(self, circuits: Sequence[QuantumScript], join: Postprocessing) -> Bound:
        """Several circuits prepared, whose results become one."""
        parts = [self(circuit) for circuit in circuits]
        prepared = tuple(one for part in parts for one in part.circuits)
        return Bound(prepared, self._config, lambda results: join(postprocessed(parts, results)))


def _refuse_other_bases(device: Device, circuit: QuantumScript) -> None:
    """Refuse what a device would read off without rotating to its basis, and identities, of which it knows the mean.

    Raises:
        DeviceError: there is such a measurement.
    """
    for measurement in circuit.measurements:
        observable = measurement.obs
        if isinstance(measurement, _ENTROPIES):
            raise DeviceError(f"{device.name} computes entropies wrongly, and {measurement} is one")
        if observable is None:
            continue
        kinds = {*map(type, _factors(observable))}
        if not kinds <= _ROTATED or (kinds == {qml.Identity} and not isinstance(measurement, ExpectationMP)):
            raise DeviceError(
                f"{device.name} measures products and sums of Paulis and Hadamards, and not {measurement}"
            )


def _factors(observable: Operator) -> Iterator[Operator]:
    operands = observable.operands if isinstance(observable, CompositeOp) else ()
    if isinstance(observable, SProd):
        operands = (observable.base,)
    if not operands:
        yield observable
    for operand in operands:
        yield from _factors(operand)


# Counting before preparing

_PLAIN = BARE | CONTROLLED
_KEPT_COUNTS = 512
_AS_ASKED = Call()


class PreparingExecutor(Executor):
    """An executor whose own preparation may make several circuits of one: it counts what is really run.

    Circuits are prepared to be counted, once for each structure. Subclasses give :meth:`_runs` if their backend does
    not run a circuit for each basis.
    """

    _one_to_one = True
    """Whether a circuit of plain gates stays one circuit, whatever observables it measures."""

    @cached_property
    def _counts(self) -> OnceCache[Sequence[Runs]]:
        return OnceCache(_KEPT_COUNTS)

    def _runs(self, circuit: QuantumScript) -> Runs:
        """What is run for a prepared circuit."""
        return counted(circuit)

    def usage(self, circuit: QuantumScript) -> Usage:
        """What is counted for a circuit: one of the backend for each group of measurements that are made together."""
        return self.usage_of(circuit, _AS_ASKED)

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        """The same for a circuit of a call."""
        return self.billed(self._runs(circuit) if call.bound else together(self._runs_of_parts(circuit, call)))

    def prepared_sweep(self, sweep: Sweep, call: Call) -> Sweep | None:
        """The sweep as it is run here, with its shots; ``None`` if its circuits have to be changed for the backend.

        Args:
            sweep: at least one row.
            call: what is asked of the circuits, which need nothing more if it is bound.
        """
        if call.bound:
            return sweep
        sweep = reshot_sweep(sweep, self)
        prepared = self.binder(call.config, sweep.template)(sweep.template).circuits
        return sweep if len(prepared) == 1 and prepared[0] is sweep.template else None

    def most_shots(self, circuit: QuantumScript) -> int:
        """The shots of the largest of the circuits that are made of one."""
        return max([shots for _, shots in self._runs_of_parts(circuit, _AS_ASKED)], default=0)

    def _runs_of_parts(self, circuit: QuantumScript, call: Call) -> Sequence[Runs]:
        """What is run for a circuit that is not prepared yet, for each of the circuits that are made of it."""
        circuit = self.with_shots(circuit)
        if self._one_to_one and _stays_one(circuit):
            return (self._runs(circuit),)
        key = fuse([circuit])[0].template.key
        outcomes = call.config.mcm_config
        asked = None if key is None else (key, outcomes.mcm_method, outcomes.postselect_mode)
        return self._counts.get(asked, lambda: self._runs_once_prepared(circuit, call.config))

    def _runs_once_prepared(self, circuit: QuantumScript, config: ExecutionConfig) -> Sequence[Runs]:
        try:
            parts = self.binder(config, circuit)(circuit).circuits
        except Exception:  # whatever it is, it will be raised again where the circuit runs
            return (self._runs(circuit),)
        return list(map(self._runs, parts))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "_counts"}


def _stays_one(circuit: QuantumScript) -> bool:
    """Whether preparing a circuit makes no more circuits of it, as far as its gates and shots decide on it."""
    return (
        _PLAIN.issuperset(map(type, circuit.operations))
        and not is_broadcasted(circuit)
        and not circuit.shots.has_partitioned_shots
        and not any(isinstance(measurement, SHADOWS) for measurement in circuit.measurements)
    )

"""Any PennyLane device as an executor.

A circuit with a number draws from the random stream of its number.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import Any

from pennylane.devices import Device, ExecutionConfig, LegacyDeviceFacade
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import Runs, simulated
from pennylane_qexec.circuits.results import check_kept, check_work
from pennylane_qexec.circuits.sampling import SHADOWS
from pennylane_qexec.circuits.structure import broadcasted_over, wires_in
from pennylane_qexec.circuits.templates import SweepCircuits
from pennylane_qexec.concurrency.resources import free_memory
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import IDEAL, Binder
from pennylane_qexec.executors.identity import identity_of, is_ours
from pennylane_qexec.executors.options import ExecutorOptions, lists_options, pop_executor_options
from pennylane_qexec.executors.pennylane import adjoint, broadcasting, legacy, mid_circuit
from pennylane_qexec.executors.pennylane.devices import BuiltDevices, GivenDevice, with_wires_of
from pennylane_qexec.executors.pennylane.preparation import DeviceBinder, PreparingExecutor, goes_by_structure
from pennylane_qexec.executors.pennylane.seeds import Numbering, StreamOffsets, goes_to_places, of_parts, place_of
from pennylane_qexec.executors.shots import all_reshot, objection_to_shots, reshot_sweep
from pennylane_qexec.executors.validation import in_words, objection_to_wires
from pennylane_qexec.job import DERIVATIVES, Bound, Call, Result, Sweep, Work, for_device, only, postprocessed
from pennylane_qexec.redaction import veiled


def execute(
    device: Device,
    circuits: Sequence[QuantumScript],
    config: ExecutionConfig,
    numbers: Sequence[int],
    numbering: Numbering,
    source: BuiltDevices | GivenDevice,
) -> list[Result]:
    """Run circuits that have numbers.

    A device that draws from a generator of NumPy goes to the circuits' places in a stream, and afterwards on in its
    own. Simulators of other libraries get a seed for each circuit. Any other device is built anew for each circuit.

    Args:
        device: the device.
        circuits: circuits that went through the device's own program.
        config: the configuration of that program.
        numbers: of the circuits.
        numbering: the streams that they have.
        source: where the device comes from.

    Returns:
        For each circuit what the device returns for it.
    """
    generator = vars(device).get("_rng")
    if goes_to_places(generator):
        bits: Any = generator.bit_generator
        # The device draws afterwards as if it had not drawn in between.
        with legacy.replaced(device, "_rng", generator), legacy.replaced(bits, "state", bits.state):
            places = StreamOffsets(numbering.stream(generator), [place_of(number) for number in numbers])
            return broadcasting.execute(device, circuits, config, places=places)
    results: list[Result] = []
    for circuit, number in zip(circuits, numbers, strict=True):
        with legacy.drawing_by(device, numbering.seed(number)) as known:
            used = device if known else source.with_seed(circuit, numbering.small_seed(number))
            results += mid_circuit.execute(used, (circuit,), config)
    return results


_STATE_VECTORS = ("default.qubit", "lightning.qubit")
_WHOLE = ("default.mixed", *_STATE_VECTORS)
"""Devices whose programs leave a circuit whole, whatever observables it measures."""

_WIDE = 26  # wires, whose state takes a gibibyte

_ROWS = 1024
"""The most circuits of a sweep that there are at once."""


class DeviceExecutor(PreparingExecutor):
    """Runs circuits on a PennyLane device, which prepares each circuit itself.

    A device given by name is built once in every thread and worker process that uses it. A device given as an object
    is shared, and used by one thread at a time.

    Circuits of one structure run as one broadcasted circuit on ``default.qubit`` and ``default.mixed``, for sizes for
    which that has turned out to be faster. The results are the same, shot by shot, as if they ran one by one.

    In a durable run, circuits draw by the seed and their numbers if the device was built here, with a ``seed`` (or
    Qiskit's ``seed_simulator``) that is a number. Of a device given as an object, that needs a generator of NumPy that
    shows its seed, as in ``default.qubit`` and ``lightning.qubit``; others draw as they do without numbers.

    Args:
        device: a name that ``qml.device`` takes, or a device.
        wires: the device's wires, a number or labels; ``None`` for whatever wires a circuit has.
        name, workers, parallel, max_circuits, max_shots, batch_window, cost: see :class:`Executor`; the name's
            default is the device's.
        device_options: passed on to ``qml.device``. ``max_workers``, for which PennyLane's devices open a pool of
            processes in every call, is taken for ``workers`` warm processes.

    Raises:
        ConfigurationError: there is no such device, it does not take these options, or they do not go together.
    """

    @veiled
    @lists_options(ExecutorOptions)
    def __init__(self, device: str | Device, *, wires: Any = None, **device_options: Any) -> None:
        if "shots" in device_options:
            raise ConfigurationError(
                f"shots={device_options['shots']!r}: PennyLane's devices run circuits with the circuits' shots. Give "
                f"them to the QNode with qml.set_shots, or use Simulator(device, shots=...), which has its own."
            )
        options = pop_executor_options(device_options)
        workers, parallel = options.get("workers"), options.get("parallel", "auto")
        source: BuiltDevices | GivenDevice
        if isinstance(device, str):
            pool = device_options.pop("max_workers", None)
            if pool is not None:
                options["workers"], options["parallel"] = workers or pool, "process" if parallel == "auto" else parallel
            source = BuiltDevices(device, wires, device_options)
        else:
            source = GivenDevice(device, device_options)
        options["name"] = options.get("name") or source.name
        super().__init__(**options)
        if isinstance(source, GivenDevice) and (parallel not in ("auto", "thread") or (workers or 1) > 1):
            raise ConfigurationError(
                f"the device {source.name!r} was given as an object, which one thread at a time can use. Give its "
                f"name and options instead, as {{'type': {source.name!r}, 'workers': ...}}, to run it in parallel."
            )
        self._source = source
        self.wires = source.wires
        self._one_to_one = source.name in _WHOLE

    @cached_property
    def backend(self) -> str:
        """The name of the device."""
        return self._source.name

    @cached_property
    def local(self) -> bool:
        """Whether the device is a simulator that computes in this process."""
        return self._source.traits.simulator

    @cached_property
    def shareable(self) -> bool:
        """Whether worker processes can have devices of their own."""
        return isinstance(self._source, BuiltDevices)

    @cached_property
    def by_structure(self) -> bool:
        """Whether the device is one of PennyLane's simulators, which is known to go by structure."""
        return is_ours(self) and goes_by_structure(self._source)

    @property
    def takes_sweeps(self) -> bool:
        """Whether it goes by structure: programs of other devices may look at numbers."""
        return self.by_structure

    @property
    def mixed(self) -> bool:
        """Whether the device's states are density matrices."""
        return self._source.traits.mixed

    @property
    def identity(self) -> str | None:
        """The device's name, wires, options and version; ``None`` if it was given as an object."""
        source = self._source
        if not isinstance(source, BuiltDevices):
            return None
        return identity_of(self, "device", source.packages, source.name, self.wires, source.options)

    @property
    def equivalence(self) -> Hashable:
        """That of simulators without noise, or the device's name and options but for the seed."""
        source = self._source
        if not is_ours(self):
            return type(self), self.identity or id(self)
        if source.traits.ideal:
            return IDEAL
        if not isinstance(source, BuiltDevices):
            return id(source)
        options = {name: value for name, value in source.options.items() if name not in ("seed", "seed_simulator")}
        return identity_of(self, "device", (), source.name, options) or id(source)

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether it is a simulator, and the circuit has no shots or the simulator a seed."""
        return self.local and (not circuit.shots or self._source.seeded)

    def _runs(self, circuit: QuantumScript) -> Runs:
        """What is run for a prepared circuit. A device of the older interface measures all of it together."""
        runs = simulated(circuit)
        several = runs[0] > 1 and not any(isinstance(mp, SHADOWS) for mp in circuit.measurements)
        if several and isinstance(self.device(circuit), LegacyDeviceFacade):
            return 1, circuit.shots.total_shots or 0
        return runs

    @property
    def has_seed(self) -> bool:
        """Whether the device is built here with a seed; of one given as an object, nobody can tell."""
        source = self._source
        return isinstance(source, BuiltDevices) and not source.seed_is_seen and bool(self.streams)

    @property
    def streams(self) -> frozenset[Hashable]:
        """The device's seed; of a device given as an object, as far as its generator shows it."""
        return self._source.streams

    def note_seed_of_another(self) -> None:
        """Its seed was not given to it, but seen in another device, which may have drawn it itself."""
        if isinstance(self._source, BuiltDevices) and self.streams:
            self._source.seed_is_seen = True

    def reseed(self, seed: int) -> None:
        """Draw by this seed, if the device takes one; an object draws so here only, and is left as it is."""
        self._source.reseed(seed)

    def device(self, circuit: QuantumScript | None = None) -> Device:
        """The device that the current thread uses, for this circuit."""
        return self._source.device(circuit)

    def effort(self, circuits: Sequence[QuantumScript]) -> float:
        """Numbers to compute: the size of the state for each operation, and every bit of every shot."""
        exponent = 2 if self._source.traits.mixed else 1
        effort = 0.0
        for circuit in circuits:
            wires = len(wires_in(circuit) if self.wires is None else self.wires)
            size = 2.0 ** (exponent * wires)
            effort += size * len(circuit.operations) * (broadcasted_over(circuit) or 1)
            effort += wires * (circuit.shots.total_shots or 0)
        return effort

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the device cannot run this circuit, as far as can be told without preparing it."""
        objection = objection_to_shots(self, circuit)
        if objection is not None:
            return objection
        if self.with_shots(circuit).shots.total_shots is None and self._source.traits.needs_shots:
            return "needs a number of shots, and the circuit has none"
        return objection_to_wires(self.wires, circuit) or self._too_large(circuit)

    def _too_large(self, circuit: QuantumScript) -> str | None:
        """Why a state vector does not fit into memory; asked only of circuits that might not."""
        wires = len(wires_in(circuit))
        if wires < _WIDE or self.backend not in _STATE_VECTORS:
            return None
        needed, free = 2.0 ** (wires + 4), free_memory()
        return None if needed <= free else f"needs {in_words(needed)} of memory, and {in_words(free)} are free"

    def supports(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether the device differentiates this circuit by the configuration's method."""
        device = self.device(circuit)
        with self._source.exclusive():
            try:
                return bool(device.supports_derivatives(for_device(config), circuit))
            except Exception:  # devices try it out, and some kinds of operations raise whatever they like then
                return False

    def best_derivative(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        """What the device makes of ``diff_method="best"``; ``None`` for parameter shifts."""
        best = replace(config, gradient_method="best", device_options={})
        if not self.supports(best, circuit):
            return None
        device = self.device(circuit)
        with self._source.exclusive():
            method = device.setup_execution_config(for_device(best), circuit).gradient_method
        return method if method in DERIVATIVES else None

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What prepares circuits by the device's own program."""
        device = self.device(circuit)
        with self._source.exclusive():
            asked = for_device(config)
            resolved = device.setup_execution_config(asked, circuit)
            tree = mid_circuit.by_tree(self._source.name, asked, circuit)
            by_tree = None if tree is None else device.setup_execution_config(tree, circuit)
        return DeviceBinder(self._source, resolved, by_tree)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Prepare circuits, run them, and return their results."""
        return self.perform(Work(tuple(circuits)))

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch; circuits that are not bound are prepared first."""
        return self._perform_bound(work) if work.call.bound else self._prepare_and_perform(work)

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        """Prepare the circuits of a sweep, run them, and return their results."""
        return self.perform_sweeps(Work((sweep.template,), sweeps=(sweep,)))[0]

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        """Carry out sweeps, some rows at a time.

        Of rows that run as one broadcasted circuit, no circuits are made; what need not be prepared is not.
        """
        return work.by_sweep([result for part in work.chunks(_ROWS) for result in self._perform_rows(part)])

    def _perform_rows(self, work: Work) -> Sequence[Result]:
        sweep = reshot_sweep(work.sweeps[0], self)
        runs = work.call.method == "execute" and is_ours(self)  # what a user's class makes of circuits, it is given
        bound = self._left_alone(sweep, work.call) if runs else None
        if bound is None:
            return self.perform(work.expanded())
        call = replace(work.call, config=bound.config, bound=True)
        ready, device = Work((sweep.template,), call, (), work.numbers, (sweep,)), self._source.device(sweep.template)
        with self._source.exclusive():
            if broadcasting.broadcasts(device, bound.config):
                results = self._execute(device, SweepCircuits(sweep), bound.config, ready.row_numbers())
            else:
                with with_wires_of(device, sweep.template):
                    results = self._perform_bound(ready.expanded())
        return [bound.postprocess((result,)) for result in results]

    def _left_alone(self, sweep: Sweep, call: Call) -> Bound | None:
        """A sweep's template made ready, if that leaves it as it is, and with it the circuits of all rows."""
        template = sweep.template
        if call.bound:
            return Bound((template,), call.config, only)
        if sweep.key is None or not goes_by_structure(self._source):
            return None
        bound = self.binder(call.config, template)(template)
        return bound if len(bound.circuits) == 1 and bound.circuits[0] is template else None

    def _perform_bound(self, work: Work) -> list[Result]:
        groups: list[tuple[Device, bool, list[int]]] = []
        for index, circuit in enumerate(work.circuits):
            device = self._source.device(circuit)
            alone = isinstance(device, LegacyDeviceFacade) and legacy.takes_shadows(circuit)
            if groups and groups[-1][0] is device and not alone and not groups[-1][1]:
                groups[-1][2].append(index)
            else:
                groups.append((device, alone, [index]))
        takes_roots = self._source.traits.takes_roots and work.call.config.gradient_method == "backprop"
        results: list[Result] = []
        for device, _, indices in groups:
            with self._source.exclusive(), adjoint.without_roots() if takes_roots else nullcontext():
                results += self._call(device, work if len(groups) == 1 else work.part(indices))
        return results

    def _call(self, device: Device, work: Work) -> list[Result]:
        circuits, config = work.circuits, work.call.config
        if work.call.method == "execute":
            return self._execute(device, circuits, config, work.numbers)
        vectors = (work.vectors,) if work.vectors else ()
        results = getattr(device, work.call.method)(circuits, *vectors, execution_config=config)
        if work.call.method.startswith("execute_and"):
            return list(zip(*results, strict=True))
        return list(results)

    def _execute(
        self, device: Device, circuits: Sequence[QuantumScript], config: ExecutionConfig, numbers: Sequence[int]
    ) -> list[Result]:
        numbers, numbering = self._source.numbered(numbers, len(circuits))
        chosen = [circuits.sweep.template] if isinstance(circuits, SweepCircuits) else circuits
        if numbering is not None and numbers and any(circuit.shots for circuit in chosen):
            return execute(device, circuits, config, numbers, numbering, self._source)
        return broadcasting.execute(device, circuits, config)

    def _prepare_and_perform(self, work: Work) -> list[Result]:
        bounds = self._bound(work)
        if work.call.method != "execute":
            _check_one_to_one(work, bounds, self.name)
        results: list[Result] = []
        for _, group in groupby(range(len(bounds)), key=lambda index: id(bounds[index].config)):
            indices = list(group)
            part, chosen = work.part(indices), [bounds[index] for index in indices]
            circuits = tuple([one for bound in chosen for one in bound.circuits])
            call = Call(work.call.method, chosen[0].config, bound=True)
            numbers = of_parts(part.numbers, [len(bound.circuits) for bound in chosen])
            raw = self._perform_bound(Work(circuits, call, part.vectors, numbers)) if circuits else []
            results += raw if call.method != "execute" else postprocessed(chosen, raw)
        return results

    def _bound(self, work: Work) -> list[Bound]:
        """A batch prepared; circuits with shots, or with mid-circuit measurements, have binders of their own."""
        binders: dict[tuple[bool, bool], Binder] = {}
        bounds = []
        for circuit in map(self.with_shots, work.circuits):
            kind = (bool(circuit.shots), any(isinstance(operation, MidMeasure) for operation in circuit.operations))
            if kind not in binders:
                binders[kind] = self.binder(work.call.config, circuit)
            bounds.append(binders[kind](circuit))
        return bounds

    def check_results(self, work: Work, results: Sequence[Result]) -> None:
        """See that there are as many values as there should be; what they are is what PennyLane's user would get."""
        check_work(work, all_reshot(work.circuits, self), results, values=False)

    def check_kept(self, work: Work, results: Sequence[Result]) -> None:
        """See that kept results are such as a simulator can have returned."""
        check_kept(work, all_reshot(work.circuits, self), results)

    def become_replica(self, number: int) -> None:
        """Draw from a stream of random numbers of this replica's own."""
        self._source.become_replica(number)


def _check_one_to_one(work: Work, bounds: Sequence[Bound], name: str) -> None:
    for circuit, bound in zip(work.circuits, bounds, strict=True):
        if len(bound.circuits) != 1 or bound.circuits[0].num_params != circuit.num_params:
            raise ConfigurationError(
                f"the derivative of a circuit that was prepared for another executor cannot be computed on {name!r}, "
                "which would take it apart. Use diff_method='parameter-shift', or executors of one kind."
            )

"""Aer as an executor: circuits are compiled once for each structure, and run many at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.base import IDEAL, Binder
from pennylane_qexec.executors.identity import identity_of, is_ours
from pennylane_qexec.executors.options import ExecutorOptions, lists_options, pop_executor_options, wires_from
from pennylane_qexec.executors.pennylane.preparation import PreparingExecutor
from pennylane_qexec.executors.pennylane.seeds import of_parts
from pennylane_qexec.executors.shots import objection_to_shots
from pennylane_qexec.job import Result, Sweep, Work, postprocessed

if TYPE_CHECKING:
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    from pennylane_qexec.executors.aer.backend import AerBackend

_PACKAGES = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime")


class AerExecutor(PreparingExecutor):
    """Runs circuits on Qiskit's Aer simulator: without noise, or as a fake backend would.

    Circuits that differ in nothing but their parameters are converted and compiled once, and all circuits of a batch
    run together. Results without shots are exact. Without noise, the shots of up to 20 wires are drawn here, from the
    exact probabilities that Aer has computed. With a fake backend, circuits are fitted to its gates and coupled
    qubits and run with its noise, as IBM's local testing mode does it; expectation values, variances and probabilities
    without shots are what those with more and more shots tend to, errors of reading included, while states are those
    before they are read.

    Args:
        backend: the name of a fake backend, such as ``"fake_manila"``, or one of Qiskit's ``FakeBackendV2`` as an
            object, with a calibration of its own; ``None`` to simulate without noise.
        wires: the wires, a number or labels, in the order of the qubits; ``None`` for whatever wires a circuit has.
        seed: makes results repeatable: circuits are numbered as they come, and the number decides on the randomness,
            so that it does not matter in which batches they come. They stay in this process then, unless
            ``parallel="process"``, where each worker has a stream of its own. In a durable run, the numbers in the run
            decide, in all workers alike; with noise, circuits run together only if these follow one upon the other.
        method: Aer's method of simulation, such as ``"statevector"``, ``"matrix_product_state"`` or ``"stabilizer"``.
        optimization_level: of Qiskit's transpiler, 0 to 3, for fake backends.
        seed_transpiler: of the transpiler's choice of qubits, which decides on the noise.
        name, workers, parallel, max_circuits, max_shots, batch_window, cost: see :class:`Executor`; the name's default
            is ``"aer"``, with the backend's name behind it.
        options: options of ``qiskit_aer.AerSimulator``, such as ``device="GPU"`` or ``precision="single"``.

    Raises:
        ConfigurationError: there is no such backend, method or option.
    """

    @lists_options(ExecutorOptions)
    def __init__(
        self,
        backend: str | FakeBackendV2 | None = None,
        *,
        wires: Any = None,
        seed: int | None = None,
        method: str = "automatic",
        optimization_level: int = 1,
        seed_transpiler: int | None = 0,
        **options: Any,
    ) -> None:
        from pennylane_qexec.executors.aer.backend import AerBackend

        own = pop_executor_options(options)
        machine = None if not backend else backend if isinstance(backend, str) else str(backend.name)
        own["name"] = own.get("name") or (f"aer:{machine}" if machine else "aer")
        super().__init__(**own)
        self.wires = wires_from(wires)
        self._aer: AerBackend = AerBackend(
            backend,
            self.wires,
            seed,
            {"method": method, **options},
            (optimization_level, seed_transpiler),
        )
        self._machine = machine

    @cached_property
    def backend(self) -> str:
        """The name of the fake backend; ``"aer_simulator"`` without one."""
        return self._machine or ("aer_simulator_gpu" if self._aer.options.get("device") == "GPU" else "aer_simulator")

    @property
    def by_structure(self) -> bool:
        """Aer, and what prepares circuits for it, looks at nothing but structure."""
        return is_ours(self)

    @property
    def local(self) -> bool:
        """Circuits are simulated in this process."""
        return True

    @property
    def dynamic(self) -> bool:
        """Aer runs Qiskit's circuits as they are."""
        return True

    @property
    def shareable(self) -> bool:
        """Worker processes build the same simulator, unless it has a noise model or a seed."""
        return self._aer.options.get("noise_model") is None and not self.has_seed

    @property
    def identity(self) -> str | None:
        """The fake backend, wires, seed, method, options, noise model, and the versions of Aer and Qiskit."""
        arguments = self._aer.plain_arguments()
        return None if arguments is None else identity_of(self, "aer", _PACKAGES, arguments)

    @property
    def equivalence(self) -> Hashable:
        """That of simulators without noise, or what :attr:`identity` has, but for the seed and the wires."""
        if not is_ours(self):
            return type(self), self.identity or id(self)
        if self._aer.ideal:
            return IDEAL
        arguments = self._aer.plain_arguments()
        if arguments is None:
            return id(self)
        backend, _, _, *rest = arguments
        return identity_of(self, "aer", (), backend, rest) or id(self)

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether the circuit has no shots, and Aer's method no chance in it; or there is a seed."""
        return self.has_seed or (not circuit.shots and self._aer.exact)

    @property
    def streams(self) -> frozenset[Hashable]:
        """The seed, and those that Aer comes to from it in steps."""
        return self._aer.streams

    def reseed(self, seed: int) -> None:
        """Draw by this seed."""
        self._aer.reseed(seed)

    def effort(self, circuits: Sequence[QuantumScript]) -> float:
        """How much computing a batch is, in amplitude updates."""
        return sum(map(self._aer.effort, circuits))

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why Aer cannot run this circuit, as far as can be told without preparing it."""
        return objection_to_shots(self, circuit) or self._aer.rejects(circuit)

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What takes circuits apart into what Qiskit's circuits can say."""
        from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder

        return QiskitBinder(config, self.wires)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Prepare circuits, run them, and return their results."""
        return self.perform(Work(tuple(circuits)))

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch; circuits that are not bound are prepared first."""
        if work.call.method != "execute":
            return super().perform(work)
        if work.call.bound:
            return self._aer.results(work.circuits, work.numbers)
        circuits = [self.with_shots(circuit) for circuit in work.circuits]
        prepare = self.binder(work.call.config, circuits[0])
        bounds = list(map(prepare, circuits))
        numbers = of_parts(work.numbers, [len(bound.circuits) for bound in bounds])
        return postprocessed(bounds, self._aer.results([one for bound in bounds for one in bound.circuits], numbers))

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        """Run the rows of one compiled circuit, and return their results."""
        return self.perform_sweeps(Work((sweep.template,), sweeps=(sweep,)))[0]

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        """Carry out a batch of sweeps; the circuits of those that have to be prepared are run one by one."""
        if work.call.method != "execute":
            return super().perform_sweeps(work)
        results: list[Sequence[Result]] = []
        for index, sweep in enumerate(work.sweeps):
            ready = self.prepared_sweep(sweep, work.call)
            if ready is None:
                results.append(self.perform(work.part([index]).expanded()))
            else:
                results.append(self._aer.sweep_results(ready, work.numbers[index] if work.numbers else None))
        return results

    def become_replica(self, number: int) -> None:
        """Draw from a stream of random numbers of this replica's own."""
        self._aer.become_replica(number)

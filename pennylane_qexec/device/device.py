"""The PennyLane device ``qml.device("qexec.cluster")``: a cluster as a device of PennyLane's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import pennylane as qml
from pennylane.decomposition import enabled_graph
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import single_tape_support
from pennylane.devices.preprocess import validate_device_wires
from pennylane.gradients import param_shift_cv
from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline
from pennylane.typing import ResultBatch

from pennylane_qexec.cluster import QCluster
from pennylane_qexec.cluster.derivatives import BY_SHIFTS, JAX, Derivatives, Limit, check_trainable, made_ready
from pennylane_qexec.cluster.planning import CallPlanner, Expanded, Settings, run_together
from pennylane_qexec.cluster.validation import cluster_options_of
from pennylane_qexec.concurrency.differentiation import are_recorded, is_plain, levels
from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.device.calls import RUNS_LATER, interface_of_jax, of_kind, settings_of
from pennylane_qexec.device.program import DISPATCHER, check_one_batch_axis, dispatch, is_by_shifts, planned
from pennylane_qexec.device.shift_rules import ShiftRules
from pennylane_qexec.device.shift_sweeps import NOBODY, ShiftedCall, why_not_shifted
from pennylane_qexec.device.tracking import counts_itself, track, track_method, when_all_are_done
from pennylane_qexec.engine import History
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors import DeviceExecutor
from pennylane_qexec.job import Job, Outcome, Result, only
from pennylane_qexec.redaction import veiled

_CLUSTER_OPTIONS = frozenset(inspect.signature(QCluster).parameters) - {"executors", "wires"}
_DEFAULT_EXECUTOR = "lightning.qubit"
_KEPT_SETTINGS = 64


@counts_itself(unless=is_by_shifts)
@single_tape_support
class ClusterDevice(Closeable, Device):
    """Many simulators and QPUs as one PennyLane device.

    Args:
        wires: the wires, a number or labels; ``None`` for whatever wires a circuit has.
        shots: the default number of shots. PennyLane prefers ``qml.set_shots`` on the QNode.
        executors: specs of executors (see :func:`executor`), or their strings in one string with commas between
            them; default: one ``lightning.qubit``.
        cluster: a :class:`QCluster` shared with others, which stays open when the device is closed; or, as a string,
            the same as ``config`` (``qml.device`` keeps an argument called ``config`` for itself).
        config: path of a TOML file with a cluster's options, or the name of a cluster in the user's ``qexec.toml``.
        cluster_options: the options of :class:`QCluster`; they go before those of ``config``. With ``seed``, a program
            that runs again has the same results.

    Raises:
        ConfigurationError: more than one of ``executors``, ``cluster`` and ``config``, or a wrong option.
    """

    name = "qexec.cluster"

    @veiled
    def __init__(
        self,
        wires: Any = None,
        shots: Any = None,
        *,
        executors: Any = None,
        cluster: QCluster | str | None = None,
        config: str | None = None,
        **cluster_options: Any,
    ) -> None:
        self._origin: Device | None = None
        self.kept_settings: dict[Any, Any] = {}
        self._settings: dict[Any, tuple[ExecutionConfig, Settings]] = {}
        super().__init__(wires=wires, shots=shots)
        choices = {"executors": executors, "cluster": cluster, "config": config}
        given = [name for name, value in choices.items() if value is not None]
        if len(given) > 1:
            raise ConfigurationError(
                f"{' and '.join(given)} were given together: each says who runs. Give one of them."
            )
        if isinstance(cluster, str):
            cluster, config = None, cluster
        if cluster is not None and cluster_options:
            raise ConfigurationError(f"the cluster is built already: give {sorted(cluster_options)} when building it.")
        self._owns_cluster = cluster is None
        self.cluster = cluster or _new_cluster(wires, executors, config, cluster_options)
        self._derivatives = Derivatives(self.cluster.executors)
        self._shift_rules = ShiftRules()
        self._executors_know_wires = self.wires is None or all(
            executor.wires == self.wires for executor in self.cluster.executors
        )

    @property
    def history(self) -> History:
        """What ran, in one row for each job that ended."""
        return self.cluster.history

    def close(self) -> None:
        """Close the device's cluster, unless it was given to it."""
        if self._owns_cluster:
            self.cluster.close()

    # -- PennyLane's protocol

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """Decide how to differentiate, and attach what prepares the circuits of the call."""
        config = config or ExecutionConfig()
        if config.gradient_method is param_shift_cv:
            config = self._derivatives.of_modes(config, circuit)
        before: CallPlanner | None = config.device_options.get(DISPATCHER)
        if before is not None and config.use_device_gradient:  # PennyLane asks twice for methods of devices
            method: str | None = str(config.gradient_method)
            by_choice = not before.config.use_device_gradient
        else:
            method = self._derivatives.method(config, circuit)
            if method is None and self._is_shifted_here(config, circuit):
                method = BY_SHIFTS
            by_choice = config.gradient_method == "best"
            if circuit is not None and not is_plain(circuit):
                Limit.of(config, method).check(circuit)
        interface = config.interface
        if interface is Interface.JAX and circuit is not None and method != "backprop":
            interface = interface_of_jax(circuit)
        key = (of_kind(config), interface, method, by_choice, enabled_graph(), qml.capture.enabled())
        found = None if config.gradient_keyword_arguments else self._settings.get(key)
        if found is None:
            found = settings_of(config, interface, method, by_choice, self.wires)
            if not config.gradient_keyword_arguments:
                if len(self._settings) >= _KEPT_SETTINGS:
                    self._settings.clear()
                self._settings[key] = found
        told, settings = found
        later = RUNS_LATER in config.device_options
        dispatcher = CallPlanner(self.cluster, settings, later)
        return replace(told, device_options={DISPATCHER: dispatcher, **({RUNS_LATER: True} if later else {})})

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> CompilePipeline:
        """One transform: select or split, then the chosen executors' own programs."""
        program = CompilePipeline()
        is_settled = execution_config is not None and DISPATCHER in execution_config.device_options
        dispatcher = self._dispatcher(execution_config)
        program.add_transform(dispatch, device=self, dispatcher=dispatcher, is_settled=is_settled)
        return program

    def execute(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> ResultBatch:
        """Run prepared circuits. Circuits that did not go through the device's program go through it now."""
        if not circuits:
            return ()
        dispatcher = self._dispatcher(execution_config)
        prepared = True
        for circuit in circuits:
            if not dispatcher.settings.ends_records and not is_plain(circuit) and are_recorded(circuit):
                return self._execute_recorded(circuits, dispatcher.config)
            prepared = prepared and dispatcher.prepared(circuit)
        if not prepared:
            return self._execute_raw(circuits, dispatcher)
        if dispatcher.config.use_device_gradient and dispatcher.config.interface is Interface.JAX_JIT:
            for circuit in circuits:
                check_one_batch_axis(circuit)
            return self._execute_expanded(circuits, [dispatcher.rows(circuit) for circuit in circuits], dispatcher)
        outcomes = self.cluster.run(dispatcher.jobs(circuits))
        results = tuple(map(attrgetter("result"), outcomes))
        if self.tracker.active:
            track(self.tracker, circuits, results, [[outcome] for outcome in outcomes])
        return results

    def submit(
        self,
        circuits: Sequence[QuantumScript],
        execution_config: ExecutionConfig,
        method: str = "execute",
        asked: Callable[[], bool] | None = None,
    ) -> Sequence[Future[Outcome]]:
        """Start prepared circuits, and return at once.

        Args:
            circuits: circuits that went through the device's program.
            execution_config: the configuration whose program that was.
            method: the method of devices that is to run them: ``"execute"`` or ``"execute_and_compute_derivatives"``.
            asked: says whether somebody waits for the results.

        Returns:
            A future for each circuit; the result of its outcome is what the method returns for that circuit alone.
        """
        futures = self.cluster.submit(self.jobs(circuits, execution_config, method), asked)
        if self.tracker.active:
            when_all_are_done(futures, partial(track_method, self.tracker, method, circuits))
        return futures

    def jobs(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig, method: str = "execute"
    ) -> list[Job]:
        """What :meth:`submit` starts."""
        return self._dispatcher(execution_config).jobs(circuits, method)

    def shifted(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None, values: bool
    ) -> ShiftedCall:
        """The derivatives of prepared circuits by parameter shifts, ready to be run.

        Args:
            circuits: circuits that went through the device's program, with NumPy's numbers.
            execution_config: the configuration whose program that was.
            values: whether the results of the circuits are wanted too.
        """
        return ShiftedCall(self._shift_rules, self._dispatcher(execution_config), circuits, values)

    def planned(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig
    ) -> tuple[list[QuantumScript], Callable[[Sequence[Result]], list[Result]]]:
        """What the executors run for circuits that nobody differentiates, and what makes their results of that.

        Args:
            circuits: circuits that went through the device's program.
            execution_config: the configuration whose program that was.
        """
        dispatcher = self._dispatcher(execution_config)
        return run_together([planned(circuit, self, dispatcher) for circuit in circuits])

    def stand_in_for(self, device: Device) -> None:
        """Take the place of another device from now on: what runs here counts in that device's tracker too."""
        executors = self.cluster.executors
        if not any(isinstance(one, DeviceExecutor) and one.device() is device for one in executors):
            self._origin = device

    @property
    def tracker(self) -> qml.Tracker:
        """What counts executions: the device's own, or that of the device for which this one stands in."""
        if self._origin is not None and self._origin.tracker.active:
            return self._origin.tracker
        return self._tracker

    @tracker.setter
    def tracker(self, tracker: qml.Tracker) -> None:
        self._tracker = tracker

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether every executor differentiates such circuits itself, or they are differentiated here, by sweeps."""
        config = execution_config or ExecutionConfig(gradient_method="best")
        return self._derivatives.method(config, circuit) is not None or self._is_shifted_here(config, circuit)

    def supports_vjp(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether every executor computes vector-Jacobian products."""
        config = execution_config or ExecutionConfig(gradient_method="best")
        return self._derivatives.offers_products(config, circuit)

    def compute_derivatives(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Jacobians of prepared circuits, computed by the executors or of their results."""
        if is_by_shifts(execution_config):
            return tuple(self.shifted(circuits, execution_config, values=False).run(self))
        return self._call("compute_derivatives", circuits, execution_config)

    def execute_and_compute_derivatives(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Results and Jacobians of prepared circuits."""
        if is_by_shifts(execution_config):
            return _transposed(self.shifted(circuits, execution_config, values=True).run(self))
        return _transposed(self._call("execute_and_compute_derivatives", circuits, execution_config))

    def compute_vjp(
        self, circuits: Sequence[QuantumScript], cotangents: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Vector-Jacobian products of prepared circuits."""
        return self._call("compute_vjp", circuits, execution_config, cotangents)

    def execute_and_compute_vjp(
        self, circuits: Sequence[QuantumScript], cotangents: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Results and vector-Jacobian products of prepared circuits."""
        return _transposed(self._call("execute_and_compute_vjp", circuits, execution_config, cotangents))

    # -- PennyLane's debugger, for snapshots, where every executor's device has one (breakpoints go by a device's name)

    @property
    def _debugger(self) -> Any:
        debugged = self._debugged_devices()
        if len(debugged) < len(self.cluster.executors):
            raise AttributeError("not every executor's device can be debugged")
        return debugged[0]._debugger

    @_debugger.setter
    def _debugger(self, debugger: Any) -> None:
        for device in self._debugged_devices():
            device._debugger = debugger

    def _debugged_devices(self) -> list[Any]:
        devices: list[Any] = [e.device() for e in self.cluster.executors if isinstance(e, DeviceExecutor) and e.local]
        return [device for device in devices if getattr(device, "_debugger", self) is not self]

    # -- in the house

    def _is_shifted_here(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether circuits like this one are differentiated by the device, by sweeps."""
        if circuit is None:
            return False
        reason = why_not_shifted(config, circuit)
        if reason and reason is not NOBODY and config.gradient_method in ("best", BY_SHIFTS):
            self._shift_rules.log_refusal(circuit, reason)
        return not reason

    def on_wires(self, tape: QuantumScript) -> QuantumScript:
        """A circuit that measures the wires of the device, where it measures all, and the executors may mean others.

        Raises:
            WireError: it has wires that the device has not.
        """
        if self.wires and (not self._executors_know_wires or self.cluster.splits):
            (tape,), _ = validate_device_wires(tape, wires=self.wires, name=self.name)
        return tape

    def __getstate__(self) -> dict[str, Any]:
        anew = {
            "_tracker": qml.Tracker(),
            "_origin": None,
            "_derivatives": None,
            "_shift_rules": None,
            "kept_settings": {},
            "_settings": {},
        }
        return {**vars(self), **anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._derivatives = Derivatives(self.cluster.executors)
        self._shift_rules = ShiftRules()

    def _dispatcher(self, config: ExecutionConfig | None) -> CallPlanner:
        if config is None or DISPATCHER not in config.device_options:
            config = self.setup_execution_config(config)
        dispatcher: CallPlanner = config.device_options[DISPATCHER]
        return dispatcher

    def _execute_recorded(self, circuits: Sequence[QuantumScript], config: ExecutionConfig) -> ResultBatch:
        """Run circuits with numbers by which somebody differentiates, so that the results can be differentiated."""
        results: ResultBatch = qml.execute(
            circuits,
            self,
            diff_method="best",
            max_diff=max(config.derivative_order, *map(levels, circuits)),
            mcm_method=config.mcm_config.mcm_method,
            postselect_mode=config.mcm_config.postselect_mode,
        )
        return results

    def _execute_raw(self, circuits: Sequence[QuantumScript], dispatcher: CallPlanner) -> ResultBatch:
        prepared = list(map(dispatcher.prepared, circuits))
        expanded = [
            ((circuit,), only) if ready else planned(circuit, self, dispatcher)
            for circuit, ready in zip(circuits, prepared, strict=True)
        ]
        return self._execute_expanded(circuits, expanded, dispatcher)

    def _execute_expanded(
        self, circuits: Sequence[QuantumScript], expanded: Sequence[Expanded], dispatcher: CallPlanner
    ) -> ResultBatch:
        jobs = dispatcher.jobs([one for batch, _ in expanded for one in batch])
        remaining = iter(self.cluster.run(jobs))
        outcomes = [[next(remaining) for _ in batch] for batch, _ in expanded]
        results = tuple(
            postprocess([outcome.result for outcome in own])
            for own, (_, postprocess) in zip(outcomes, expanded, strict=True)
        )
        if self.tracker.active:
            track(self.tracker, circuits, results, outcomes)
        return results

    def _call(
        self,
        method: str,
        circuits: Sequence[QuantumScript],
        config: ExecutionConfig | None,
        vectors: Sequence[Any] | None = None,
    ) -> Any:
        dispatcher = self._differentiating(config, circuits)
        if dispatcher.config.interface in JAX:  # it says for which parameters a derivative is wanted, and no others
            for circuit in circuits:
                check_trainable(circuit)
        prepare = partial(dispatch.tape_transform, device=self, dispatcher=dispatcher)
        prepared = list(map(dispatcher.prepared, circuits))
        ready = [one if known else made_ready(one, prepare) for one, known in zip(circuits, prepared, strict=True)]
        given = vectors if vectors is not None else [None] * len(circuits)
        jobs = [dispatcher.job(circuit, method, vector) for circuit, vector in zip(ready, given, strict=True)]
        return tuple(outcome.result for outcome in self.cluster.run(jobs))

    def _differentiating(self, config: ExecutionConfig | None, circuits: Sequence[QuantumScript]) -> CallPlanner:
        """What prepares circuits for the method by which the executors differentiate them."""
        config = config or ExecutionConfig(gradient_method="adjoint")
        if DISPATCHER in config.device_options:
            dispatcher = self._dispatcher(config)
            if dispatcher.config.use_device_gradient and dispatcher.config.gradient_method != "backprop":
                return dispatcher
        config = self._derivatives.differentiating(config, circuits)
        return self._dispatcher(self.setup_execution_config(config, circuits[0] if circuits else None))


def _new_cluster(wires: Any, executors: Any, config: str | None, options: dict[str, Any]) -> QCluster:
    if config is not None:
        options = {**cluster_options_of(config), **options}
        executors = options.pop("executors", None)
    for option in options:
        if option not in _CLUSTER_OPTIONS:
            hint = "Options of an executor go with it, as in executors=[{'type': 'lightning.qubit', 'workers': 2}]."
            raise ConfigurationError(unknown("option of a cluster", option, _CLUSTER_OPTIONS, hint))
    return QCluster(_DEFAULT_EXECUTOR if executors is None else executors, wires=wires, **options)


def _transposed(pairs: Sequence[tuple[Any, Any]]) -> Any:
    return tuple(zip(*pairs, strict=True)) if pairs else ((), ())

"""A call of a QNode in two halves: until its circuits can be sent, and from their results on.

Between the halves nobody has to wait, and no thread is needed. The first half does what ``qml.execute`` does before it
executes; the second lets PennyLane's own ``run`` finish, with the results in place of the device. So a result can be
differentiated as that of a plain call, in the thread that asks for it. What PennyLane is told of calls with a
configuration is here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import pennylane as qml
from pennylane.devices import ExecutionConfig, MCMConfig
from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters
from pennylane.workflow import _resolve_execution_config, _resolve_interface, _setup_transform_program, run
from pennylane.workflow.qnode import _convert_to_interface, _to_qfunc_output_type

from pennylane_qexec.circuits import parameters
from pennylane_qexec.circuits.parameters import INTERFACES, unwrapped
from pennylane_qexec.cluster.derivatives import BY_SHIFTS, Limit
from pennylane_qexec.cluster.planning import Settings
from pennylane_qexec.concurrency import differentiation
from pennylane_qexec.device.gradients import for_batches
from pennylane_qexec.device.tracking import track_method, track_sweeps, when_all_are_done
from pennylane_qexec.job import Job, Outcome, Result, without_derivatives

Postprocess = Callable[[Sequence[Any]], Any]

RUNS_LATER = "qexec.later"
"""The device option of calls for which nobody waits when they are prepared."""


class PendingCalls(MutableMapping[Any, Any]):
    """A user's cache for one call, while other calls that use it may be under way.

    PennyLane notes a circuit in its cache when it begins, and takes for granted that the result is there when it meets
    the circuit again. Here only this call sees its notes; the others see results.

    Args:
        cache: where results are kept.
    """

    _lock = threading.Lock()

    def __init__(self, cache: MutableMapping[Any, Any]) -> None:
        self._cache = cache
        self._noted: set[Any] = set()
        self._found: dict[Any, Any] = {}

    def __contains__(self, key: object) -> bool:
        if key in self._noted:
            return True
        with self._lock:
            value = self._cache.get(key)
        if value is not None:
            self._found[key] = value  # the cache may have let go of it when the call ends
        return value is not None

    def __getitem__(self, key: Any) -> Any:
        if key in self._found:
            return self._found[key]
        with self._lock:
            return self._cache[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is None:
            self._noted.add(key)
            return
        self._found[key] = value
        with self._lock:
            self._cache[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._cache[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cache)

    def __len__(self) -> int:
        return len(self._cache)


_NO_CACHE = ("auto", None, False)
_JAX = (Interface.JAX, Interface.JAX_JIT)


class PreparedCall:
    """One call of a QNode, up to the circuits that have to be run.

    Args:
        qnode: a QNode of this call's own: it keeps what the call records. Its device prepares the circuits.
        args, kwargs: what it is called with.

    Attributes:
        circuits: the circuits to run, prepared by the device.
        config: the execution configuration to run them with.
        method: the device's method that is to run them, if that is not by parameter shifts.
        sendable: whether they can be run elsewhere. If not, the QNode has to be called instead.
        movable: whether the QNode can then be called in another thread.
        plain: whether nothing of the user's, and nothing that can be differentiated, makes the result of the circuits'
            results.
    """

    def __init__(self, qnode: qml.QNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tape = qnode.construct(args, kwargs)
        pipeline = qnode.compile_pipeline
        pipeline.set_classical_component(qnode, args, kwargs)
        tapes, self._user_postprocess = pipeline((tape,))
        self._output_like = qnode._qfunc_output
        self._in_bins = tape.shots.has_partitioned_shots
        self._interface = qnode.interface
        self._convert = self._interface != "auto" and not pipeline.is_informative
        self._convert = self._convert and not tape.get_parameters(trainable_only=False)
        self._boundary: Callable[[Sequence[Result]], Any] = lambda _: tapes
        self.circuits: tuple[QuantumScript, ...] = ()
        self.config = ExecutionConfig()
        self.method = "execute"
        self._shifted: Any = None
        self.movable = False
        self.plain = False
        self.sendable = not any(map(parameters.belong_to_this_thread, tapes))
        if self.sendable and tapes and not pipeline.is_informative:
            self._prepare(qnode, tapes)

    def finish(self, results: Sequence[Result]) -> Any:
        """What the QNode returns, made of the results of the circuits."""
        value = self._user_postprocess(self._boundary(results))[0]
        if self._convert:
            value = _convert_to_interface(value, Interface(self._interface))
        return _to_qfunc_output_type(value, self._output_like, self._in_bins)

    def _prepare(self, qnode: Any, tapes: Sequence[QuantumScript]) -> None:
        numbers = qnode.interface == "auto" and all(map(differentiation.is_plain, tapes))
        interface = Interface.NUMPY if numbers else _resolve_interface(qnode.interface, tapes)
        self.config, outer, inner = _setting(qnode, interface, tapes)
        config = self.config
        without_boundary = config.interface == Interface.NUMPY or config.gradient_method == "backprop"
        if without_boundary and any(map(differentiation.are_recorded, tapes)):
            # What differentiates records what the simulator computes; JAX records in its own thread only.
            self.sendable, self.movable = False, not any(map(parameters.has_jax, tapes))
            return
        tapes, outer_postprocess = outer(tapes)
        if without_boundary:
            circuits, inner_postprocess = inner(tapes)
            self._boundary = lambda results: outer_postprocess(inner_postprocess(results))
            self.plain = not qnode.compile_pipeline and not qnode.cluster.splits
        else:
            circuits = self._prepare_boundary(qnode.device, tapes, inner, outer_postprocess)
        self.circuits = tuple([parameters.with_values_of_now(circuit) for circuit in circuits])

    def _prepare_boundary(
        self, device: Any, tapes: Sequence[QuantumScript], inner: Any, outer_postprocess: Postprocess
    ) -> Sequence[QuantumScript]:
        """The circuits of a call that can be differentiated: its results lead back to the parameters."""
        _set_trainable(tapes)
        if self.config.gradient_method == BY_SHIFTS:
            return self._prepare_shifts(device, tapes, inner, outer_postprocess)
        if _differentiates_on_execution(self.config, tapes):
            self.method = "execute_and_compute_derivatives"
            circuits: Sequence[QuantumScript] = convert_to_numpy_parameters(tapes)[0]

            def ran(results: Sequence[Result]) -> Any:
                return run(tapes, _AnsweredDevice(device, tuple(zip(*results, strict=True))), self.config, inner)
        else:
            # The inner program expects what comes from inside of the boundary: numbers that nobody records.
            circuits, inner_postprocess = inner([unwrapped(tape) for tape in tapes])

            def ran(results: Sequence[Result]) -> Any:
                return run(tapes, device, self.config, _AnsweredProgram(inner, tuple(inner_postprocess(results))))

        self._boundary = lambda results: outer_postprocess(ran(results))
        return circuits

    def _prepare_shifts(
        self, device: Any, tapes: Sequence[QuantumScript], inner: Any, outer_postprocess: Postprocess
    ) -> Sequence[QuantumScript]:
        """The circuits of a call that the device differentiates by parameter shifts."""
        plain = [parameters.with_values_of_now(unwrapped(tape)) for tape in tapes]
        if _differentiates_on_execution(self.config, tapes):
            shifted = self._shifted = device.shifted(plain, self.config, values=True)

            def ran(results: Sequence[Result]) -> Any:
                answered = _AnsweredDevice(device, tuple(zip(*shifted.results(results), strict=True)))
                return run(tapes, answered, self.config, inner)

            circuits: Sequence[QuantumScript] = plain
        else:
            circuits, postprocess = device.planned(plain, self.config)
            config = replace(self.config, grad_on_execution=False)

            def ran(results: Sequence[Result]) -> Any:
                return run(tapes, device, config, _AnsweredProgram(inner, tuple(postprocess(results))))

        self._boundary = lambda results: outer_postprocess(ran(results))
        return circuits

    def jobs(self, device: Any) -> list[Job]:
        """What has to be run."""
        if self._shifted is not None:
            return self._shifted.jobs  # type: ignore[no-any-return]
        return device.jobs(self.circuits, self.config, self.method)  # type: ignore[no-any-return]

    def submit(self, device: Any, asked: Callable[[], bool]) -> Sequence[Future[Outcome]]:
        """Start what has to be run, and return at once; see :meth:`QCluster.submit`."""
        futures: Sequence[Future[Outcome]] = device.cluster.submit(self.jobs(device), asked)
        if device.tracker.active:
            when_all_are_done(futures, partial(self.count, device.tracker))
        return futures

    def count(self, tracker: qml.Tracker, outcomes: Sequence[Outcome]) -> None:
        """Count what has run, as if somebody had waited for it.

        Args:
            tracker: where to count.
            outcomes: of the jobs.
        """
        if self._shifted is not None:
            track_sweeps(tracker, self._shifted.jobs, outcomes)
        else:
            track_method(tracker, self.method, self.circuits, outcomes)


class _AnsweredProgram:
    """The device's program, but the first circuits that come have been run already."""

    def __init__(self, program: Any, results: tuple[Result, ...]) -> None:
        self._program = program
        self._results: tuple[Result, ...] | None = results

    def __call__(self, tapes: Sequence[QuantumScript]) -> tuple[Sequence[QuantumScript], Postprocess]:
        if self._results is None:
            return self._program(tapes)  # type: ignore[no-any-return]
        known, self._results = self._results, None
        rest = tapes[len(known) :]
        circuits, postprocess = self._program(rest) if rest else ((), tuple)
        return circuits, lambda results: (*known, *postprocess(results))


class _AnsweredDevice:
    """The device, but the first results and Jacobians that it is asked for are there already."""

    def __init__(self, device: Any, results_and_jacobians: tuple[Any, ...]) -> None:
        self._device = device
        self._answer: tuple[Any, ...] | None = results_and_jacobians

    def execute_and_compute_derivatives(self, circuits: Any, execution_config: ExecutionConfig) -> Any:
        if self._answer is None:
            return self._device.execute_and_compute_derivatives(circuits, execution_config)
        answer, self._answer = self._answer, None
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


class _Setting(NamedTuple):
    """How a call is to be run: its configuration, and the programs outside and inside of the interface's boundary."""

    config: ExecutionConfig
    outer: Any
    inner: Any


def _setting(qnode: qml.QNode, interface: Interface, tapes: Sequence[QuantumScript]) -> _Setting:
    """The setting of a call. Where nothing can be differentiated, calls that are alike in what matters share one."""
    options = qnode.execute_kwargs
    config = _configuration(qnode, interface)
    usual = options["cache"] in _NO_CACHE and not options["device_vjp"]
    usual = usual and (qnode.interface == "auto" or not any(map(parameters.has_jax, tapes)))
    if interface != Interface.NUMPY or config.gradient_method not in ("best", None) or not usual:
        return _new_setting(qnode, config, tapes, options["cache"])
    kept: dict[Any, _Setting] = qnode.device.kept_settings
    shots = any(tape.shots for tape in tapes)
    key = (shots, config.mcm_config, config.executor_backend, qml.decomposition.enabled_graph())
    if key not in kept:
        config = replace(config, gradient_method=None, derivative_order=1, gradient_keyword_arguments={})
        kept[key] = _new_setting(qnode, config, tapes, None)
    return kept[key]


def _new_setting(qnode: qml.QNode, config: ExecutionConfig, tapes: Sequence[QuantumScript], cache: Any) -> _Setting:
    config = _resolve_execution_config(config, qnode.device, tapes)
    return _Setting(config, *_setup_transform_program(qnode.device, config, cache, qnode.execute_kwargs["cachesize"]))


def _configuration(qnode: qml.QNode, interface: Interface) -> ExecutionConfig:
    options = qnode.execute_kwargs
    on_execution = options["grad_on_execution"]
    return ExecutionConfig(
        interface=interface,
        gradient_method=qnode.diff_method,
        grad_on_execution=None if on_execution == "best" else on_execution,
        use_device_jacobian_product=options["device_vjp"],
        mcm_config=MCMConfig(postselect_mode=options["postselect_mode"], mcm_method=options["mcm_method"]),
        gradient_keyword_arguments=qnode.gradient_kwargs or {},
        derivative_order=options["max_diff"],
        executor_backend=options["executor_backend"],
        device_options={RUNS_LATER: True},
    )


def _differentiates_on_execution(config: ExecutionConfig, tapes: Sequence[QuantumScript]) -> bool:
    """Whether the first thing that PennyLane asks the device for is results and Jacobians together."""
    if not config.use_device_gradient or config.use_device_jacobian_product:
        return False
    if config.interface in _JAX:
        return any(tape.trainable_params for tape in tapes)
    return bool(config.grad_on_execution)


def _set_trainable(tapes: Sequence[QuantumScript]) -> None:
    for tape in tapes:
        tape.trainable_params = qml.math.get_trainable_indices(tape.get_parameters(trainable_only=False))


of_kind = attrgetter(
    *("interface", "gradient_method", "grad_on_execution", "mcm_config", "derivative_order"),
    *("use_device_jacobian_product", "executor_backend"),
)
"""What calls of one kind have in common in their configurations."""


def settings_of(
    config: ExecutionConfig, interface: Any, method: str | None, by_choice: bool, wires: Any
) -> tuple[ExecutionConfig, Settings]:
    """What PennyLane is told of calls with a configuration, and what the executors are asked for.

    Args:
        config: the configuration.
        interface: the interface of the calls.
        method: the method by which the executors differentiate; ``None`` if they do not.
        by_choice: whether nobody has asked for that method.
        wires: of the device.
    """
    backprop = method == "backprop"
    products = bool(config.use_device_jacobian_product) and method is not None and not backprop
    grad_on_execution = config.grad_on_execution
    if method is not None and grad_on_execution is None:
        grad_on_execution = not backprop and not products
    unwraps = callable(config.gradient_method) and config.interface in INTERFACES
    told = replace(
        config,
        interface=interface,
        gradient_method=method or for_batches(config.gradient_method, config.interface, config.derivative_order, wires),
        use_device_gradient=method is not None,
        use_device_jacobian_product=products,
        grad_on_execution=grad_on_execution,
        convert_to_numpy=not (backprop or unwraps),
        device_options={},
    )
    plain = config.interface == Interface.NUMPY and (backprop or (method is not None and by_choice))
    asked = without_derivatives(told) if plain else told
    batches_are_calls = config.interface in (Interface.NUMPY, Interface.JAX_JIT)
    if method == BY_SHIFTS:
        limit = Limit(1, by_device=True, interface=Interface(config.interface))
        options = told.gradient_keyword_arguments
        return told, Settings(without_derivatives(told), limit, False, batches_are_calls, True, options)
    limit = Limit.of(asked, str(asked.gradient_method) if asked.use_device_gradient else None)
    return told, Settings(asked, limit, unwraps, batches_are_calls)


def interface_of_jax(circuit: QuantumScript) -> Interface:
    """The interface of a call: ``jax.vmap`` without ``jax.jit`` has to leave JAX by a callback too, as ``jax.jit``."""
    traced = any(map(qml.math.is_abstract, circuit.get_parameters(trainable_only=False)))
    return Interface.JAX_JIT if traced else Interface.JAX

"""A call of a QNode in two halves: until its circuits can be sent, and from their results on.

Between the halves nobody has to wait, and no thread is needed. The first half does what ``qml.execute`` does before it
executes; the second lets PennyLane's own ``run`` finish, with the results in place of the device. So a result can be
differentiated as that of a plain call, in the thread that asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pennylane as qml
from autograd.numpy.numpy_boxes import ArrayBox
from pennylane.devices import ExecutionConfig, MCMConfig
from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters
from pennylane.workflow import _resolve_execution_config, _resolve_interface, _setup_transform_program, run
from pennylane.workflow.qnode import _convert_to_interface, _to_qfunc_output_type

from pennylane_qexec.job import Result

_NO_CACHE = ("auto", None, False)
_JAX = (Interface.JAX, Interface.JAX_JIT)

Postprocess = Callable[[Sequence[Any]], Any]


class StagedCall:
    """One call of a QNode, up to the circuits that have to be run.

    Args:
        qnode: a QNode of this call's own: it keeps what the call records. Its device prepares the circuits.
        args, kwargs: what it is called with.

    Attributes:
        circuits: the circuits to run, prepared by the device.
        config: the execution configuration to run them with.
        method: the device's method that is to run them.
        sendable: whether they can be run elsewhere. If not, the QNode has to be called instead.
        movable: whether the QNode can then be called in another thread.
    """

    def __init__(self, qnode: qml.QNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._qnode = qnode
        self._tape = qnode.construct(args, kwargs)
        pipeline = qnode.compile_pipeline
        pipeline.set_classical_component(qnode, args, kwargs)
        self._tapes, self._user_postprocess = pipeline((self._tape,))
        self.circuits: tuple[QuantumScript, ...] = ()
        self.method = "execute"
        self.movable = False
        self.sendable = not any(_is_abstract(tape) for tape in self._tapes)
        self._informative = pipeline.is_informative
        if self.sendable and self._tapes and not self._informative:
            self._prepare(_resolve_interface(qnode.interface, self._tapes))

    def _prepare(self, interface: Interface) -> None:
        self.config, outer, self._inner = _setting(self._qnode, interface, self._tapes)
        config = self.config
        self._without_boundary = config.interface == Interface.NUMPY
        if config.gradient_method == "backprop" and any(map(_is_recorded, self._tapes)):
            # What differentiates records what the simulator computes; JAX records in its own thread only.
            self.sendable, self.movable = False, config.interface not in _JAX
            return
        self._without_boundary |= config.gradient_method == "backprop"
        self._tapes, self._outer_postprocess = outer(self._tapes)
        if not self._without_boundary:
            _set_trainable(self._tapes)
        if self._differentiates_on_execution(config):
            self.method = "execute_and_compute_derivatives"
            self.circuits = tuple(convert_to_numpy_parameters(self._tapes)[0])
        else:
            circuits, self._inner_postprocess = self._inner(self._tapes)
            self.circuits = tuple(circuits)

    def _differentiates_on_execution(self, config: ExecutionConfig) -> bool:
        """Whether the first thing that PennyLane asks the device for is results and Jacobians together."""
        if self._without_boundary or not config.use_device_gradient or config.use_device_jacobian_product:
            return False
        if config.interface in _JAX:
            return any(tape.trainable_params for tape in self._tapes)
        return bool(config.grad_on_execution)

    def finish(self, results: Sequence[Result]) -> Any:
        """What the QNode returns, made of the results of the circuits."""
        if self._informative or not self._tapes:
            values = self._user_postprocess(self._tapes)
        else:
            values = self._user_postprocess(self._outer_postprocess(self._boundary(results)))
        value = values[0]
        if self._has_no_parameters and not self._informative and self._qnode.interface != "auto":
            value = _convert_to_interface(value, Interface(self._qnode.interface))
        return _to_qfunc_output_type(value, self._qnode._qfunc_output, self._tape.shots.has_partitioned_shots)

    @property
    def _has_no_parameters(self) -> bool:
        return not self._tape.get_parameters(trainable_only=False)

    def _boundary(self, results: Sequence[Result]) -> Any:
        """The results as the QNode's interface has them, with the way back to the parameters."""
        if self._without_boundary:
            return self._inner_postprocess(results)
        device, inner = self._qnode.device, self._inner
        if self.method == "execute":
            inner = _AnsweredProgram(inner, tuple(self._inner_postprocess(results)))
        else:
            device = _AnsweredDevice(device, tuple(zip(*results, strict=True)))
        return run(self._tapes, device, self.config, inner)


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


class FlightCache(MutableMapping[Any, Any]):
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

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._noted or self._cache.get(key) is not None

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            return self._cache[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is None:
            self._noted.add(key)
            return
        with self._lock:
            self._cache[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._cache[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cache)

    def __len__(self) -> int:
        return len(self._cache)


class _Setting(NamedTuple):
    """How a call is to be run: its configuration, and the programs outside and inside of the interface's boundary."""

    config: ExecutionConfig
    outer: Any
    inner: Any


def _setting(qnode: qml.QNode, interface: Interface, tapes: Sequence[QuantumScript]) -> _Setting:
    """The setting of a call. Where nothing can be differentiated, calls that are alike in what matters share one."""
    options = qnode.execute_kwargs
    config = _configuration(qnode, interface)
    if (
        interface != Interface.NUMPY
        or config.gradient_method not in ("best", None)
        or options["cache"] not in _NO_CACHE
    ):
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
    )


def _set_trainable(tapes: Sequence[QuantumScript]) -> None:
    for tape in tapes:
        tape.trainable_params = qml.math.get_trainable_indices(tape.get_parameters(trainable_only=False))


def _is_recorded(tape: QuantumScript) -> bool:
    """Whether an interface records at present what is computed with the parameters."""
    return any(map(_records, tape.get_parameters(trainable_only=False)))


def _records(parameter: Any) -> bool:
    if isinstance(parameter, ArrayBox):
        return True
    interface = qml.math.get_interface(parameter)
    return interface in ("torch", "jax") and bool(qml.math.requires_grad(parameter, interface=interface))


def _is_abstract(tape: QuantumScript) -> bool:
    """Whether parameters have no values yet, as in a function that JAX compiles."""
    return any(qml.math.is_abstract(parameter) for parameter in tape.get_parameters(trainable_only=False))

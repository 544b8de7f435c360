"""QElectrons: QNodes that run on a cluster, now or later, in this process or another one."""

from __future__ import annotations

import copy
import copyreg
import importlib
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from typing import Any, TypedDict, Unpack, overload

import cloudpickle
import pennylane as qml
from pennylane.tape import QuantumScript
from pennylane.transforms.core import Transform
from pennylane.wires import Wires

from pennylane_qexec.circuits import parameters
from pennylane_qexec.cluster import QCluster
from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.device.calls import PendingCalls, PreparedCall
from pennylane_qexec.device.device import ClusterDevice
from pennylane_qexec.device.futures import CircuitFuture, Later, run_here, start
from pennylane_qexec.device.maps import MappedCalls
from pennylane_qexec.engine import History
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors import common_shots, like
from pennylane_qexec.redaction.display import even_incomplete

# The device


def device_for(origin: Any, executors: Any, options: dict[str, Any]) -> ClusterDevice:
    """The device on which a QNode for another one is to run."""
    if executors is None and isinstance(origin, ClusterDevice):
        if options:
            raise ConfigurationError(
                f"the QNode's device is a cluster already: give {sorted(options)} to that device, or executors=."
            )
        return origin
    wires = plain(origin.wires)
    if isinstance(executors, QCluster):
        device = ClusterDevice(wires, cluster=executors, **options)
    else:
        device = ClusterDevice(wires, executors=[like(origin)] if executors is None else executors, **options)
    device.stand_in_for(origin)
    return device


def plain(wires: Wires | None) -> Any:
    """Wires as users write them: some simulators are slower with labels than with a number."""
    if wires is None:
        return None
    return len(wires) if wires.labels == tuple(range(len(wires))) else list(wires.labels)


# QNodes that are sent to other processes

_BUILT_AGAIN = ("_apply_transform", "_plxpr_transform")


def make_transforms_picklable() -> None:
    """Let transforms be pickled: those of a module by name, others by what they were made of, as cloudpickle does.

    As they come they cannot be, since each keeps a registry with weak references.
    """
    copyreg.pickle(Transform, _reduced)


def _reduced(transform: Transform) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    try:
        named = getattr(importlib.import_module(transform.__module__), transform.__qualname__)
    except (ImportError, AttributeError):
        named = None
    by_value = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
    if named is transform and transform.__module__ not in by_value:
        return _named, (transform.__module__, transform.__qualname__)
    settings = {name: value for name, value in vars(transform).items() if name not in _BUILT_AGAIN}
    return _made, (transform.tape_transform, transform.pass_name, settings)


def _named(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _made(tape_transform: Any, pass_name: Any, settings: dict[str, Any]) -> Transform:
    transform = Transform(tape_transform, pass_name)
    vars(transform).update(settings)
    return transform


# QElectrons

_OF_ONE_CALL = ("_tape", "_qfunc_output")


class QElectron(Closeable, qml.QNode):
    """A QNode that runs on a cluster; made by :func:`qelectron`.

    Called, it does what the QNode does. All that takes a QNode takes it: gradients, transforms, ``qml.draw``,
    ``qml.specs``, ``qml.set_shots``, ``qml.qnn.TorchLayer``; what a transform makes of it is a QElectron again. Any
    number of threads may call it at once. It can be pickled with cloudpickle, and called in other processes.

    Args:
        qnode: the QNode.
        device: the cluster on which it is to run, as a device.
        name: how it is called; default: as its quantum function.
        description: what it does; default: the quantum function's docstring.
    """

    name: str
    description: str
    device: ClusterDevice
    _tape: Any
    _qfunc_output: Any

    def __init__(
        self, qnode: qml.QNode, device: ClusterDevice, name: str | None = None, description: str | None = None
    ) -> None:
        super().__init__(**{**qnode._init_args, "device": device})
        settings = vars(copy.copy(qnode))
        for setting in ("_shots", "_shots_override_device", "_compile_pipeline"):
            setattr(self, setting, settings[setting])
        self.name = name or (qnode.name if isinstance(qnode, QElectron) else self.__name__)
        described = qnode.description if isinstance(qnode, QElectron) else self.__doc__
        self.description = description or described or ""

    @property
    def cluster(self) -> QCluster:
        """The cluster on which it runs."""
        return self.device.cluster

    @property
    def history(self) -> History:
        """What ran on its cluster, in one row for each job that ended."""
        return self.cluster.history

    def close(self) -> None:
        """Close its cluster, unless that was given to it as a :class:`QCluster`."""
        self.device.close()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if qml.capture.enabled():
            return super().__call__(*args, **kwargs)
        call = self._for_one_call()
        try:
            return qml.QNode.__call__(call, *args, **kwargs)
        finally:
            self._remember(call)

    def run_later(self, *args: Any, **kwargs: Any) -> Later:
        """Start a call, and return at once; but where JAX or ``torch.func`` trace, the call has to run here and now.

        Args:
            *args: what the QNode is called with.
            **kwargs: what it is called with by name.

        Returns:
            The future of what the call returns. What goes wrong, here or where the circuits run, its ``result()``
            raises.
        """
        future, call = CircuitFuture(), self._for_one_call()
        try:
            staged = PreparedCall(call, args, kwargs)
            if staged.sendable and not staged.circuits:
                return future.follow((), staged.finish)
            if staged.sendable:
                jobs = staged.submit(call.device, lambda: future.asked)
                return future.follow(jobs, staged.finish, at_once=staged.plain)
            if staged.movable:
                return start(partial(self, *args, **kwargs))
            value = self(*args, **kwargs)
            return future.follow((), lambda _: value)
        except Exception as error:
            return future.fail(error)
        finally:
            self._remember(call)

    def map(self, *arguments: Iterable[Any], progress: bool = False, **fixed: Any) -> list[Any]:
        """Call it with every element of sequences or arrays, all at the same time.

        Args:
            arguments: for each argument of the QNode its values: a sequence, or an array along its first axis, all of
                the same length.
            progress: whether to show a progress bar.
            fixed: arguments by name, the same in every call.

        Returns:
            The results, in order.

        Raises:
            ConfigurationError: an argument is no sequence.
            ValueError: the sequences have different lengths.
            Exception: what the first call that failed raises. What has not run by then is cancelled.
        """
        calls = MappedCalls(self.device)
        try:
            for args in _calls(arguments):
                self._add_to(calls, args, fixed)
            return calls.results(progress)
        except BaseException:
            calls.cancel()
            raise

    # -- PennyLane's protocol

    def construct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> QuantumScript:
        """Record a circuit. If all executors have the same shots of their own, it has those in place of the QNode's."""
        tape = super().construct(args, kwargs)
        shots = common_shots(self.cluster.executors)
        if shots != 0:
            tape = self._tape = tape.copy(shots=shots)
        return tape

    def update(self, **kwargs: Any) -> QElectron:
        """A QElectron with other settings, on the same cluster.

        Args:
            kwargs: settings of :class:`pennylane.QNode`. Of a ``device``, the wires are used.
        """
        device = kwargs.get("device")
        if device is not None and not isinstance(device, ClusterDevice):
            kwargs["device"] = ClusterDevice(plain(device.wires), cluster=self.cluster)
        changed = super().update(**kwargs)
        return QElectron(changed, changed.device, self.name, self.description)

    def __copy__(self) -> QElectron:
        copied = object.__new__(QElectron)
        copied.__dict__.update(vars(super().__copy__()))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        make_transforms_picklable()
        return {**vars(self), **dict.fromkeys(_OF_ONE_CALL)}

    @even_incomplete
    def __repr__(self) -> str:
        return f"<QElectron {self.name!r} on {self.cluster!r}>"

    # -- in the house

    def _for_one_call(self) -> QElectron:
        """A copy for what one call records, since any number of calls may be under way."""
        call = copy.copy(self)
        cache = call.execute_kwargs["cache"]
        if isinstance(cache, MutableMapping):
            call.execute_kwargs["cache"] = PendingCalls(cache)
        return call

    def _add_to(self, calls: MappedCalls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = self._for_one_call()
        try:
            prepared = PreparedCall(call, args, kwargs)
            if prepared.sendable:
                calls.add(prepared)
            elif prepared.movable:
                calls.add_future(start(partial(self, *args, **kwargs)))
            else:
                calls.add_future(run_here(partial(self, *args, **kwargs)))
        finally:
            self._remember(call)

    def _remember(self, call: QElectron) -> None:
        """Keep what the last call recorded, as a QNode does."""
        self._tape, self._qfunc_output = call._tape, call._qfunc_output


class _Options(TypedDict, total=False):
    executors: Any
    name: str | None
    description: str | None
    selector: Any
    split: Any
    merge: Any
    retry: Any
    failover: bool
    hedge: Any
    timeout: float | None
    batch_window: float
    budget: Any
    cache: Any
    seed: int | None


@overload
def qelectron(qnode: qml.QNode, **options: Unpack[_Options]) -> QElectron: ...


@overload
def qelectron(qnode: None = None, **options: Unpack[_Options]) -> Callable[[qml.QNode], QElectron]: ...


def qelectron(
    qnode: qml.QNode | None = None,
    *,
    executors: Any = None,
    name: str | None = None,
    description: str | None = None,
    **cluster_options: Any,
) -> QElectron | Callable[[qml.QNode], QElectron]:
    """Make a QNode run on a cluster, now or later. A decorator, with or without options, or a function.

    Args:
        qnode: the QNode.
        executors: who runs its circuits: an executor or a spec of one (see :func:`executor`), a list of them, or a
            :class:`QCluster`, which may be shared. Default: a simulator on this machine like the QNode's device. The
            QNode's device is used for its wires and shots only.
        name: how it is called; default: as its quantum function.
        description: what it does; default: the quantum function's docstring.
        cluster_options: options of :class:`QCluster`: ``selector``, ``split``, ``merge``, ``retry`` and so on.

    Returns:
        The QElectron; or, without a QNode, a decorator that makes one.

    Raises:
        ConfigurationError: it is no QNode, or the executors or options are wrong.
    """
    for option in cluster_options:
        if option not in _Options.__annotations__:
            raise ConfigurationError(unknown("option of a QElectron", option, _Options.__annotations__))
    options = {"executors": executors, "name": name, "description": description, **cluster_options}
    if qnode is None:
        return partial(qelectron, **options)
    if not isinstance(qnode, qml.QNode):
        raise ConfigurationError(
            f"{qnode!r} is no QNode, so it cannot become a QElectron. Put @qexec.qelectron above @qml.qnode(device); "
            "to run any other function later, call qexec.run_later(function, ...)."
        )
    return QElectron(qnode, device_for(qnode.device, executors, cluster_options), name, description)


def run_later(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Later:
    """Call a function later, in a thread: a gradient, an optimisation loop, anything that calls QElectrons.

    Functions may run others later, and wait for them, as deep as they like. Where JAX or ``torch.func`` trace the
    arguments, which they do in their own thread only, the function is called here and now.

    Args:
        function: the function. If it is a QElectron, its :meth:`QElectron.run_later` is called, which needs no thread.
        *args: what to call it with.
        **kwargs: what to call it with by name.

    Returns:
        The future of what the function returns.
    """
    if isinstance(function, QElectron):
        return function.run_later(*args, **kwargs)
    if not callable(function):
        raise ConfigurationError(
            f"{function!r} cannot be called: give the function and then its arguments, as in "
            "qexec.run_later(circuit, 0.3)."
        )
    call = partial(function, *args, **kwargs)
    return run_here(call) if parameters.are_traced((args, kwargs)) else start(call)


def _calls(arguments: tuple[Iterable[Any], ...]) -> list[tuple[Any, ...]]:
    """The arguments of each call, from the values of each argument."""
    for values in arguments:
        try:
            iter(values)
        except TypeError as error:
            raise ConfigurationError(
                f"{values!r} is no sequence: give map the values of each argument, as in circuit.map([0.1, 0.2])."
            ) from error
    columns = [list(values) for values in arguments]
    lengths = list(map(len, columns))
    if len(set(lengths)) > 1:
        raise ValueError(
            f"map was given {' and '.join(map(str, lengths))} values: give as many of each argument, and by name what "
            "is the same in every call."
        )
    return list(zip(*columns, strict=True))

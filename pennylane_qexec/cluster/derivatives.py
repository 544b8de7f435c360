"""Which derivatives the executors of a cluster compute themselves, and how often results can be differentiated."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pennylane import numpy as pnp
from pennylane.decomposition import enabled_graph
from pennylane.devices import ExecutionConfig, LegacyDeviceFacade
from pennylane.exceptions import QuantumFunctionError
from pennylane.gradients import param_shift_cv
from pennylane.math import Interface
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.evolutions import with_factors
from pennylane_qexec.circuits.parameters import INTERFACES, unwrapped
from pennylane_qexec.circuits.structure import structure_of
from pennylane_qexec.concurrency import differentiation
from pennylane_qexec.executors import DeviceExecutor, Executor
from pennylane_qexec.job import DERIVATIVES, Postprocessing

JAX = (Interface.JAX, Interface.JAX_JIT)

BY_SHIFTS = "parameter-shift"
"""The method by which the device differentiates of its own, as PennyLane calls it."""

_BY_DEVICES = (*DERIVATIVES, "best")
_KEPT_ANSWERS = 512

_Expanded = tuple[Sequence[QuantumScript], Postprocessing]


class Derivatives:
    """Answers for all executors of a cluster together.

    ``diff_method="best"`` is what the executors' own device would choose, if they agree and it can be done here. If
    not, it is the adjoint method where every executor offers it and it is right: for first derivatives, and by
    parameters of gates. Elsewhere nobody offers anything, and PennyLane takes parameter shifts.

    Args:
        executors: the executors; a method is offered if every one of them offers it.
    """

    def __init__(self, executors: Sequence[Executor]) -> None:
        self._executors = executors
        self._by_structure = all(executor.by_structure for executor in executors)
        self._answers: dict[Any, str | None] = {}
        self._last: tuple[str, int, weakref.ref[QuantumScript] | None, str | None] = ("", 0, None, None)

    def method(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        """The method by which every executor differentiates such circuits itself; ``None`` if there is none.

        PennyLane asks several times in a call, for the same circuit, and the answer is not cheap: the last is kept, as
        long as somebody else keeps the circuit, and that for a structure where it depends on nothing else.
        """
        wanted = config.gradient_method
        if wanted not in _BY_DEVICES or (circuit is not None and circuit.shots):
            return None
        order = config.derivative_order
        asked, of_order, of, answer = self._last  # all at once, as other threads ask too
        # A circuit that is gone is not the absence of one, which PennyLane asks about too.
        same = of is None if circuit is None else of is not None and of() is circuit
        if asked != wanted or of_order != order or not same:
            answer = self._found(str(wanted), config, circuit)
            of = None if circuit is None else weakref.ref(circuit)
            self._last = (str(wanted), order, of, answer)
        return answer

    def _found(self, wanted: str, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        if circuit is None or not self._by_structure or (structure := structure_of(circuit, any_numbers=True)) is None:
            return self._told(wanted, config, circuit)
        key = (
            *(structure, tuple(circuit.trainable_params), wanted, config.derivative_order),
            *(config.mcm_config, config.interface, enabled_graph()),
        )
        answer = self._answers.get(key, "unknown")
        if answer == "unknown":
            answer = self._told(wanted, config, circuit)
            if len(self._answers) >= _KEPT_ANSWERS:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def _told(self, wanted: str, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        find = self._best if wanted == "best" else self._offered
        return find(config, with_factors(circuit) if circuit is not None else None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Derivatives, (self._executors,)

    def follow(self, config: ExecutionConfig, circuits: Sequence[QuantumScript]) -> ExecutionConfig:
        """The configuration with which circuits are computed where what records their numbers can follow.

        Args:
            config: a configuration in which nobody differentiates.
            circuits: the circuits. If none has numbers that are recorded, the configuration is theirs.

        Raises:
            QuantumFunctionError: there is no such executor, and the results would be taken for constants.
        """
        are_recorded = [
            one for one in circuits if not differentiation.is_plain(one) and differentiation.are_recorded(one)
        ]
        if not are_recorded:
            return config
        backprop = replace(config, gradient_method="backprop", use_device_gradient=True, interface=Interface.AUTO)
        if any(self.method(backprop, circuit) is None for circuit in are_recorded):
            raise QuantumFunctionError(
                "the results of these circuits are going to be differentiated, and their executors cannot compute "
                "them where they are asked for. Run them on the device, qml.device('qexec.cluster', "
                "cluster=cluster), by a QNode or qml.execute."
            )
        return backprop

    def differentiating(self, config: ExecutionConfig, circuits: Sequence[QuantumScript]) -> ExecutionConfig:
        """A configuration by which the executors differentiate circuits: by the adjoint method, or by their own.

        Raises:
            QuantumFunctionError: one of the circuits cannot be differentiated so.
        """
        method = "device" if config.gradient_method == "device" else "adjoint"
        config = replace(config, gradient_method=method, use_device_gradient=None, device_options={})
        for circuit in circuits:
            if self.method(config, circuit) is None:
                names = ", ".join(repr(executor.name) for executor in self._executors)
                raise QuantumFunctionError(
                    f"{circuit!r} cannot be differentiated by {method!r} on every one of the executors {names}. Use a "
                    "QNode, or qml.execute, with diff_method='best' or 'parameter-shift'."
                )
        return config

    def of_modes(self, config: ExecutionConfig, circuit: QuantumScript | None) -> ExecutionConfig:
        """The configuration, with what PennyLane's parameter shifts of continuous variables have to know of a device.

        They ask the device what it can measure, as only devices of the older interface say.
        """
        if config.gradient_method is not param_shift_cv:
            return config
        devices = [one.device(circuit) for one in self._executors if isinstance(one, DeviceExecutor)]
        asked = [device for device in devices if isinstance(device, LegacyDeviceFacade)]
        if not asked:
            return config
        poorest = min(asked, key=lambda device: len(device.target_device.observables))
        return replace(config, gradient_keyword_arguments={**config.gradient_keyword_arguments, "dev": poorest})

    def offers_products(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether every executor computes vector-Jacobian products of such circuits."""
        method = self.method(config, circuit)
        if method in (None, "backprop"):
            return False
        if circuit is not None:
            circuit = with_factors(circuit)
        return all(
            isinstance(executor, DeviceExecutor)
            and executor.device(circuit).supports_vjp(_asking_for(str(method), config), circuit)
            for executor in self._executors
        )

    def _best(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        if any(executor.shots for executor in self._executors):
            return None
        # Devices warn of numbers of observables, which are taken into account here.
        asked = circuit
        if circuit is not None and config.interface in INTERFACES:
            asked = differentiation.without_constants(circuit)
        own = {executor.best_derivative(config, asked) for executor in self._executors}
        if own == {"backprop"} and all(map(_stays_here, self._executors)):
            return "backprop"
        right = config.derivative_order == 1 and not (circuit and differentiation.observables_are_recorded(circuit))
        if own == {None} or not right:
            return None
        if own in ({"adjoint"}, {"device"}):
            return own.pop()
        return self._offered(config, circuit, "adjoint")

    def _offered(self, config: ExecutionConfig, circuit: QuantumScript | None, method: str = "") -> str | None:
        """A method, the configuration's if no other is given, if every executor offers it."""
        method = method or str(config.gradient_method)
        if any(executor.shots for executor in self._executors):
            return None
        if method == "backprop" and not all(map(_stays_here, self._executors)):
            return None
        asking = _asking_for(method, config)
        return method if all(executor.supports(asking, circuit) for executor in self._executors) else None


@dataclass(frozen=True)
class Limit:
    """How often the results of a call can be differentiated.

    Attributes:
        order: how often.
        by_device: whether the executors differentiate. If not, a transform of PennyLane's does, which then comes with
            circuits from inside of the boundary at which an interface stops recording.
        interface: the interface that records.
    """

    order: float = math.inf
    by_device: bool = False
    interface: Interface = Interface.NUMPY

    @classmethod
    def of(cls, config: ExecutionConfig, method: str | None) -> Limit:
        """The limit of a configuration that PennyLane has settled for.

        Args:
            config: the configuration. If its gradient method is a name, nobody has settled yet how to differentiate.
            method: the method by which the executors differentiate; ``None`` if they do not.
        """
        if method == "backprop" or (method is None and not callable(config.gradient_method)):
            return cls()
        by_device = method is not None
        return cls(1 if by_device else config.derivative_order, by_device, Interface(config.interface))

    def check(self, circuit: QuantumScript) -> None:
        """Refuse a circuit for which more is under way than can be computed, and would come out as zero.

        Raises:
            QuantumFunctionError: a derivative of a derivative, or one by numbers of an observable, that is not there.
        """
        if self.order == math.inf or differentiation.is_plain(circuit):
            return
        if differentiation.levels(circuit) > self.order:
            raise differentiation.higher_order(int(self.order))

    def prepared(self, circuit: QuantumScript) -> QuantumScript:
        """A circuit as it may be dispatched, checked.

        Raises:
            QuantumFunctionError: as :meth:`check`.
        """
        if self.order == math.inf or differentiation.is_plain(circuit):
            return circuit
        inside = not self.by_device and self.interface in JAX
        if inside and differentiation.levels(circuit):  # PennyLane's boundary has taken away one level for each order
            raise differentiation.higher_order(int(self.order))
        self.check(circuit)
        if not self.by_device:
            return circuit
        if differentiation.observables_are_recorded(circuit) and self.interface != Interface.JAX_JIT:
            raise _by_observables()
        if self.interface == Interface.TORCH:  # Autograd gets it right
            differentiation.check_complex(circuit)
        return differentiation.without_constants(circuit) if self.interface == Interface.AUTOGRAD else circuit

    def guarded(self, postprocess: Postprocessing, circuit: QuantumScript) -> Postprocessing:
        """A postprocessing whose results show Autograd and PyTorch that nobody can differentiate them once more."""
        if self.order == math.inf or differentiation.is_plain(circuit):
            return postprocess
        if self.interface == Interface.AUTOGRAD and self.by_device:
            return lambda results: differentiation.differentiable_once(postprocess(results))
        if self.interface != Interface.TORCH or not differentiation.are_recorded(circuit):
            return postprocess
        tensors = differentiation.tensors(circuit)
        guard = differentiation.hooked if self.by_device else differentiation.not_differentiable
        return lambda results: guard(postprocess(results), tensors)


def ends_records(config: ExecutionConfig) -> bool:
    """Whether circuits come to be executed from where interfaces have stopped recording, or may go on."""
    return callable(config.gradient_method) or config.gradient_method == "backprop"


def check_trainable(circuit: QuantumScript) -> None:
    """Refuse a circuit some of whose trainable parameters belong to observables.

    Raises:
        QuantumFunctionError: it is one.
    """
    of_gates = sum(operation.num_params for operation in circuit.operations)
    if any(index >= of_gates for index in circuit.trainable_params):
        raise _by_observables()


def made_ready(circuit: QuantumScript, prepare: Callable[[QuantumScript], _Expanded]) -> QuantumScript:
    """A circuit to be differentiated that did not go through a device's program, prepared with its parameters.

    Args:
        circuit: the circuit, whose numbers nobody records.
        prepare: the device's program.

    Raises:
        QuantumFunctionError: it has trainable parameters in observables, or its program would take it apart.
    """
    check_trainable(circuit)
    trainable = circuit.trainable_params
    # Programs take apart what cannot be differentiated as it is, but only where a number says that it may be.
    numbers = [pnp.array(number, requires_grad=True) for number in circuit.get_parameters()]
    (one, *others), _ = prepare(circuit.bind_new_parameters(numbers, trainable))
    one = unwrapped(one)
    before, after = (each.get_parameters(trainable_only=False) for each in (circuit, one))
    if others or len(before) != len(after) or not all(map(np.array_equal, before, after)):
        raise QuantumFunctionError(
            f"{circuit!r} has to be taken apart before it can be differentiated, and then has other parameters. Use a "
            "QNode, or qml.execute."
        )
    one.trainable_params = trainable
    return one


def _by_observables() -> QuantumFunctionError:
    """The error for derivatives by numbers of observables, which the adjoint method gives as zero."""
    return QuantumFunctionError(
        "a derivative by a parameter of an observable was asked for, and the adjoint method computes those by "
        "parameters of gates only. Use diff_method='best' or 'parameter-shift'; or, if it is a constant, mark it as "
        "not trainable."
    )


def _stays_here(executor: Executor) -> bool:
    """Whether an executor can compute in the thread that calls it, where backpropagation can follow."""
    return executor.local and executor.parallel in ("auto", "thread")


def _asking_for(method: str, config: ExecutionConfig) -> ExecutionConfig:
    return replace(config, gradient_method=method, device_options={})

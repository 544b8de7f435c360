"""What PennyLane is told of calls with a configuration, and what the executors are asked for."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.math import Interface
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.parameters import INTERFACES
from pennylane_qexec.cluster.derivatives import Limit
from pennylane_qexec.cluster.planning import Settings
from pennylane_qexec.device.gradients import for_batches
from pennylane_qexec.job import without_derivatives

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
    limit = Limit.of(asked, str(asked.gradient_method) if asked.use_device_gradient else None)
    batches_are_calls = config.interface in (Interface.NUMPY, Interface.JAX_JIT)
    return told, Settings(asked, limit, unwraps, batches_are_calls)


def interface_of_jax(circuit: QuantumScript) -> Interface:
    """The interface of a call: ``jax.vmap`` without ``jax.jit`` has to leave JAX by a callback too, as ``jax.jit``."""
    traced = any(map(qml.math.is_abstract, circuit.get_parameters(trainable_only=False)))
    return Interface.JAX_JIT if traced else Interface.JAX

"""What an executor has to know of the configuration of a call."""

from __future__ import annotations

from dataclasses import replace

from pennylane.devices import ExecutionConfig
from pennylane.math import Interface

DERIVATIVES = ("adjoint", "backprop", "device")
"""Differentiation methods that a device does itself."""


def for_device(config: ExecutionConfig) -> ExecutionConfig:
    """What a sub-device has to know of a call: parameters are numbers already, but for backprop."""
    derivative = config.gradient_method in (*DERIVATIVES, "best")
    return replace(
        config,
        device_options={},
        interface=config.interface if config.gradient_method == "backprop" else Interface.NUMPY,
        gradient_method=config.gradient_method if derivative else None,
        gradient_keyword_arguments=config.gradient_keyword_arguments if derivative else {},
        use_device_gradient=config.use_device_gradient if derivative else None,
        grad_on_execution=config.grad_on_execution if derivative else None,
    )


def without_derivatives(config: ExecutionConfig) -> ExecutionConfig:
    """The configuration of a call that nobody differentiates."""
    return replace(
        config,
        device_options={},
        gradient_method=None,
        gradient_keyword_arguments={},
        use_device_gradient=False,
        use_device_jacobian_product=False,
        grad_on_execution=None,
    )

"""Derivatives by parameter shifts of the device, beside those of PennyLane on a simulator of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import pennylane as qml
import torch
from pennylane import numpy as pnp

X = [0.4, -1.1, 0.7]


def flat(value: Any) -> list[Any]:
    """The arrays in tuples, lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, tuple | list) else [value]


def as_function_of(node: Callable[..., Any]) -> Callable[..., Any]:
    """A QNode whose results are one array, as Autograd differentiates nothing else."""
    return lambda x: pnp.concatenate([pnp.ravel(one) for one in flat(node(x))])


def by_autograd(node: Any, x: Any = X) -> Any:
    return qml.jacobian(as_function_of(node))(pnp.array(x, requires_grad=True))


def by_torch(node: Any, x: Any = X, dtype: Any = torch.float64) -> Any:
    return torch.autograd.functional.jacobian(lambda x: tuple(flat(node(x))), torch.tensor(x, dtype=dtype))


def by_torch_in_single_precision(node: Any, x: Any = X) -> Any:
    return by_torch(node, x, torch.float32)


def by_jax(transform: Any) -> Any:
    def differentiate(node: Any, x: Any = X) -> Any:
        with jax.enable_x64(True):
            return transform(node)(jax.numpy.array(x))

    return differentiate


HOW = {
    "autograd": by_autograd,
    "torch": by_torch,
    "torch in single precision": by_torch_in_single_precision,
    "jax.jacrev": by_jax(jax.jacrev),
    "jax.jacfwd": by_jax(jax.jacfwd),
    "jax.jit": by_jax(lambda node: jax.jit(jax.jacobian(node))),
}


@contextmanager
def messages() -> Iterator[list[str]]:
    """What is logged meanwhile of the ways that circuits go."""
    found: list[str] = []
    logger = logging.getLogger("pennylane_qexec")
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def check(
    node: qml.QNode, device: Any, how: Any = by_autograd, atol: float = 1e-10, bare: str = "default.qubit"
) -> str:
    """Check that the derivative of a QNode by a device is PennyLane's.

    Args:
        node: the QNode, whatever its device.
        device: the device.
        how: differentiates a QNode at ``X``.
        atol: by how much numbers may differ.
        bare: what runs PennyLane's.

    Returns:
        What was logged, in one string.
    """
    plain = qml.device(bare, wires=device.wires)
    with messages() as logged:
        found = how(node.update(device=device))
    expected = how(node.update(device=plain))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        assert np.shape(one) == np.shape(other)
        assert np.allclose(one, other, rtol=0, atol=atol)
    return "; ".join(logged)

"""What torch keeps for each thread: its function transforms, and whether it records gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from beside import HOW, differences

PATIENCE = 10.0  # seconds after which a future that hangs fails

HERE = HOW | {"later": lambda circuit: lambda *args: circuit.run_later(*args).result(PATIENCE)}

pytestmark = pytest.mark.timeout(60)

by_how = pytest.mark.parametrize("how", HERE.values(), ids=HERE)
by_executors = pytest.mark.parametrize("executors", [None, True], ids=["bare", "named"])


def turn(angle: Any) -> Any:
    qml.RX(angle, 0)
    return qml.expval(qml.Z(0))


def number(value: Any) -> Any:
    return torch.tensor(value, dtype=torch.float64)


TRANSFORMS: dict[str, Any] = {
    "grad": lambda circuit: torch.func.grad(circuit)(number(0.3)),
    "jacrev": lambda circuit: torch.func.jacrev(circuit)(number(0.3)),
    "jvp": lambda circuit: torch.func.jvp(circuit, (number(0.3),), (number(1.0),)),
    "hessian": lambda circuit: torch.func.hessian(circuit)(number(0.3)),
}


@pytest.mark.slow
@by_how
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_torch_function_transforms_differentiate(pair: Any, transform: Any, how: Any) -> None:
    qnode, electron = pair(turn, diff_method="backprop")
    assert differences(transform(qnode), transform(how(electron))) == []


@by_how
def test_torch_function_transforms_map(pair: Any, how: Any) -> None:
    qnode, electron = pair(turn, diff_method="backprop")
    angles = number([0.3, 0.4])
    assert differences(torch.func.vmap(qnode)(angles), torch.func.vmap(how(electron))(angles)) == []


@by_how
@by_executors
@pytest.mark.parametrize("method", ["best", "backprop", "adjoint", "parameter-shift"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_without_gradients_torch_records_nothing(pair: Any, mode: Any, method: str, executors: Any, how: Any) -> None:
    qnode, electron = pair(turn, executors=executors, diff_method=method)
    angle = torch.nn.Parameter(number(0.3))
    with mode():
        expected, actual = qnode(angle), how(electron)(angle)
    assert actual.requires_grad == expected.requires_grad
    assert float(actual) == pytest.approx(np.cos(0.3))

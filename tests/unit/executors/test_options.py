"""Constructors that pass options on list them, take them, and refuse what there is not."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.executors import Hybrid

OF_ALL = {"name", "workers", "max_circuits", "max_shots", "batch_window", "cost"}
LOCAL = [(qexec.AerExecutor, ()), (qexec.DeviceExecutor, ("default.qubit",)), (Hybrid, (["default.qubit"],))]
QUEUED = [
    (qexec.RuntimeExecutor, ("ibm_torino",)),
    (qexec.QBraidExecutor, ("ionq:simulator",)),
    (qexec.Rehearsal, ("default.qubit",)),
]


@pytest.mark.parametrize(("kind", "_"), [*LOCAL, *QUEUED, (qexec.JaxExecutor, ())])
def test_signatures_list_the_options_of_all_executors(kind: Any, _: Any) -> None:
    parameters = inspect.signature(kind).parameters
    assert parameters.keys() >= OF_ALL
    assert ("parallel" in parameters) is not issubclass(kind, qexec.QueuedExecutor)
    assert (parameters["workers"].default, parameters["batch_window"].default) == (None, 0.0)


@pytest.mark.parametrize(("kind", "place"), [*LOCAL, *QUEUED])
def test_options_reach_the_executor(kind: Any, place: Any) -> None:
    options = {"name": "mine", "workers": 3, "max_circuits": 4, "max_shots": 50, "batch_window": 0.5}
    executor = kind(*place, **options, cost={"per_shot": 2.0})
    assert {option: getattr(executor, option) for option in options} == options
    assert executor.cost == qexec.Cost(per_shot=2.0)


@pytest.mark.parametrize(("kind", "place"), [*QUEUED, LOCAL[-1], (qexec.JaxExecutor, ())])
@pytest.mark.parametrize("option", ["nonsense", "parallel"])
def test_an_option_that_there_is_not_is_refused_by_the_name_of_the_class(kind: Any, place: Any, option: str) -> None:
    if option in inspect.signature(kind).parameters:
        return
    message = rf"{kind.__name__}.__init__\(\) got an unexpected keyword argument '{option}'"
    with pytest.raises(TypeError, match=message):
        kind(*place, **{option: "thread"})


def test_a_spec_with_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"'rehearsal:aer' with the options \['nonsense'\]: Rehearsal\."):
        qexec.executor("rehearsal:aer", nonsense=1)

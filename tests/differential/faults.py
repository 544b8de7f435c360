"""Faults that the package has had, put back: the tests must be able to find them.

Each is a context in which the package, or PennyLane in its hands, does what it did wrong, and says which cases meet it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from pennylane.queuing import QueuingManager
from pennylane.transforms import convert_to_numpy_parameters

from differential.drawing import SPOILED, Case
from differential.programs import Gate, Measured, Number, Observable
from pennylane_qexec import AerExecutor, ClusterDevice, DeviceExecutor, Executor, QCluster
from pennylane_qexec.cluster.derivatives import Derivatives, Limit
from pennylane_qexec.concurrency import isolation
from pennylane_qexec.executors.pennylane import legacy
from pennylane_qexec.job import Usage


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        put_back: a context with the fault.
        meet: makes a case one that can meet it; ``None`` if it cannot be one.
        sorts: the sorts of finds that it has to lead to.
    """

    put_back: Callable[[], Any]
    meet: Callable[[Case], Case | None]
    sorts: frozenset[str]


@contextmanager
def _shared_recording() -> Iterator[None]:
    """PennyLane's decorated functions suspend a recording that nobody looks at any more."""
    isolation.install()
    function = inspect.unwrap(vars(QueuingManager)["stop_recording"].__func__)

    def stop_recording(cls: Any) -> Iterator[None]:
        suspended, cls._active_contexts = cls._active_contexts, []
        yield
        cls._active_contexts = suspended

    @contextmanager
    def of_this_thread(cls: Any) -> Iterator[None]:
        stack = cls._stack_per_thread
        suspended, stack.contexts = stack.contexts, []
        try:
            yield
        finally:
            stack.contexts = suspended

    kept, function.__code__ = function.__code__, stop_recording.__code__
    try:
        with patch.object(QueuingManager, "stop_recording", classmethod(of_this_thread)):
            yield
    finally:
        function.__code__ = kept


@contextmanager
def _unwrapped_early() -> Iterator[None]:
    """Circuits lose what they are differentiated by before anybody differentiates them."""
    program, execute = ClusterDevice.preprocess_transforms, ClusterDevice.execute

    def preprocess_transforms(self: Any, execution_config: Any = None) -> Any:
        made = program(self, execution_config)
        made.add_transform(convert_to_numpy_parameters)
        return made

    def executed(self: Any, circuits: Any, execution_config: Any = None) -> Any:
        numbers = [convert_to_numpy_parameters(circuit)[0][0] for circuit in circuits]
        return execute(self, tuple(numbers), execution_config)

    with (
        patch.object(ClusterDevice, "preprocess_transforms", preprocess_transforms),
        patch.object(ClusterDevice, "execute", executed),
    ):
        yield


@contextmanager
def _adjoint_is_best() -> Iterator[None]:
    """The adjoint method is taken wherever executors offer it, right or not."""

    def best(self: Any, config: Any, circuit: Any) -> str | None:
        return self._offered(config, circuit, "adjoint")

    with patch.object(Derivatives, "_best", best), _without_limits():
        yield


@contextmanager
def _without_limits() -> Iterator[None]:
    """Nobody sees that a derivative cannot be had, and is going to be zero."""
    with patch.object(Limit, "of", classmethod(lambda cls, config, method: cls())):
        yield


@contextmanager
def _repeated_shots() -> Iterator[None]:
    """A circuit that is run again draws the shots that it drew before."""
    perform = AerExecutor.perform
    drawn: dict[Any, Any] = {}

    def performed(self: Any, work: Any) -> Any:
        key = tuple((repr(one.operations), repr(one.measurements), one.shots.total_shots) for one in work.circuits)
        if key not in drawn:
            drawn[key] = perform(self, work)
        return drawn[key]

    with patch.object(AerExecutor, "perform", performed):
        yield


@contextmanager
def _unchecked() -> Iterator[None]:
    """Whatever an executor returns is taken for results."""
    with patch.object(Executor, "check_results", lambda self, work, results: None):
        yield


@contextmanager
def _mixed() -> Iterator[None]:
    """The circuits of a gradient are dealt out to executors that differ."""
    with patch.object(QCluster, "keeps_sweeps", lambda self, circuit, candidates: False):
        yield


@contextmanager
def _equal_seeds() -> Iterator[None]:
    """Executors draw by one seed: whatever they are called, and in whichever call."""
    perform = DeviceExecutor.perform

    def performed(self: Any, work: Any) -> Any:
        self.device()._rng = np.random.default_rng(7)
        return perform(self, work)

    with patch.object(DeviceExecutor, "perform", performed):
        yield


@contextmanager
def _undercounted() -> Iterator[None]:
    """A circuit counts once, in however many bases it is measured."""

    def usage_of(self: Any, circuit: Any, *_: Any) -> Usage:
        return Usage(1, circuit.shots.total_shots or 0)

    kinds = [kind for kind in _subclasses(Executor) if "usage_of" in vars(kind)]
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(patch.object(kind, "usage_of", usage_of))
        yield


def _subclasses(kind: type) -> Iterator[type]:
    yield kind
    for one in kind.__subclasses__():
        yield from _subclasses(one)


@contextmanager
def _one_basis() -> Iterator[None]:
    """Devices of the older interface read everything in the last basis."""

    def together(device: Any, circuit: Any) -> list[list[int]]:
        return [list(range(len(circuit.measurements)))]

    with patch.object(legacy, "together", together):
        yield


# -- the cases that meet them


def _on(*executors: str, **settings: Any) -> Callable[[Case], Case | None]:
    """Cases of a front end that calls QNodes, on these executors."""

    def met(case: Case) -> Case | None:
        if case.interface.startswith("jax") or case.front in ("plain", "experiment") or case.program.has_channels:
            return None
        plain = {"front": "device", "executors": executors, "policy": (), "transform": "", "wires": "none", "seeds": ""}
        return replace(case, **{**plain, **settings})

    return met


def _nesting(case: Case) -> Case | None:
    nested = [
        replace(step, numbers=tuple(replace(one, nested=one.argument is not None) for one in step.numbers))
        if isinstance(step, Gate)
        else step
        for step in case.program.operations
    ]
    if case.interface.startswith("jax") or nested == list(case.program.operations) or case.program.mid_measures:
        return None
    measured = (Measured("expval", Observable("word", (0,), "Z")),)
    program = replace(case.program, operations=tuple(nested), measurements=measured, batch=None)
    return replace(case, program=program, front="plain", executors=("default.qubit",), order=0, shots=None, seeds="")


def _trained_by_hand(case: Case) -> Case | None:
    met = _on("lightning.qubit", front="program", order=1, shots=None, interface="autograd")(case)
    return met if met is not None and not met.program.batch and not met.program.mid_measures else None


def _trained_raw(case: Case) -> Case | None:
    met = _on("default.qubit", front="dev.execute", order=1, shots=None, interface="torch")(case)
    return met if met is not None and not met.program.mid_measures else None


def _trained_observables(case: Case) -> Case | None:
    met = _on("default.qubit", order=1, shots=None, interface="autograd", method="best")(case)
    if met is None or met.program.batch or met.program.mid_measures:
        return None
    coefficients = (Number(1.0, 0), Number(1.0, 1))
    terms = (Observable("word", (0,), "Z"), Observable("word", (0,), "X"))
    measured = (Measured("expval", Observable("hamiltonian", numbers=coefficients, terms=terms)),)
    return replace(met, program=replace(met.program, measurements=measured, coefficients=(0.4, -0.7)))


def _twice(case: Case) -> Case | None:
    met = _on("lightning.qubit", order=2, max_diff=1, shots=None, interface="autograd", method="best")(case)
    if met is None or met.program.batch or met.program.mid_measures or len(met.program.arguments) > 1:
        return None
    return replace(met, program=replace(met.program, measurements=(_BASES[0],), coefficients=()))


def _sampled_with_noise(case: Case) -> Case | None:
    met = _split_samples(case)
    return None if met is None else replace(met, executors=("aer:fake_manila",), policy=())


def _spoiled(case: Case) -> Case | None:
    return case if case.executors[0] in SPOILED else None


def _unlike(case: Case) -> Case | None:
    met = _on("aer", "aer:fake_manila", order=1, shots=None, interface="autograd", method="parameter-shift")(case)
    if met is None or met.program.batch or met.program.mid_measures:
        return None
    return replace(met, program=replace(met.program, measurements=(_BASES[0],), coefficients=()))


def _split_samples(case: Case) -> Case | None:
    met = _on("default.qubit", "default.qubit", policy=(("split", "uniform"),), shots=1000, order=0)(case)
    if met is None or met.program.mid_measures or met.program.batch:
        return None
    everything = Measured("sample", wires=tuple(range(met.program.wires)))
    return replace(met, program=replace(met.program, measurements=(everything,)), interface="numpy")


def _in_bases(case: Case) -> Case | None:
    met = _on("lightning.qubit", shots=1000, order=0, interface="numpy")(case)
    if met is None or met.program.mid_measures or met.program.batch:
        return None
    return replace(met, program=replace(met.program, measurements=_BASES))


def _in_bases_on_cirq(case: Case) -> Case | None:
    met = _in_bases(case)
    return None if met is None else replace(met, executors=("cirq.simulator",), shots=None)


_BASES = (
    Measured("expval", Observable("word", (0,), "X")),
    Measured("probs", wires=(0,)),
)

FAULTS = {
    1: Fault(_shared_recording, _nesting, frozenset({"value", "plain"})),
    2: Fault(_adjoint_is_best, _trained_observables, frozenset({"gradient"})),
    3: Fault(_without_limits, _twice, frozenset({"gradient"})),
    4: Fault(_unwrapped_early, _trained_by_hand, frozenset({"gradient"})),
    5: Fault(_unwrapped_early, _trained_raw, frozenset({"gradient", "error", "refused"})),
    6: Fault(_repeated_shots, _sampled_with_noise, frozenset({"independence"})),
    7: Fault(_equal_seeds, _split_samples, frozenset({"independence"})),
    8: Fault(_undercounted, _in_bases, frozenset({"history", "tracker"})),
    9: Fault(_one_basis, _in_bases_on_cirq, frozenset({"value"})),
    10: Fault(_unchecked, _spoiled, frozenset({"unchecked"})),
    11: Fault(_mixed, _unlike, frozenset({"mixture"})),
}
"""The faults, by the numbers that they had when they were found."""

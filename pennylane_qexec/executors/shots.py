"""Executors that run every circuit with shots of their own, whatever the circuit says.

An executor's ``shots`` are 0 for those of the circuit, ``None`` for none (analytic), or a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from pennylane.measurements import Shots
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Sweep

OwnShots = int | None

_KINDS = 1024


class HasShots(Protocol):
    """What has to be known of an executor here."""

    @property
    def name(self) -> str: ...
    @property
    def shots(self) -> OwnShots: ...
    @property
    def max_shots(self) -> int | None: ...
    @property
    def members(self) -> Sequence[HasShots]: ...
    def most_shots(self, circuit: QuantumScript) -> int: ...


class Reshot(QuantumScript):
    """A circuit with the shots of an executor, which remembers those it was asked with.

    So it can go on to another executor, with the shots it would have there. PennyLane's copies remember too.

    Attributes:
        asked: those shots.
        apportioned: whether it is a part of another circuit, and has its part of the shots wherever it runs.
    """

    asked: Shots = Shots(None)
    apportioned: bool = False


def checked_shots(shots: Any) -> OwnShots:
    """The shots of an executor, as a user gave them.

    Raises:
        ConfigurationError: they are no whole number of at least 0.
    """
    if shots is not None and (isinstance(shots, bool) or not isinstance(shots, int) or shots < 0):
        raise ConfigurationError(
            f"shots={shots!r} must be a number of shots, 0 for those of the circuit, or None for analytic results."
        )
    return shots


def reshot(circuit: QuantumScript, executor: HasShots) -> QuantumScript:
    """The circuit with the shots that an executor runs it with.

    Raises:
        ConfigurationError: the circuit has a shot vector, in whose place one number cannot stand.
    """
    if circuit.apportioned if isinstance(circuit, Reshot) else executor.shots == 0:
        return circuit
    asked = circuit.asked if isinstance(circuit, Reshot) else circuit.shots
    wanted = asked if executor.shots == 0 else Shots(executor.shots)
    if wanted == circuit.shots:
        return circuit
    if asked.has_partitioned_shots or circuit.shots.has_partitioned_shots:
        raise ConfigurationError(_no_vectors(executor, asked))
    changed = type(circuit)(circuit.operations, circuit.measurements, wanted, circuit.trainable_params)
    return changed if isinstance(circuit, Reshot) else _remembering(changed, asked)


def all_reshot(circuits: Sequence[QuantumScript], executor: HasShots) -> Sequence[QuantumScript]:
    """Circuits with the shots that an executor runs them with; see :func:`reshot`."""
    if executor.shots == 0:
        for kind in set(map(type, circuits)):
            if issubclass(kind, Reshot):
                break
        else:
            return circuits
    made = {id(circuit): reshot(circuit, executor) for circuit in {id(one): one for one in circuits}.values()}
    return [made[id(circuit)] for circuit in circuits]


def reshot_sweep(sweep: Sweep, executor: HasShots) -> Sweep:
    """The sweep with the shots that an executor runs its circuits with; see :func:`reshot`."""
    template = reshot(sweep.template, executor)
    if template is sweep.template or sweep.key is None:
        return replace(sweep, template=template)
    shots = template.shots if isinstance(sweep.key[-1], Shots) else template.shots.total_shots
    return replace(sweep, template=template, key=(*sweep.key[:-1], shots))


def as_asked(circuit: QuantumScript) -> QuantumScript:
    """The circuit with the shots that it was asked with, whatever executor it has the shots of now."""
    return circuit.copy(shots=circuit.asked) if isinstance(circuit, Reshot) else circuit


def remember(circuit: QuantumScript, origin: QuantumScript) -> QuantumScript:
    """The circuit, remembering what ``origin``, of which it was made, was asked with.

    A circuit that has other shots than its origin keeps them: only a part of the result is made of it.
    """
    if circuit.shots != origin.shots:
        return _remembering(circuit, circuit.shots, apportioned=True)
    return _remembering(circuit, origin.asked) if isinstance(origin, Reshot) else circuit


def objection_to_shots(executor: HasShots, circuit: QuantumScript) -> str | None:
    """Why an executor cannot run a circuit with the shots it would have there; ``None`` if nothing is wrong.

    Returns:
        The end of a sentence that begins with the executor's name.
    """
    try:
        circuit = reshot(circuit, executor)
    except ConfigurationError:
        return f"runs circuits with {_in_words(executor.shots)}, and this one has a shot vector"
    if executor.max_shots is None or not circuit.shots:
        return None
    asked, run = circuit.shots.total_shots or 0, executor.most_shots(circuit)
    if run <= executor.max_shots:
        return None
    why = "" if run <= asked else f", and runs {run} for this circuit, as it measures several bases"
    return f"takes at most {executor.max_shots} shots{why}"


def common_shots(executors: Sequence[HasShots]) -> OwnShots:
    """The shots of their own that all executors share; 0 if they differ, or leave it to the circuit."""
    shots = {executor.shots for executor in executors}
    return shots.pop() if len(shots) == 1 else 0


def refuse_shot_vector(executors: Sequence[HasShots], shots: Shots) -> None:
    """Refuse a shot vector where an executor would replace it.

    Raises:
        ConfigurationError: an executor has shots of its own.
    """
    for executor in innermost(executors):
        if executor.shots != 0:
            raise ConfigurationError(_no_vectors(executor, shots))


def refuse_split(executors: Sequence[HasShots], split: Any) -> None:
    """Refuse to share shots out over executors that do not keep to their share.

    Raises:
        ConfigurationError: an executor has shots of its own.
    """
    for executor in innermost(executors):
        if executor.shots != 0:
            raise ConfigurationError(
                f"split={split!r} shares out the shots of a circuit, and executor {executor.name!r} runs circuits with "
                f"{_in_words(executor.shots)}: build it with shots=0, or use a selector."
            )


def innermost(executors: Sequence[Any]) -> Iterator[Any]:
    """The executors, and in place of those that hand circuits on, those who get them."""
    for executor in executors:
        inner = executor.members
        yield from innermost(inner) if inner else (executor,)


def _remembering(circuit: QuantumScript, asked: Shots, apportioned: bool = False) -> QuantumScript:
    kind: Any = type(circuit)
    return _kind(kind, asked, apportioned)(
        circuit.operations, circuit.measurements, shots=circuit.shots, trainable_params=circuit.trainable_params
    )


@lru_cache(maxsize=_KINDS)
def _kind(kind: Any, asked: Shots, apportioned: bool) -> type[Reshot]:
    said = {"asked": asked, "apportioned": apportioned, "__module__": __name__}
    return type(f"{kind.__name__}Reshot", (Reshot, kind), said)


def _no_vectors(executor: HasShots, shots: Shots) -> str:
    return (
        f"the circuit has a shot vector ({', '.join(map(str, shots))}), and executor {executor.name!r} runs circuits "
        f"with {_in_words(executor.shots)}, which gives results of another shape: build it with shots=0, or give the "
        "QNode one number of shots."
    )


def _in_words(shots: OwnShots) -> str:
    return "no shots (shots=None)" if shots is None else f"{shots} shots of its own"

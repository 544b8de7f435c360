"""Experiments in a store: what came back from each backend in each run, and of which circuits."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from pennylane_qexec.circuits.frameworks.builder import Bits, Order
from pennylane_qexec.circuits.serialization import circuit_text
from pennylane_qexec.errors import BudgetExceededError, ConfigurationError, PolicyError, StoreError
from pennylane_qexec.experiment.persistence import decoded, encoded
from pennylane_qexec.experiment.results import Results
from pennylane_qexec.experiment.tasks import CircuitTask, CountsPlan, in_words
from pennylane_qexec.persistence.store import BackendResults, NewExperimentRun, Store, open_store
from pennylane_qexec.redaction import veiled

logger = logging.getLogger("pennylane_qexec")

MOST_BYTES = 16_000_000
"""The longest text of a backend's results that is recorded."""

_ADVICE = "Somebody has changed the database, or it is damaged: restore it from a backup."


# What is recorded


@dataclass(frozen=True)
class RecordedCircuit:
    """A circuit of an experiment, as it was recorded.

    Attributes:
        text: the circuit, as ``circuits.serialization`` has it; ``None`` if that has no form for it.
        bits: how its outcomes are written; ``None`` if its results are PennyLane's own.
        order: in which order of bits.
    """

    text: str | None
    bits: Bits | None
    order: Order


@dataclass(frozen=True)
class RecordedResult:
    """What came back from a backend of one circuit.

    Attributes:
        shots: how many were asked for; 0 if it was analytic.
        result: as the experiment had it; ``None`` if nothing came back.
    """

    shots: int
    result: Any


def circuits_text(tasks: Sequence[CircuitTask]) -> str:
    """The circuits of an experiment, in the order of their numbers."""
    plans = {task.circuit: task.plan for task in reversed(tasks)}
    forms = []
    for number in sorted(plans):
        plan = plans[number]
        form: dict[str, Any] = {"circuit": None}
        try:
            form["circuit"] = circuit_text(plan.circuit)
        except ConfigurationError:
            form["shown"] = repr((plan.circuit.operations, plan.circuit.measurements))
        if isinstance(plan, CountsPlan):
            form |= {"bits": asdict(plan.bits), "order": plan.order}
        forms.append(form)
    return json.dumps(forms)


def circuits_of(text: str) -> list[RecordedCircuit]:
    """The circuits that :func:`circuits_text` has written.

    Raises:
        StoreError: it is something else.
    """
    try:
        return [_circuit_of(form) for form in json.loads(text)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"the recorded circuits of an experiment cannot be read ({error!r:.200}). {_ADVICE}"
        ) from error


def _circuit_of(form: Mapping[str, Any]) -> RecordedCircuit:
    bits = form.get("bits")
    if bits is None:
        return RecordedCircuit(form["circuit"], None, "native")
    registers = tuple([tuple(register) for register in bits["registers"]])
    return RecordedCircuit(form["circuit"], Bits(registers, bits["native"], bits["separator"]), form["order"])


def results_of(text: str, circuits: int) -> list[RecordedResult | None]:
    """What came back from a backend in one run, by circuit: ``None`` for circuits that it was not given.

    Args:
        text: as it was recorded.
        circuits: how many circuits the experiment has.

    Raises:
        StoreError: it is something else, such as more counts than shots.
    """
    try:
        found = [None if form is None else RecordedResult(form[0], decoded(form[1])) for form in json.loads(text)]
        if len(found) != circuits or not all(one is None or _can_be(one) for one in found):
            raise ValueError(f"{text:.80} is not of {circuits} circuits, or not of their shots")
    except (ValueError, TypeError, LookupError, ConfigurationError, RecursionError) as error:
        raise StoreError(f"recorded results of an experiment cannot be read ({error!r:.200}). {_ADVICE}") from error
    return found


def _can_be(one: RecordedResult) -> bool:
    if type(one.shots) is not int or one.shots < 0:
        return False
    if not isinstance(one.result, Mapping):
        return True
    counts = list(one.result.values())
    return all(isinstance(number, int | np.integer) and number >= 0 for number in counts) and sum(counts) <= one.shots


# Recording


@veiled
def recorder_of(name: Any, store: Any, tasks: Sequence[CircuitTask]) -> Recorder | None:
    """What records an experiment; ``None`` if it is not to be recorded.

    Args:
        name: of the experiment.
        store: the store, or what names it; ``None`` for none.
        tasks: what is run.

    Raises:
        ConfigurationError: one of name and store is given without the other, or is none.
        StoreError: the store cannot be opened.
    """
    if store is None:
        if name is not None:
            raise ConfigurationError(f"name={name!r} is for experiments that are recorded: give store= too.")
        return None
    check_name(name)
    return Recorder(name, store, tasks)


def check_name(name: Any) -> None:
    """Refuse a name that no experiment can have.

    Raises:
        ConfigurationError: it is one.
    """
    if name is None:
        raise ConfigurationError("an experiment is recorded under a name: give name='bell' beside store=.")
    from pennylane_qexec.persistence.store.experiments import check_name as check  # SQLAlchemy comes with it

    check(name)


class Recorder:
    """Records one run of an experiment, once it has ended; and again if shots that failed have been run later.

    Args:
        name: of the experiment.
        store: the store, or what names it. One that is opened here is closed once the run is recorded.
        tasks: what is run.
    """

    def __init__(self, name: str, store: Any, tasks: Sequence[CircuitTask]) -> None:
        self._name = name
        self._given = _absolute(store)
        self._text = circuits_text(tasks)
        self._digest = blake2b(self._text.encode(), digest_size=16).hexdigest()
        self._key = secrets.token_hex(16)
        self._began = time.time()
        self._store: Store | None = open_store(self._given)

    def record(self, tasks: Sequence[CircuitTask]) -> None:
        """Record what became of the tasks; nothing if a budget did not allow them to be sent.

        Raises:
            StoreError: the store cannot be written.
        """
        store = self._store or open_store(self._given)
        self._store = None
        try:
            if not all(isinstance(task.error, BudgetExceededError) for task in tasks):
                store.record_experiment(self._name, self._run(tasks))
        finally:
            if store is not self._given:
                store.close()

    def _run(self, tasks: Sequence[CircuitTask]) -> NewExperimentRun:
        places: dict[tuple[str, str], list[CircuitTask]] = {}
        for task in tasks:
            places.setdefault((task.backend.provider, task.backend.name), []).append(task)
        results = Results(tasks, many=True)
        backends = tuple([_backend(place, own, results) for place, own in places.items()])
        return NewExperimentRun(self._key, self._began, time.time(), self._digest, self._text, backends)


def _backend(place: tuple[str, str], tasks: Sequence[CircuitTask], results: Results) -> BackendResults:
    shots: Counter[int] = Counter()
    for task in tasks:
        run_here = any(one.place == task.place for one in task.reruns)  # again: its shots are those of the other task
        shots[task.circuit] += 0 if run_here else task.shots or 0
    text, problem = _results_text("/".join(place), shots, results)
    records = [task.record() for task in tasks]
    return BackendResults(
        *place,
        shots=shots.total(),
        seconds=sum(record.seconds for record in records),
        cost=sum(record.cost for record in records),
        error=next((in_words(task.error) for task in tasks if task.error is not None), problem),
        results=text,
    )


def _results_text(place: str, shots: Mapping[int, int], results: Results) -> tuple[str, str]:
    """What came back, as text, and why something of it is not recorded; that is empty if all of it is."""
    try:
        forms = [
            [shots[circuit], encoded(results.joined(circuit, place))] if circuit in shots else None
            for circuit in results.circuits
        ]
        text = json.dumps(forms)
        if len(text) <= MOST_BYTES:
            return text, ""
        problem = f"the results take {len(text):,} bytes, and {MOST_BYTES:,} are recorded at most"
    except (ConfigurationError, PolicyError) as error:
        problem = f"the results cannot be recorded: {error}"
    logger.warning("results of %s are not recorded: %s", place, problem)
    nothing = [[shots[circuit], None] if circuit in shots else None for circuit in results.circuits]
    return json.dumps(nothing), problem


def _absolute(store: Any) -> Any:
    """What names a store, so that it names the same one in another working folder."""
    if isinstance(store, str | os.PathLike) and "://" not in (path := os.fspath(store)) and path:
        return str(Path(path).expanduser().absolute()) if ":memory:" not in path else path
    return store

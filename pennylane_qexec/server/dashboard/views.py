"""What is shown of circuits and results: computed in the inspector's process, as plain texts and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

_MOST_ROWS, _MOST_BARS, _MOST_OPERATIONS, _WIDEST = 20, 32, 2_000, 160


@dataclass(frozen=True)
class Bars:
    """A histogram.

    Attributes:
        title: what it is of.
        bars: labels, and their parts of the whole, from 0 to 1.
        left_out: how many bars are not shown, the smallest.
    """

    title: str
    bars: tuple[tuple[str, float], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Value:
    """A number that was measured.

    Attributes:
        title: what it is of.
        value: the number.
        error: its standard error from the shots; ``None`` if it is exact, or the error is not known.
    """

    title: str
    value: float
    error: float | None = None


@dataclass
class View:
    """What is shown of a circuit and its result.

    Attributes:
        drawing: the circuit, as text.
        parameters: the numbers of its gates, by rows for a sweep.
        rows: how many circuits there are in it.
        histograms: of counts and probabilities.
        values: expectation values and other numbers.
        others: results of other kinds, as text.
        notes: what is left out.
    """

    drawing: str = ""
    parameters: list[list[float]] = field(default_factory=list)
    rows: int = 1
    histograms: list[Bars] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recorded(text: str, result: str | None) -> View:
    """What is shown of a circuit or a sweep of a durable run.

    Args:
        text: as it is recorded.
        result: its result, if it has one.
    """
    from pennylane_qexec.circuits.serialization import result_of, results_of

    view, circuit, sweep = _circuit_of(text)
    if result is not None:
        _add_results(view, circuit, [result_of(result)] if sweep is None else results_of(result))
    return view


def _circuit_of(text: str) -> tuple[View, Any, Any]:
    """What is shown of a recorded circuit, itself, and the sweep of which it is the first row."""
    import pennylane as qml

    from pennylane_qexec.circuits.serialization import circuit_of, sweep_of
    from pennylane_qexec.errors import ConfigurationError

    try:
        circuit, sweep = circuit_of(text), None
    except ConfigurationError:
        sweep = sweep_of(text)
        circuit = sweep.circuit(0)
    view = View(rows=1 if sweep is None else len(sweep))
    if len(circuit.operations) > _MOST_OPERATIONS:
        view.notes.append(f"The circuit has {len(circuit.operations):,} operations, and is not drawn.")
    else:
        view.drawing = qml.drawer.tape_text(circuit, wire_order=circuit.wires, decimals=3, max_length=_WIDEST)
    numbers = [circuit.get_parameters(trainable_only=False)] if sweep is None else sweep.parameters[:_MOST_ROWS]
    view.parameters = [[float(one) for one in row if _is_number(one)] for row in numbers]
    if view.rows > _MOST_ROWS:
        view.notes.append(f"The first {_MOST_ROWS} of {view.rows:,} rows are shown.")
    return view, circuit, sweep


def _add_results(view: View, circuit: Any, results: Any) -> None:
    for row, one in enumerate(results[:_MOST_ROWS]):
        title = f"row {row + 1}: " if view.rows > 1 else ""
        if circuit.shots.has_partitioned_shots:
            for shots, part in zip(circuit.shots, one, strict=True):
                _add_result(view, circuit, part, f"{title}{shots:,} shots: ", shots)
        else:
            _add_result(view, circuit, one, title, circuit.shots.total_shots)


def _is_number(value: Any) -> bool:
    return getattr(value, "shape", ()) == () and not isinstance(value, complex)


def _add_result(view: View, circuit: Any, result: Any, row: str, shots: int | None) -> None:
    measurements = circuit.measurements
    results = result if len(measurements) > 1 and isinstance(result, tuple | list) else [result]
    for measurement, one in zip(measurements, results, strict=False):
        _add_measurement(view, measurement, one, f"{row}{_title(measurement)}", shots)


def _title(measurement: Any) -> str:
    """A measurement, as people write it."""
    import pennylane as qml

    if isinstance(measurement, qml.measurements.CountsMP) and measurement.obs is None:
        return f"counts(wires={measurement.wires.tolist()})" if len(measurement.wires) else "counts()"
    return repr(measurement)


def _add_measurement(view: View, measurement: Any, result: Any, title: str, shots: int | None) -> None:
    import numpy as np
    import pennylane as qml

    if isinstance(result, dict):
        _add_bars(view, title, {str(key): float(count) for key, count in result.items()})
        return
    array = np.asarray(result)
    if array.ndim == 0 and array.dtype.kind in "biuf":
        error = _error_of(measurement, float(array), shots)
        view.values.append(Value(title, float(array), error))
    elif isinstance(measurement, qml.measurements.ProbabilityMP) and array.ndim == 1:
        width = max(1, int(math.log2(array.size)))
        _add_bars(view, title, {format(place, f"0{width}b"): float(one) for place, one in enumerate(array)})
    else:
        view.others.append(f"{title}: an array of shape {array.shape}, {array.dtype}")


def _error_of(measurement: Any, value: float, shots: int | None) -> float | None:
    """The standard error of an expectation value whose eigenvalues are 1 and -1."""
    import pennylane as qml

    observable = getattr(measurement, "obs", None)
    if not shots or not isinstance(measurement, qml.measurements.ExpectationMP) or observable is None:
        return None
    words = getattr(observable, "pauli_rep", None)
    if words is None or len(words) != 1 or not math.isclose(abs(next(iter(words.values()))), 1.0):
        return None
    return math.sqrt(max(0.0, 1.0 - value * value) / shots)


def _add_bars(view: View, title: str, counts: dict[str, float]) -> None:
    total = sum(counts.values()) or 1.0
    largest = sorted(counts.items(), key=lambda item: -item[1])[:_MOST_BARS]
    bars = tuple(sorted((label, count / total) for label, count in largest if count))
    view.histograms.append(Bars(title, bars, max(0, sum(1 for count in counts.values() if count) - len(bars))))


def first_values(results: list[tuple[int, int, str]]) -> tuple[list[int], list[float | None]]:
    """The first number that each result of a run begins with, where it is a number.

    Args:
        results: after how many circuits, of how many rows, and the text of each.
    """
    from pennylane_qexec.circuits.serialization import result_of, results_of
    from pennylane_qexec.errors import ConfigurationError

    places: list[int] = []
    values: list[float | None] = []
    for number, rows, text in results:
        try:
            found: Any = result_of(text) if rows == 1 else results_of(text)
        except ConfigurationError:
            try:
                found = results_of(text)
            except ConfigurationError:
                continue
        while isinstance(found, tuple | list) and found:
            found = found[0]
        if getattr(found, "shape", None) == () and found.dtype.kind in "biuf":
            found = float(found)
        if isinstance(found, float | int):
            places.append(number)
            values.append(float(found))
    return places, values


# Jobs of a server


def submitted(program: str, params: bytes, result: str | None, limits: Any) -> View:
    """What is shown of a job that a user has submitted, and of its result.

    Args:
        program: that it asked for.
        params: its payload: it may come from anybody.
        result: its result, if it has one.
        limits: how large the payload may be.
    """
    import json

    if program == "circuits":
        return _of_circuits(json.loads(params), result)
    if program not in ("sampler", "estimator"):
        return View(notes=[f"The circuits of the program {program!r} are not drawn."])
    from pennylane_qexec.server.programs.payloads import decoded

    view = View(rows=0)
    pubs = decoded(params, limits)["pubs"]
    for number, (circuit, *_) in enumerate(pubs[:_MOST_ROWS]):
        view.rows += 1
        _draw(view, circuit, f"PUB {number + 1}" if len(pubs) > 1 else "")
    if len(pubs) > _MOST_ROWS:
        view.notes.append(f"The first {_MOST_ROWS} of {len(pubs):,} PUBs are shown.")
    if result is not None:
        from qiskit_ibm_runtime.utils import RuntimeDecoder

        for number, one in enumerate(json.loads(result, cls=RuntimeDecoder)):
            if number < _MOST_ROWS:
                _add_pub(view, one, f"PUB {number + 1}: " if len(pubs) > 1 else "")
    return view


def _of_circuits(params: Any, result: str | None) -> View:
    """The first part of a job of circuits and sweeps."""
    import json

    from pennylane_qexec.circuits.serialization import results_of

    parts = params["parts"]
    view, circuit, _ = _circuit_of(parts[0])
    if result is not None:
        _add_results(view, circuit, results_of(json.loads(result)["results"][0]))
    if len(parts) > 1:
        view.notes.append(f"The first of {len(parts):,} circuits and sweeps is shown.")
    return view


def _draw(view: View, circuit: Any, title: str) -> None:
    if len(circuit.data) > _MOST_OPERATIONS or circuit.num_qubits > _WIDEST:
        size = f"{circuit.num_qubits:,} qubits and {len(circuit.data):,} operations"
        view.notes.append(f"The circuit of {title or 'the job'} has {size}, and is not drawn.")
        return
    heading = f"{title}\n" if title else ""
    drawing = circuit.draw("text", fold=_WIDEST, idle_wires=False)
    view.drawing += f"{heading}{drawing}\n\n"


def _add_pub(view: View, pub: Any, title: str) -> None:
    import numpy as np

    for name, data in pub.data.items():
        if hasattr(data, "get_counts"):
            for row, place in enumerate(np.ndindex(data.shape)):
                if row < _MOST_ROWS:
                    counts = data.get_counts(place) if place else data.get_counts()
                    where = f"{list(place)} " if place else ""
                    _add_bars(view, f"{title}{where}{name}", {key: float(count) for key, count in counts.items()})
    values = getattr(pub.data, "evs", None)
    if values is not None:
        errors = np.broadcast_to(np.asarray(getattr(pub.data, "stds", np.nan)), np.shape(values))
        for place in list(np.ndindex(np.shape(values)))[:_MOST_ROWS]:
            error = float(errors[place])
            where = f"{list(place)}" if place else ""
            known = None if math.isnan(error) else error
            view.values.append(Value(f"{title}expectation value {where}", float(np.asarray(values)[place]), known))


# Experiments

_MOST_RUNS = 1000


@dataclass(frozen=True)
class BackendLine:
    """A backend of an experiment.

    Attributes:
        name: ``"provider/backend"``.
        runs: how many were looked at.
        distance: the last one; ``None`` if there was none.
        error: its standard error, as far as it is due to the number of shots.
        failures: runs that have no distance.
        failure: the last of them, in words.
    """

    name: str
    runs: int
    distance: float | None
    error: float | None
    failures: int
    failure: str


@dataclass(frozen=True)
class BackendsOverTime:
    """The backends of an experiment over time.

    Attributes:
        chart: as the pages' charts read it, over times in seconds since 1970.
        backends: each of them.
        marks: when a backend has changed: the time, its name, how, and the distance then; the last first.
    """

    chart: dict[str, Any]
    backends: tuple[BackendLine, ...]
    marks: tuple[tuple[float, str, str, float | None], ...]


def backends_over_time(store: str, name: str, reference: str, distance: Any) -> BackendsOverTime:
    """The last runs of an experiment.

    Args:
        store: file or URL of the store.
        name: of the experiment.
        reference: with what backends are compared, as :func:`~pennylane_qexec.backend_history` takes it.
        distance: which one.
    """
    from pennylane_qexec.experiment import backend_history

    history = backend_history(store, name, reference=reference, distance=distance, last=_MOST_RUNS)
    times = sorted({point.time for point in history.points})
    lines, series = [], []
    for place, points in history.series.items():
        values = {point.time: point.distance for point in points}
        marked = {point.time for point in points if point.change}
        series.append({"name": place, "values": [values.get(time) for time in times], "marks": sorted(marked)})
        failed = [point for point in points if point.distance is None]
        last = points[-1]
        failure = failed[-1].failure if failed else ""
        lines.append(BackendLine(place, len(points), last.distance, last.error, len(failed), failure))
    marks = [(point.time, point.place, str(point.change), point.distance) for point in history.marks[::-1]]
    chart = {"title": "", "label": "time", "time": True, "x": times, "series": series}
    return BackendsOverTime(chart, tuple(lines), tuple(marks))

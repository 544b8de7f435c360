"""Runs every benchmark, and writes what they answer into the documentation: a table, and a picture of it.

Usage: ``python benchmarks/everything.py [NAME ...]`` with the names of the benchmarks to run; default: all. What the
others have answered before stays. ``soak`` takes ten minutes, and runs only if it is named.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from answers import REPORT, Answer
from matplotlib import rc_context
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
RECORD = PAGE.with_suffix(".json")
PICTURE = PAGE.with_suffix(".svg")
FIRST = "gradients"
"""The benchmark with a section of its own, at the top of the page."""

EDGE = 20
NOT_BENCHMARKS = ("answers", "differential", "everything", "server_process")  # "differential" takes hours
LONG = ("soak",)
PACKAGES = ("pennylane", "pennylane-lightning", "pennylane-qiskit", "qiskit-aer", "qiskit-ibm-runtime", "jax", "numpy")

Answers = dict[str, list[Answer]]


def names() -> list[str]:
    """All benchmarks, in the order of their names."""
    return sorted(script.stem for script in HERE.glob("*.py") if script.stem not in NOT_BENCHMARKS)


def run(name: str) -> tuple[str, list[Answer]]:
    """Run a benchmark in a process of its own; returns its title and its answers."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "answers"
        command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py")]
        subprocess.run(command, check=True, env={**os.environ, REPORT: str(report)})
        lines = [json.loads(line) for line in report.read_text().splitlines()]
    title = lines[0]["title"]
    return title, [Answer(**{key: value for key, value in line.items() if key != "title"}) for line in lines]


def machine() -> str:
    """What the figures were measured on."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{day}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {versions}"


def page(record: dict[str, dict[str, object]]) -> str:
    """The page of the documentation."""
    lines = [
        "# Benchmarks",
        "",
        "Measured by `make bench`. A figure is the median, with the 10th and the 90th percentile; ratios are to a peer",
        "in the same run, the two taking turns. Times of small machines are noisy, ratios less so.",
        "",
        *_of_gradients(_answers(record[FIRST]) if FIRST in record else []),
        "## All benchmarks",
        "",
        "```{image} benchmarks.svg",
        ":alt: What was measured against its goal, on a logarithmic scale.",
        "```",
        "",
        "| benchmark | question | figure | goal | beside |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, entry in record.items():
        if name != FIRST:
            lines += [f"| {name} | {_row(found)} |" for found in _answers(entry)]
    lines += ["", "What each benchmark is about:", ""]
    lines += [f"- `benchmarks/{name}.py`: {entry['title']}." for name, entry in record.items()]
    machines: dict[str, list[str]] = {}
    for name, entry in record.items():
        machines.setdefault(str(entry["machine"]), []).append(name)
    lines += ["", "Where they were run last:", ""]
    lines += [f"- {', '.join(ran)}: {where}." for where, ran in machines.items()]
    return "\n".join(lines) + "\n"


def _of_gradients(answers: list[Answer]) -> list[str]:
    """What users feel: steps of an optimiser, with all that PennyLane does for them, and how to see it oneself."""
    if not answers:
        return []
    lines = [
        "## What a user gets from `qml.grad`",
        "",
        "A step is `step_and_cost` of an optimiser: the value and the gradient of an energy, by the parameter-shift",
        "rule with 1000 shots, after two layers of RX and RZ and rings of CNOT, PennyLane's share included. Twelve",
        "terms are ZZ, XX and YY on four pairs each, which are three groups; one term is ZZ. The peer is the same",
        "QNode on the bare device. `python benchmarks/gradients.py --profile` shows where the time of a step goes.",
        "",
        "| question | figure | goal | beside | `python benchmarks/` |",
        "| --- | --- | --- | --- | --- |",
    ]
    return [*lines, *[f"| {_row(found)} | `{found.command}` |" for found in answers], ""]


def _row(found: Answer) -> str:
    goal = found.goal + (" (missed)" if found.met is False else "")
    return f"{found.question} | {found.figure} | {goal} | {found.beside}"


def draw(record: dict[str, dict[str, object]]) -> Figure:
    """Every figure that has a goal, as a multiple of it: to the right of the line is better."""
    found = [(name, one) for name, entry in record.items() for one in _answers(entry) if one.met is not None]
    rows = [(f"{name}: {one.question} [{one.goal}]", one) for name, one in reversed(found)]
    figure = Figure(figsize=(11, 1 + 0.22 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, one) in enumerate(rows):
        low, middle, high = sorted(_score(one, value) for value in (one.low, one.value, one.high))
        colour = "tab:green" if one.met else "tab:red"
        axes.plot([low, high], [place, place], color=colour, alpha=0.4, linewidth=4)
        axes.plot([middle], [place], "o", color=colour, markersize=5)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(1 / EDGE, EDGE)
    axes.set_ylim(-1, len(rows))
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    axes.set_xlabel(f"times as good as its goal (median, 10th to 90th percentile); {EDGE} and more at the edge")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _score(found: Answer, value: float) -> float:
    if found.at_least is not None:
        score = value / found.at_least
    else:
        assert found.at_most is not None
        score = found.at_most / value if value > 0 else EDGE
    return min(max(score, 1 / EDGE), EDGE)


def _answers(entry: dict[str, object]) -> list[Answer]:
    return [Answer(**line) for line in entry["answers"]]  # type: ignore[attr-defined]


def main(chosen: list[str]) -> None:
    """Run benchmarks, and write the page."""
    record: dict[str, dict[str, object]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in chosen or [name for name in names() if name not in LONG]:
        title, answers = run(name)
        record[name] = {"title": title, "machine": machine(), "answers": [vars(found) for found in answers]}
        record = {known: record[known] for known in names() if known in record}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        PAGE.write_text(page(record))
        with rc_context({"svg.fonttype": "none"}):  # text stays text, which is small
            draw(record).savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1:])

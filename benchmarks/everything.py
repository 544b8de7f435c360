"""Runs every benchmark, and writes what they answer into the documentation: a table, and a picture of it.

Usage: ``python benchmarks/everything.py [NAME ...]`` with the names of the benchmarks to run; default: all. What the
others have answered before stays.
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
NOT_BENCHMARKS = ("answers", "everything", "profile_step")
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
        "```{image} benchmarks.svg",
        ":alt: What was measured against its goal, on a logarithmic scale.",
        "```",
        "",
    ]
    for name, entry in record.items():
        lines += [f"## {entry['title']}", "", f"`python benchmarks/{name}.py`: {entry['machine']}.", ""]
        lines += ["| question | figure | goal | beside |", "| --- | --- | --- | --- |"]
        for found in _answers(entry):
            goal = found.goal + (" (missed)" if found.met is False else "")
            lines.append(f"| {found.question} | {found.figure} | {goal} | {found.beside} |")
        lines.append("")
    return "\n".join(lines)


def draw(record: dict[str, dict[str, object]]) -> Figure:
    """Every figure that has a goal, as a multiple of it: to the right of the line is better."""
    rows = [found for entry in record.values() for found in _answers(entry) if found.met is not None]
    figure = Figure(figsize=(10, 1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, found in enumerate(reversed(rows)):
        scores = sorted(_score(found, value) for value in (found.low, found.value, found.high))
        colour = "tab:green" if found.met else "tab:red"
        axes.plot([scores[0], scores[2]], [place, place], color=colour, alpha=0.4, linewidth=4)
        axes.plot([scores[1]], [place], "o", color=colour)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{found.question} [{found.goal}]" for found in reversed(rows)], fontsize=8)
    axes.set_xlabel("times as good as its goal (median, 10th to 90th percentile)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _score(found: Answer, value: float) -> float:
    if found.at_least is not None:
        return max(value, 1e-9) / found.at_least
    assert found.at_most is not None
    return found.at_most / max(value, 1e-9)


def _answers(entry: dict[str, object]) -> list[Answer]:
    return [Answer(**line) for line in entry["answers"]]  # type: ignore[attr-defined]


def main(chosen: list[str]) -> None:
    """Run benchmarks, and write the page."""
    record: dict[str, dict[str, object]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in chosen or names():
        title, answers = run(name)
        record[name] = {"title": title, "machine": machine(), "answers": [vars(found) for found in answers]}
        record = {known: record[known] for known in names() if known in record}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        PAGE.write_text(page(record))
        with rc_context({"svg.fonttype": "none"}):  # text stays text, which is small
            draw(record).savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1:])

"""A case, written so that a person can see it and run it again."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pennylane as qml

from differential import drawing, programs
from differential.checking import Verdict
from differential.drawing import Case
from differential.kinds import wires_of
from differential.programs import function


def parsed(text: str) -> Case:
    """The case that :func:`written` or ``repr`` wrote."""
    made = eval(text, {**vars(programs), **vars(drawing)})
    assert isinstance(made, Case)
    return made


def written(value: Any) -> str:
    """A case as Python, without what is as by default."""
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
    if not hasattr(value, "__dataclass_fields__"):
        return repr(value)
    given = [(field.name, getattr(value, field.name), field.default) for field in fields(value)]
    inner = ", ".join(f"{name}={written(one)}" for name, one, default in given if one != default)
    return f"{type(value).__name__}({inner})"


def described(case: Case, verdict: Verdict, number: int | None = None) -> str:
    """What is wrong with a case, what it does, and how to see it again."""
    with qml.QueuingManager.stop_recording():
        tape = qml.tape.make_qscript(function(case.program))(case.program.x, case.program.c)
    lines = [f"{sort}: {text}" for sort, text in verdict.finds]
    lines += ["", f"wires of the device: {wires_of(case)}"]
    lines += [f"    {one!r}" for one in tape.operations]
    lines += [f"    -> {one!r}" for one in tape.measurements]
    lines += [f"{name}: {getattr(case, name)!r}" for name in _TOLD]
    again = f"{number}" if number is not None else f'"{written(case)}"'
    return "\n".join([*lines, "", f"See it again: python benchmarks/differential.py --case {again}"])


_TOLD = ("front", "executors", "policy", "interface", "shots", "method", "order", "max_diff", "transform", "mcm_method")

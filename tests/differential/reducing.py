"""A failing case made smaller, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from differential.checking import check
from differential.drawing import Case
from differential.kinds import Pool
from differential.programs import Gate, MidMeasure, Number

PLAIN = {"transform": "", "policy": (), "wires": "none", "mcm_method": None, "max_diff": 1, "method": "best"}
SIMPLE = {"front": "device", "interface": "numpy", "order": 0, "shots": 1000}


def reduced(case: Case, pool: Pool) -> Case:
    """The smallest case found whose finds are of the same sorts; takes some hundred runs at most."""
    sorts = {sort for sort, _ in check(case, pool).finds}
    smaller: Case | None = case
    while smaller is not None:
        case = smaller
        smaller = next((one for one in _smaller(case) if _fails(one, pool, sorts)), None)
    return case


def _fails(case: Case, pool: Pool, sorts: set[str]) -> bool:
    try:
        return bool(sorts & {sort for sort, _ in check(case, pool).finds})
    except Exception:  # it became one that makes no sense
        return False


def _smaller(case: Case) -> Iterator[Case]:
    program = case.program
    for name, value in {**PLAIN, **(SIMPLE if case.shots else {**SIMPLE, "shots": None})}.items():
        if getattr(case, name) != value:
            yield replace(case, **{name: value})
    if len(case.executors) > 1:
        yield from (replace(case, executors=(name,)) for name in dict.fromkeys(case.executors))
    if program.batch is not None:
        yield replace(case, program=replace(program, batch=None))
    if program.labels:
        yield replace(case, program=replace(program, labels=0))
    if len(program.measurements) > 1:
        for index in range(len(program.measurements)):
            kept = program.measurements[:index] + program.measurements[index + 1 :]
            yield replace(case, program=replace(program, measurements=kept))
    for index, step in enumerate(program.operations):
        if isinstance(step, MidMeasure) or len(program.operations) == 1:
            continue
        kept_ = program.operations[:index] + program.operations[index + 1 :]
        yield replace(case, program=replace(program, operations=kept_))
    for index, step in enumerate(program.operations):
        if not isinstance(step, Gate):
            continue
        for other in _simpler(step):
            changed = (*program.operations[:index], other, *program.operations[index + 1 :])
            yield replace(case, program=replace(program, operations=changed))


def _simpler(gate: Gate) -> Iterator[Gate]:
    if gate.wrapper and gate.wrapper != "ctrl":
        yield replace(gate, wrapper="")
    if gate.condition is not None:
        yield replace(gate, condition=None)
    if any(number.nested for number in gate.numbers):
        yield replace(gate, numbers=tuple(replace(one, nested=False) for one in gate.numbers))
    if any(number.argument is not None for number in gate.numbers):
        yield replace(gate, numbers=tuple(Number(0.4) for _ in gate.numbers))

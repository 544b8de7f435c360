"""One case, carried out and judged."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import pennylane as qml

import pennylane_qexec as qexec
from differential import compare, fronts
from differential.drawing import SPOILED, Case
from differential.fronts import Answer
from differential.kinds import KINDS, LEGACY, STRICT, Pool, wires_of
from differential.programs import Gate, Number, function
from differential.theory import NotDerivable, Right, derivative, hessian, number_of, state_of

PROJECTED = 1e-3
"""The least probability of what is selected afterwards for which anything can be said."""


@dataclass
class Verdict:
    """What came of a case.

    Attributes:
        finds: what is wrong: its sort, and what was found.
        did: what was compared, counted.
        notes: what is not ours, but odd.
    """

    finds: list[tuple[str, str]] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def check(case: Case, pool: Pool) -> Verdict:
    """Carry a case out with our package, and judge it by theory and by the bare device."""
    verdict = Verdict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = fronts.ours(case, pool)
        if SPOILED.keys() & set(case.executors):
            pool.forget(case)
            _judge_spoiled(case, got, verdict)
            return verdict
        kinds = list(dict.fromkeys(case.executors))
        if got.error is not None:
            pool.forget(case)  # an executor that has failed may be set aside for a while
            _judge_error(case, got.error, {kind: fronts.bare(case, kind) for kind in kinds}, verdict)
            return verdict
        wrong = _wrong(case, got, verdict.did)
        first = fronts.bare(case, kinds[0], derive=bool(wrong))
        of_bare = [] if first.error is not None else _wrong(case, replace(first), Counter())
        if (
            _unreadable(wrong)
            and first.error is None
            and compare.form(got.calls[0][1]) == compare.form(first.calls[0][1])
        ):
            verdict.notes.append(f"as the bare device's: {wrong[0][1]}")
            return verdict
        if all("nan" in text for _, text in wrong) and wrong and all(find in of_bare for find in wrong):
            verdict.notes.append("nan, as the bare device's")
            return verdict
        if _is_edge(case, wrong) and KINDS[kinds[0]].bare is None:
            verdict.notes.append("nan, as backpropagation gives for an entropy of a pure state")
            return verdict
        if case.front == "plain" and wrong and _is_wrong_elsewhere(case, wrong):
            verdict.notes.append(f"so is PennyLane without us: {wrong[0][1]}")
            return verdict
        if case.transform and wrong and {sort for sort, _ in wrong} <= {sort for sort, _ in of_bare}:
            verdict.notes.append(f"the transform is wrong: {wrong[0][1]}")
            return verdict
        for sort, text in wrong:
            verdict.finds.append((sort, text + (" (so is the bare device's)" if _among(sort, of_bare) else "")))
        if not wrong and of_bare:
            verdict.notes.append(f"the bare device is wrong: {of_bare[0][1]}")
        if first.error is None and not wrong:
            if not of_bare:  # the bare device's is an example only where it is right
                _judge_form(case, got, first, verdict)
                _judge_counts(case, got, first, verdict)
            _judge_independence(case, pool, verdict)
            _judge_shares(case, got, verdict)
            _judge_seeds(case, verdict)
        if not wrong:
            _judge_mixture(case, got, pool, verdict)
        elif first.error is not None:
            verdict.did["right where the bare device raises"] += 1
    return verdict


def _is_wrong_elsewhere(case: Case, wrong: Sequence[tuple[str, str]]) -> bool:
    """Whether plain PennyLane is wrong in the same way in a new process, in which no cluster has ever been opened."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        theirs = process.submit(_wrong_of_bare, case).result()
    return [sort for sort, _ in theirs] == [sort for sort, _ in wrong] and (bool(case.total_shots) or theirs == wrong)


def _wrong_of_bare(case: Case) -> list[tuple[str, str]]:
    answer = fronts.bare(case, case.executors[0])
    return [] if answer.error is not None else _wrong(case, answer, Counter())


def _is_edge(case: Case, wrong: Sequence[tuple[str, str]]) -> bool:
    """Whether nothing but a derivative of an entropy is wrong, which is no number."""
    entropies = any(one.kind in ("vn_entropy", "mutual_info") for one in case.program.measurements)
    return entropies and bool(wrong) and all(sort == "gradient" and "nan" in text for sort, text in wrong)


def _among(sort: str, finds: Sequence[tuple[str, str]]) -> bool:
    return any(other == sort for other, _ in finds)


def _unreadable(finds: Sequence[tuple[str, str]]) -> bool:
    """Whether all that is wrong is a form that PennyLane has only sometimes."""
    return bool(finds) and all(sort == "unreadable" for sort, _ in finds)


# -- errors


def _judge_spoiled(case: Case, got: Answer, verdict: Verdict) -> None:
    """What is no result must be refused, by an error that says whose it is."""
    verdict.did["spoiled results"] += 1
    if got.error is None:
        verdict.finds.append(
            ("unchecked", f"{case.executors[0]} returned no result, and it was taken: {got.calls}"[:300])
        )
    elif not isinstance(got.error, qexec.ExecutorError) or got.error.executor not in str(got.error):
        verdict.finds.append(("unchecked", f"{case.executors[0]}: {type(got.error).__name__}: {got.error}"))


def _judge_error(case: Case, error: Exception, bare: dict[str, Answer], verdict: Verdict) -> None:
    """An error is right if it says something, and the bare device raises its like, or there is none."""
    text = f"{type(error).__name__}: {error}"
    if case.front == "plain":
        if fronts.bare(_unnested(case), case.executors[0]).error is None:
            verdict.finds.append(("plain", f"plain PennyLane raises {text}"))
        return
    if isinstance(error, AssertionError) and "plain PennyLane" in str(error):
        verdict.finds.append(("plain", str(error)))
        return
    errors = [answer.error for answer in bare.values()]
    if case.order == 2 and case.max_diff == 1 and "max_diff=2" in text:
        verdict.did["refused second derivatives"] += 1
        return
    if _nothing_may_be_left(case):
        verdict.did["nothing left"] += 1
        return
    if _is_good_reason(case, text):
        verdict.did["refused for a good reason"] += 1
        return
    causes = [error, getattr(error, "cause", error)]
    if case.front == "dev.execute":
        raw = fronts.executed(case, case.executors[0]).error
        if raw is not None and any(type(cause) is type(raw) and str(cause) == str(raw) for cause in causes):
            verdict.did["raised as the bare device's execute"] += 1
            return
    known = isinstance(error, qexec.QExecError | qml.exceptions.QuantumFunctionError) or any(
        isinstance(cause, type(other)) for other in errors if other is not None for cause in causes
    )
    if not str(error).strip() or not known:
        verdict.finds.append(("error", text))
    missing = [kind for kind in bare if KINDS[kind].bare is None]
    if all(other is None for other in errors) and not missing and case.front != "experiment":
        wrong = [find for answer in bare.values() for find in _wrong(case, answer, Counter())]
        if wrong:
            verdict.notes.append(f"refused where the bare device is wrong: {type(error).__name__}")
        else:
            verdict.finds.append(("refused", text))
    elif all(other is None for other in errors):
        verdict.notes.append(f"refused: {text}")
    verdict.did["raised"] += 1


def _nothing_may_be_left(case: Case) -> bool:
    """Whether postselection leaves no shot by a chance that is not improbable: then there is no result."""
    if not _postselects(case):
        return False
    try:
        weight = min(right.weight for row in _rights(case, case.program.x) for right in row)
    except NotDerivable:
        return True
    shots = min(case.shots) if isinstance(case.shots, tuple) else case.total_shots
    return bool(case.total_shots) and (1 - weight) ** shots > compare.IMPROBABLE


def _is_good_reason(case: Case, text: str) -> bool:
    """Whether a refusal is right although the bare device may be, by chance: it is known to be wrong elsewhere."""
    if "mcm_method='tree-traversal' with shots" in text:  # branches are postselected wrongly
        return _postselects(case)
    if "reference.qubit measures products and sums of Paulis" in text:  # all others it takes for diagonal
        return any(_is_of_other_basis(one.observable) for one in case.program.measurements)
    kinds = {one.kind for one in case.program.measurements}
    if "computes entropies wrongly" in text or "only if its wires are numbered from 0" in text:
        return not kinds.isdisjoint(("vn_entropy", "mutual_info"))
    if "purity is no expectation value" in text:
        return "purity" in kinds
    if case.front in ("dev.execute", "program") and case.executors[0] == "reference.qubit":
        return "no attribute 'astype'" in text or "only work with numpy data" in text
    if "Can't differentiate w.r.t." in text:  # samples that were pooled, from outside of PennyLane's boundary
        return case.front == "program" and case.splits
    if "no free wire for the auxiliary wire" in text:
        return case.method == "hadamard" and case.wires != "spare"
    if "JAX value" in text and case.interface.startswith("jax"):  # dictionaries cannot leave compiled functions
        return case.interface in ("jax-jit", "jax-vmap") and any(m.kind == "counts" for m in case.program.measurements)
    if _is_pennylanes_limit(case, text):
        return True
    at = [case.program.x]
    try:
        if "adjoint method computes those by parameters of gates only" in text:
            return not np.any(np.abs(_right_derivatives(case, at, 2)[1]) > 1e-6)
        if case.order == 2 and "of a circuit with several results" in text:
            return not np.any(np.abs(_right_derivatives(case, at, 1)[0]) > 1e-4)
    except NotDerivable:
        return True
    return False


def _is_pennylanes_limit(case: Case, text: str) -> bool:
    """Whether PennyLane's gradient transforms raise this for such a program on any device."""
    program = case.program
    entropies = any(one.kind in ("vn_entropy", "mutual_info") for one in program.measurements)
    if "circuits that return the state with the parameter-shift rule" in text:
        return entropies and (case.front == "program" or case.method == "best")
    if "does not support backprop with requested circuit" in text:
        return case.method == "backprop" and case.executors[0].startswith("process")
    if case.executors[0] == "rehearsal":  # a backend far away, which is given circuits and nothing else
        adjoint = case.method == "adjoint" and "does not support adjoint with requested circuit" in text
        tree = case.mcm_method == "tree-traversal" and "Postselection is not allowed on the device" in text
        return adjoint or (tree and _postselects(case))
    if "probability of what is postselected depends" in text:
        return _postselects(case)
    if "gradient of variances with the Hadamard test" in text:
        return case.method == "hadamard" and any(one.kind == "var" for one in program.measurements)
    return case.method == "hadamard" and "multiple measurements with partitioned shots" in text


def _is_of_other_basis(observable: Any) -> bool:
    return observable is not None and observable.kind in ("hermitian", "projector")


def _unnested(case: Case) -> Case:
    """The case with numbers in place of nested QNodes, and of all arguments beside them."""
    program = case.program
    steps = [
        replace(step, numbers=tuple(Number(number_of(one, program.x)) for one in step.numbers))
        if isinstance(step, Gate) and any(one.nested for one in step.numbers)
        else step
        for step in program.operations
    ]
    return case if program.batch is not None else replace(case, program=replace(program, operations=tuple(steps)))


# -- values


def _wrong(case: Case, answer: Answer, did: Counter[str]) -> list[tuple[str, str]]:
    """What is wrong with an answer, by theory."""
    wrong = []
    for x, value in answer.calls:
        try:
            wrong += [("value", text) for text in _wrong_values(case, x, value, did)]
        except NotDerivable:
            did["nothing left"] += 1
        except Exception as error:
            wrong.append(("unreadable", f"cannot be read ({type(error).__name__}: {error}): {str(value)[:200]}"))
    if case.front == "map" and answer.derivatives:
        x, found = answer.derivatives[0]
        wrong += _wrong_derivatives(case, [x, x + fronts.APART], found, did)
    else:
        for x, found in answer.derivatives:
            wrong += _wrong_derivatives(case, [x], found, did)
    return wrong


@lru_cache(maxsize=10)
def order_of_wires(case: Case) -> list[Any]:
    """All wires, in the order in which a measurement without wires has them.

    Without wires of the device, PennyLane takes 0 to n - 1 in order, and others as they are first used.
    """
    given = wires_of(case)
    if case.front == "execute" and case.executors[0] in ("hybrid", "rehearsal"):
        given = None  # one that was made before knows nothing of the cluster's wires
    if given is None and case.executors[0] in LEGACY and case.front in ("qelectron", "run_later", "map", "threads"):
        return list(case.program.names)  # those of the QNode's device, which has to have some
    if given is not None and case.front != "experiment":
        return given
    with qml.QueuingManager.stop_recording():
        tape = qml.tape.make_qscript(function(case.program))(case.program.x, case.program.c)
    used = list(qml.wires.Wires.all_wires([op.wires for op in tape.operations]))
    wires = [*used, *(wire for wire in tape.wires if wire not in used)]
    numbers = list(range(len(wires)))
    return numbers if set(used) == set(numbers[: len(used)]) and set(wires) == set(numbers) else wires


def _rights(case: Case, x: np.ndarray, c: np.ndarray | None = None) -> list[list[Right]]:
    """What is right: for each element of the batch, or the only one, for each measurement."""
    rows = [x] if case.program.batch is None else [x[:, index] for index in range(x.shape[1])]
    wires = tuple(order_of_wires(case))
    result = []
    for row in rows:
        state = state_of(case.program, tuple(row.tolist()), wires)
        if state.weight < PROJECTED:
            raise NotDerivable("almost nothing is left after postselection")
        result.append([state.right(one, case.program.c if c is None else c) for one in case.program.measurements])
    return result


def _accuracy(case: Case) -> float:
    return max(KINDS[name].accuracy for name in case.executors)


def _noisy(case: Case) -> float:
    return max(KINDS[name].noisy for name in case.executors)


def _wrong_values(case: Case, x: np.ndarray, value: Any, did: Counter[str]) -> list[str]:
    rights = _rights(case, x)
    program = case.program
    copies = _copies(case)
    bins = case.shots if isinstance(case.shots, tuple) else (case.total_shots,)
    parts = value if isinstance(case.shots, tuple) else (value,)
    if len(parts) != len(bins):
        return [f"{len(parts)} results for {len(bins)} numbers of shots"]
    wrong = []
    for shots, part in zip(bins, parts, strict=True):
        leaves = part if len(program.measurements) > 1 else (part,)
        if len(leaves) != len(program.measurements):
            wrong.append(f"{len(leaves)} results for {len(program.measurements)} measurements")
            continue
        for number, (measured, leaf) in enumerate(zip(program.measurements, leaves, strict=True)):
            # Some devices leave out a batch of one.
            single = program.batch is None or (program.batch == 1 and (np.ndim(leaf) == 0 or len(leaf) != 1))
            each = [leaf] if single else leaf
            if program.batch is not None and len(each) != program.batch:
                wrong.append(f"{len(each)} results of {measured.kind} for a batch of {program.batch}")
                continue
            for row, one in zip(rights, each, strict=True):
                wrong += _wrong_leaf(case, measured, row[number], one, shots, copies)
                did[measured.kind] += 1
    return wrong


def _copies(case: Case) -> int:
    """How many times the shots may be run: by every executor that can run a circuit which can be pooled."""
    split = dict(case.policy).get("split") if case.front != "experiment" else None
    if split != "multiplier":
        return 1
    return len(case.executors) ** (2 if case.front == "program" else 1)  # the device's own program comes once more


def _wrong_leaf(case: Case, measured: Any, right: Right, leaf: Any, shots: int, copies: int) -> list[str]:
    if not shots:
        found = compare.analytic(measured, right, leaf, _accuracy(case) if not _noisy(case) else 2 * _noisy(case))
    else:
        least = _least_left(shots, right.weight, _noisy(case)) if _postselects(case) else shots
        if not least and _is_nan(leaf):
            return []  # nothing is left, and PennyLane gives that forms of their own
        found = compare.sampled(measured, right, leaf, shots * copies, least, _noisy(case))
    return [] if found is None else [found]


def _is_nan(leaf: Any) -> bool:
    if isinstance(leaf, Mapping):
        return False
    return bool(np.all(np.isnan(compare.as_array(leaf).astype(float))))


def _least_left(shots: int, weight: float, noisy: float) -> int:
    """How many shots are left after postselection, at least, but for an improbable chance."""
    spread = np.sqrt(weight * max(1 - weight, 0.0))
    return max(0, int(shots * (weight - noisy - compare.off_by(shots, float(spread), 1.0))))


# -- derivatives


def _cost_by_theory(case: Case, x: np.ndarray, c: np.ndarray) -> float:
    total = 0.0
    for row in _rights(case, x, c):
        for number, (measured, right) in enumerate(zip(case.program.measurements, row, strict=True)):
            assert right.value is not None
            factors = fronts.weights(number, right.value.size if measured.kind == "probs" else 1)
            total += float((right.value.real * factors).sum())
    return total


def _hessian_by_theory(case: Case, x: np.ndarray) -> np.ndarray:
    """Of shape ``(arguments, arguments)``; for a batch of rows, one for each, along the last axis."""
    if case.program.batch is None:
        return hessian(lambda one: _cost_by_theory(case, one, case.program.c), x)
    single = replace(case, program=replace(case.program, batch=None))
    return np.stack([_hessian_by_theory(single, x[:, row]) for row in range(x.shape[1])], axis=-1)


def _wrong_derivatives(
    case: Case, at: Sequence[np.ndarray], found: tuple[np.ndarray, ...], did: Counter[str]
) -> list[tuple[str, str]]:
    try:
        right = _right_derivatives(case, at, len(found))
    except NotDerivable:
        did["no derivative"] += 1
        return []
    wrong = []
    for name, got, expected in zip("xc"[: len(found)], found, right, strict=True):
        got = np.asarray(got, dtype=float)
        if case.interface == "jax-vmap":  # row by row
            got = got.sum(axis=0) if name == "c" else np.moveaxis(got, 0, -1)
        if got.shape != np.shape(expected):
            wrong.append(("gradient", f"derivative by {name} has the shape {got.shape} for {np.shape(expected)}"))
            continue
        allowed = _allowed(case, name, len(at))
        did[f"derivative of order {case.order}"] += 1
        if not np.all(np.abs(got - expected) <= allowed * max(1.0, float(np.max(np.abs(expected), initial=0)))):
            texts = [np.array2string(one, precision=5).replace("\n", "") for one in (got, np.asarray(expected))]
            wrong.append(("gradient", f"derivative by {name} is {texts[0]} in place of {texts[1]} +- {allowed:.2g}"))
    return wrong


def _right_derivatives(case: Case, at: Sequence[np.ndarray], number: int) -> list[Any]:
    """The derivatives of the cost, summed over some arguments: the Hessian by x, or those by x and by c.

    Raises:
        NotDerivable: there is none.
    """
    c = case.program.c
    if case.order == 2:
        return [sum(_hessian_by_theory(case, x) for x in at)]
    right = [sum(derivative(lambda one: _cost_by_theory(case, one, c), x) for x in at)]
    if number > 1:
        right.append(sum(derivative(lambda one, x=x: _cost_by_theory(case, x, one), c) for x in at))
    return right


_USES = {"TrotterProduct": 8, "ApproxTimeEvolution": 4}


def _allowed(case: Case, name: str, calls: int) -> float:
    """How far a derivative may be from right: by rounding; or by chance, with a limit of the standard deviation.

    A parameter-shift derivative adds, for each use of a parameter, values with coefficients of which the squares add up
    to at most 1, each estimated anew. So does one by a coefficient: it is one estimate.
    """
    noisy = _noisy(case)
    exact = 50 * _accuracy(case) if case.order == 1 else 1000 * _accuracy(case)
    if case.method == "finite-diff":
        exact = max(exact, 1e-4 if _accuracy(case) < 1e-5 else 0.1)
    reach = sum(_reach(case, number) for number in range(len(case.program.measurements)))
    if noisy:
        exact += 2 * noisy * reach
    numbers = [
        (number.factor, _USES.get(step.name, 1))
        for step in case.program.operations
        if isinstance(step, Gate)
        for number in step.numbers
        if number.argument is not None
    ]
    if case.method in ("finite-diff", "spsa") and (case.total_shots or case.method == "spsa"):
        return exact + _allowed_by_differences(case, numbers, reach, calls)
    if not case.total_shots:
        return exact
    uses = sum(uses * factor**2 for factor, uses in numbers)
    spread = reach * np.sqrt(calls) * (np.sqrt(2 * uses) if name == "x" else 1)
    return exact + compare.off_by(_least_shots(case), float(spread), 2 * float(spread))


def _least_shots(case: Case) -> int:
    return min(case.shots) if isinstance(case.shots, tuple) else case.total_shots


def _allowed_by_differences(case: Case, numbers: Sequence[tuple[float, int]], reach: float, calls: int) -> float:
    """The same for differences over a step h: (f(p + h) - f(p - h)) / 2h for each number p of a gate.

    No function has a frequency above 2.3, so that they are off by at most 2 h**2 times its largest value. With
    spsa, all numbers are changed at once: the difference is that along a direction, which stands for the derivative by
    each number, and is off by those by all others.
    """
    step = fronts.STEP_WITH_SHOTS if case.total_shots else 1e-3
    weight = sum(abs(factor) * uses for factor, uses in numbers) + len(case.program.coefficients)
    allowed = weight * reach * 2 * step**2 * calls
    if case.method == "spsa":
        others = sum(uses for _, uses in numbers) + len(case.program.coefficients) - 1
        allowed += 2 * weight * 2 * reach * others * calls
    if case.total_shots:
        spread = weight * reach * np.sqrt(2 * calls) / (2 * step)
        allowed += compare.off_by(_least_shots(case), float(spread), 2 * float(spread))
    return float(allowed)


def _reach(case: Case, number: int) -> float:
    """The largest absolute value of a measurement, with its weight."""
    measured = case.program.measurements[number]
    weight = float(fronts.weights(number, 8).max())
    if measured.observable is None or not measured.observable.numbers:
        return weight * (4 if measured.kind == "var" else 1)
    c = case.program.c
    return weight * sum(
        abs(one.factor * (1 if one.argument is None else c[one.argument])) for one in measured.observable.numbers
    )


# -- forms, counts, independence


def _judge_form(case: Case, got: Answer, bare: Answer, verdict: Verdict) -> None:
    """The form is the bare device's; of several devices, or where there is none, only what their forms have in common.

    PennyLane's own devices do not agree on whether numbers are NumPy's or the interface's, where nothing is trained.
    """
    odd = (
        case.front in ("dev.execute", "program")
        or case.program.batch == 1
        or (case.executors[0] in LEGACY and case.wires == "none")
        or (case.executors[0] not in STRICT and case.program.mid_measures)
        or (case.program.batch and case.executors[0] == "reference.qubit" and isinstance(case.shots, tuple))
        or (_mixes(case) and any(one.kind == "state" for one in case.program.measurements))
        or (case.executors[0] in LEGACY and isinstance(case.shots, tuple))  # PennyLane squeezes these samples
        # PennyLane's tree traversal takes outcomes without shots for rows.
        or (case.mcm_method == "tree-traversal" and not case.total_shots and case.program.mid_measures)
    )
    if odd or case.front == "experiment" or _postselects(case) or dict(case.policy).get("split") == "multiplier":
        return
    strict = len(set(case.executors)) == 1 and case.executors[0] in STRICT
    ours, theirs = (compare.form(one.calls[0][1], strict) for one in (got, bare))
    if ours != theirs:
        verdict.finds.append(("form", f"the result is {ours} in place of {theirs}"))
    verdict.did["form"] += 1


def _mixes(case: Case) -> bool:
    """Whether a state may be a vector or a density matrix, by who runs the circuit."""
    return _noisy(case) > 0 or (len(set(case.executors)) > 1 and any("mixed" in name for name in case.executors))


def _postselects(case: Case) -> bool:
    return any(step.postselect is not None for step in case.program.mid_measures)


def _judge_counts(case: Case, got: Answer, bare: Answer, verdict: Verdict) -> None:
    """What was counted: the tracker as the bare device's, the history as the tracker."""
    if got.tracked is None or bare.tracked is None or case.front in ("threads", "map", "plain") or case.order:
        return
    sums = any(one.observable is not None and one.observable.numbers for one in case.program.measurements)
    if sums or case.executors[0] not in STRICT or case.splits or len(set(case.executors)) > 1:
        return  # the bare devices count what they run, and not all in the same way
    if not case.total_shots or case.interface.startswith("jax"):
        return
    ours, theirs = got.tracked.get("shots"), bare.tracked.get("shots")
    if case.front == "execute":  # has no tracker
        ours = got.recorded if case.program.batch and got.recorded else theirs
    if case.program.batch and ours is not None and theirs == ours * case.program.batch != ours:
        verdict.did["rows counted twice by the bare device"] += 1  # PennyLane's copies remember that they were many
    elif case.interface == "torch" and ours and theirs and ours > theirs and not ours % theirs:
        verdict.did["gradients with values"] += 1  # tensors that require gradients tell that one will be asked for
    elif ours != theirs and not case.program.mid_measures:
        verdict.finds.append(("tracker", f"shots: {ours} in place of {theirs}"))
    if got.recorded != ours and not case.program.mid_measures:
        verdict.finds.append(("history", f"{got.recorded} shots in the history, in place of {ours}"))
    verdict.did["counts"] += 1


def _judge_independence(case: Case, pool: Pool, verdict: Verdict) -> None:
    """Calls without a seed draw other shots: equal results where that is improbable are wrong."""
    if not case.total_shots or case.order or case.front in ("plain", "threads", "experiment", "map"):
        return
    if case.interface.startswith("jax") or case.program.mid_measures or case.program.batch or case.transform:
        return
    rights = _rights(case, case.program.x)[0]
    if any(m.kind in ("classical_shadow", "shadow_expval") for m in case.program.measurements):
        return
    shots = case.shots[0] if isinstance(case.shots, tuple) else case.total_shots
    chance = min(_collision(m, right, shots) for m, right in zip(case.program.measurements, rights, strict=True))
    needed = max(1, int(np.ceil(np.log(compare.IMPROBABLE) / np.log(chance)))) if 0 < chance < 0.9 else 99
    if needed > 7:
        return
    values = [fronts.ours(case, pool) for _ in range(needed + 1)]
    if len({_text(one) for one in values}) == 1:
        verdict.finds.append(("independence", f"{needed + 1} calls returned the same: {_text(values[0])[:200]}"))
    verdict.did["independence"] += 1


def _judge_shares(case: Case, got: Answer, verdict: Verdict) -> None:
    """Two shares of one circuit draw other shots."""
    split, number = dict(case.policy).get("split"), len(case.executors)
    single = len(case.program.measurements) == 1 and case.program.measurements[0].kind == "sample"
    if split is None or number < 2 or not single or case.front in ("experiment", "threads", "map"):
        return
    if case.program.mid_measures or case.program.batch or isinstance(case.shots, tuple):
        return
    samples = compare.as_array(got.calls[0][1])
    size = case.total_shots // (1 if split == "multiplier" else number)
    (right,) = _rights(case, case.program.x)[0]
    if _collision(case.program.measurements[0], right, size - 1) > compare.IMPROBABLE:
        return
    verdict.did["shares"] += 1
    for index in range(1, len(samples) - size + 2):  # wherever the second begins
        if np.array_equal(samples[: size - 1], samples[index : index + size - 1]):
            verdict.finds.append(("independence", f"{size - 1} samples come twice, {index} shots apart"))
            return


def _judge_seeds(case: Case, verdict: Verdict) -> None:
    """With seeds, clusters opened anew repeat what they return."""
    if (
        not case.seeds
        or case.front not in ("device", "execute", "qelectron")
        or case.order
        or case.interface != "numpy"
    ):
        return
    if dict(case.policy).get("selector") is not None:
        return
    texts = []
    for _ in range(2):
        fresh = Pool()
        texts.append(_text(fronts.ours(case, fresh)))
        fresh.close()
    verdict.did["seeds"] += 1
    if texts[0] != texts[1]:
        verdict.finds.append(("seeds", f"with seeds, {texts[0][:150]} and then {texts[1][:150]}"))


def _judge_mixture(case: Case, got: Answer, pool: Pool, verdict: Verdict) -> None:
    """A derivative over executors with and without noise is the one's or the other's, and no mixture of both."""
    kinds = list(dict.fromkeys(case.executors))
    if (
        not got.derivatives
        or len(kinds) < 2
        or not _noisy(case)
        or case.total_shots
        or case.front in ("threads", "map")
    ):
        return
    found = got.derivatives[0][1]
    others = []
    for _ in range(_LAYOUTS):
        alone = [fronts.ours(replace(case, executors=(kind,)), pool) for kind in kinds]
        if any(one.error is not None for one in alone):
            return
        others += [one.derivatives[0][1] for one in alone]
        if any(_close(found, one) for one in others):
            verdict.did["mixtures"] += 1
            return
        for kind in kinds:
            pool.forget(replace(case, executors=(kind,)))
    verdict.finds.append(("mixture", f"a derivative of {found} is none of {others}"))


_LAYOUTS = 12
"""So often is a circuit transpiled anew: Qiskit chooses among layouts by chance, and some are noisier than others."""


def _close(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return all(np.allclose(one, other, atol=1e-5) for one, other in zip(some, others, strict=True))


def _text(answer: Answer) -> str:
    """What an answer is, to the last shot."""
    if answer.error is not None:
        return str(answer.error)
    with np.printoptions(threshold=10**7):
        return str(answer.calls[0][1])


def _collision(measured: Any, right: Right, shots: int) -> float:
    """An upper limit of the probability that two calls return the same."""
    if measured.observable is not None and measured.observable.numbers:
        return 1.0
    if right.probabilities is None or right.values is None:
        return 1.0
    probabilities = right.probabilities
    if measured.kind == "sample":
        return float(np.sum(probabilities**2)) ** shots
    numbers = right.values if right.values.ndim == 1 else range(len(probabilities))
    by_value: dict[float, float] = {}
    for value, probability in zip(numbers, probabilities, strict=True):
        by_value[round(float(value), 6)] = by_value.get(round(float(value), 6), 0.0) + float(probability)
    largest = max(p * (1 - p) for p in by_value.values())
    return min(1.0, 1.1 / np.sqrt(2 * np.pi * shots * largest + 1e-9)) if shots * largest > 5 else 1.0

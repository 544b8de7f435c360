"""Does anything that a user can write return a wrong number? Programs drawn at random, judged by theory.

Usage: ``python benchmarks/differential.py [CASES] [--first NUMBER] [--progress FILE]``; stopped and started again with
the same file (if none is given, one in the folder for temporary files), it goes on. ``--case NUMBER`` (or a case as
Python) shows one; with ``--reduce``, a smaller one like it.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from answers import Answer, answer

EACH = 100


def judged(first: int) -> list[dict[str, Any]]:
    """Carry out some cases; returns a row for each."""
    import jax
    from differential.checking import check
    from differential.drawing import numbered
    from differential.kinds import Pool

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    jax.config.update("jax_enable_x64", True)
    pool, rows = Pool(), []
    for number in range(first, first + EACH):
        start = time.perf_counter()
        verdict = check(numbered(number), pool)
        rows.append(
            {
                "case": number,
                "finds": verdict.finds,
                "notes": verdict.notes,
                "compared": dict(verdict.did),
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
    pool.close()
    return rows


def carried_out(cases: int, first: int, progress: Path) -> Iterator[Answer]:
    """What was found in cases from a first one on, those of an earlier start included."""
    rows = [json.loads(line) for line in progress.read_text().splitlines()] if progress.exists() else []
    wanted = range(first, first + cases)
    rows = [row for row in rows if row["case"] in wanted]
    known = {row["case"] for row in rows}
    left = [number for number in wanted[::EACH] if not known.issuperset(range(number, number + EACH))]
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=10) as workers, progress.open("a") as file:
        for some in workers.imap_unordered(judged, left):
            rows += some
            file.writelines(json.dumps(row) + "\n" for row in some)
            file.flush()
            for row in some:
                for sort, text in row["finds"]:
                    print(f"\rcase {row['case']}, {sort}: {text}", file=sys.stderr)
            print(f"\r{len(rows):,} cases", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    yield Answer.of("cases carried out", len(rows), "cases", at_least=cases)
    yield Answer.of("cases with something wrong", sum(bool(row["finds"]) for row in rows), "cases", at_most=0)
    yield Answer.of("time", [row["seconds"] for row in rows], "seconds per case, in each process")
    compared: Counter[str] = Counter()
    for row in rows:
        compared.update(row["compared"])
    for what, number in compared.most_common():
        yield Answer.of(f"compared: {what}", number, "in all")


def show(text: str, smaller: bool) -> None:
    """Carry out one case, and say what is wrong."""
    import jax
    from differential.checking import check
    from differential.drawing import numbered
    from differential.kinds import Pool
    from differential.reducing import reduced
    from differential.showing import described, parsed

    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    pool, case = Pool(), numbered(int(text)) if text.isdecimal() else parsed(text)
    if smaller:
        case = reduced(case, pool)
    verdict = check(case, pool)
    print(described(case, verdict, int(text) if text.isdecimal() and not smaller else None))
    print(dict(verdict.did), *verdict.notes, sep="\n")
    pool.close()


def main() -> None:
    """Carry out many cases, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="?", type=int, default=30_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--progress", type=Path, default=Path(tempfile.gettempdir()) / "qexec-differential.jsonl")
    parser.add_argument("--case")
    parser.add_argument("--reduce", action="store_true")
    options = parser.parse_args()
    if options.case is not None:
        show(options.case, options.reduce)
        return
    answer("Programs drawn at random", lambda: carried_out(options.cases, options.first, options.progress))


if __name__ == "__main__":
    main()

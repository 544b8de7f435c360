"""Hostile input, made by hypothesis: texts of circuits, files, command lines and saved experiments."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "circuits" / "frameworks"))
from openqasm_texts import REFUSED, RUN

SECRET = "kittiwake-4711"
"""What is in the file that no input gives."""

_TEXTS = [*RUN.values(), *(text for text, _ in REFUSED.values())]

_SAID = (
    "OPENQASM 2.0; OPENQASM 3.0; include qreg creg qubit bit gate opaque if else for while break; continue; measure "
    "reset barrier U CX h x cx rx ctrl @ inv @ pow(2) @ let def input float[64] const int box switch end return "
    "q c q[0] c[0] q[9] a (pi) (1/0) (-1e308) ; { } ( ) [ ] , -> = == ++ ! ~ 0 1 99999999999999999999 0x7fffffff 1e9 "
    '"qelib1.inc" "stdgates.inc" /* */ // \n \0 \ud7ff é λ $0 #pragma 1.. .5 "'
)
_WORDS = _SAID.split(" ")


def _large(rng: random.Random, secret: Path) -> str:
    """What takes much, or wants what is not given, at the length of a line or a few pages."""
    times = rng.choice((3, 30, 300, 3000, 20_000))
    what: list[Callable[[], str]] = [
        lambda: "//\n" * times,
        lambda: "/**/" * times,
        lambda: "/* " * times,
        lambda: "rx(" + "-" * times + "1) q[0];",
        lambda: "rx(" + "(" * times + "1" + ")" * times + ") q[0];",
        lambda: "rx(" + "1^" * times + "1) q[0];",
        lambda: "rx(" + "sin(" * times + "1" + ")" * times + ") q[0];",
        lambda: "rx(" + "9" * times + ") q[0];",
        lambda: "x q[0];" * min(times, 3000),
        lambda: "h q;" * min(times, 3000),
        lambda: "{" * times,
        lambda: "if (c[0]) {" * min(times, 300) + "x q[0];" + "}" * min(times, 300),
        lambda: "if(c==1) " * times,
        lambda: "x q" + "[0" * times + "]" * times + ";",
        lambda: f"qreg big[{10 ** rng.randint(1, 30)}];",
        lambda: f"qubit[{10 ** rng.randint(1, 9)}*{times}] big;",
        lambda: f"bit[{10 ** rng.randint(1, 30)}] big;",
        lambda: f"for int i in [0:{10 ** rng.randint(1, 40)}] {{ x q[0]; }}",
        lambda: "for int i in [0:9] {" * min(times, 30) + "x q[0];" + "}" * min(times, 30),
        lambda: "while (!c[0]) { x q[0]; }",
        lambda: "".join(f"gate g{i} a {{ g{i - 1} a; g{i - 1} a; }} " for i in range(1, min(times, 60))) + "g9 q[0];",
        lambda: "".join(f"gate g{i} a {{ x a; }} " for i in range(min(times, 3000))),
        lambda: f'include "{secret}";',
        lambda: f'include "{secret.name}";',
        lambda: f'include "../{secret.parent.name}/{secret.name}";',
        lambda: 'include "/etc/passwd";',
        lambda: 'include "/dev/zero";',
        lambda: "pow(" + "9" * min(times, 60) + ") @ x q[0];",
        lambda: f"ctrl({times}) @ x q[0];",
        lambda: "ctrl @ " * times + "h q[0];",
        lambda: "barrier " + "q," * times + "q;",
        lambda: "\n" * times + "OPENQASM" + " " * times + "2.0",
    ]
    return rng.choice(what)()


def _mutated(rng: random.Random, text: str, secret: Path) -> str:
    parts = text.split(" ")
    for _ in range(rng.randint(0, 5)):
        place = rng.randrange(len(parts) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            parts.insert(place, rng.choice(_WORDS))
        elif kind == 1 and len(parts) > 1:
            del parts[place - 1]
        elif kind == 2:
            parts.insert(place, _large(rng, secret))
        elif kind == 3:
            other = rng.choice(_TEXTS).split(" ")
            parts[place:place] = other[: rng.randrange(len(other))]
        elif kind == 4 and parts:
            parts[place - 1] = parts[place - 1][: rng.randrange(len(parts[place - 1]) + 1)]
        else:
            parts.insert(place, chr(rng.choice((0, 9, 10, 27, 34, 127, 0x2028, 0x1F600, rng.randrange(0xD800)))))
    return " ".join(parts)


def openqasm(secret: Path) -> st.SearchStrategy[str]:
    """Texts of OpenQASM, most of them spoiled.

    Args:
        secret: a file that is not given, for texts to include.
    """
    spoiled = st.builds(
        lambda seed, text: _mutated(random.Random(seed), text, secret), st.integers(0, 2**32), st.sampled_from(_TEXTS)
    )
    words = st.lists(st.sampled_from(_WORDS), max_size=60).map(" ".join)
    return st.one_of(spoiled, spoiled, spoiled, words, st.text(max_size=200))


def files(secret: Path) -> st.SearchStrategy[bytes]:
    """What is in a file."""
    texts = openqasm(secret).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(texts, texts, texts, st.binary(max_size=300))


def command_lines(files: list[str]) -> st.SearchStrategy[list[str]]:
    """Arguments of ``qexec run``.

    Args:
        files: names to give as files, some of which are none.
    """
    option = st.one_of(
        st.sampled_from(["--json", "--processes-are-none", "--help", "-", "--", "", "--shots", "\x1b[31m"]),
        st.tuples(
            st.sampled_from(["--shots", "--seed", "--timeout", "--split", "--merge", "--reference", "--on-failure"]),
            st.sampled_from(["0", "-1", "7", "1e9", "nan", "inf", "", "none", "tvd", "partial", "9" * 30, "[red]x[/]"]),
        ).map(lambda pair: f"{pair[0]}={pair[1]}"),
        st.sampled_from(
            [
                "--backend=local_aer/aer_simulator",
                "--backend=local_pennylane/default.qubit",
                "--backend=local_aer/fake_manila",
                "--backend=nobody/nothing",
                "--backend=/",
            ]
        ),
    )
    return st.lists(st.one_of(st.sampled_from(files), option, option), max_size=5)


_PLAIN: dict[str, Any] = {
    "version": 1,
    "many": False,
    "dispatch": {
        "version": 1,
        "adds_up": True,
        "circuits": [{"framework": "qiskit", "openqasm": RUN["built in"]}],
        "jobs": [
            {
                "provider": "local_aer",
                "backend": "aer_simulator",
                "circuits": [0],
                "numbers": [0],
                "shots": [10],
                "config": {},
            }
        ],
    },
    "merge": "aggregate",
    "merge_data": None,
    "records": [
        {
            "job": 0,
            "circuit": 0,
            "provider": "local_aer",
            "backend": "aer_simulator",
            "shots": 10,
            "state": "done",
            "result": {"00": 6, "11": 4},
            "submitted": 1.0,
            "started": 1.0,
            "finished": 2.0,
            "seconds": 1.0,
            "cost": 0.0,
            "attempt": 1,
            "error": None,
            "instead_of": None,
        }
    ],
    "merged": {"00": 6, "11": 4},
}

_ODD = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 2**70, 1.5, float("nan"), float("inf"), "", "done", "x", [], {}, [[]], {"": 0}]
    ),
    st.text(max_size=20),
    st.integers(),
    st.just({"00": -3}),
    st.just({"dict": [[1]]}),
    st.just({"array": {}}),
)


def saved(secret: Path) -> st.SearchStrategy[str]:
    """JSON of saved experiments, most of it spoiled."""
    return st.builds(_spoiled, st.integers(0, 2**32), st.lists(_ODD, min_size=4, max_size=4), openqasm(secret))


def _spoiled(seed: int, odd: list[Any], text: str) -> str:
    rng = random.Random(seed)
    document = json.loads(json.dumps(_PLAIN))
    if rng.random() < 0.5:
        document["dispatch"]["circuits"][0]["openqasm"] = text
    for value in odd[: rng.randint(0, len(odd))]:
        _put(rng, document, value)
    written = json.dumps(document)
    kind = rng.randrange(12)
    if kind == 0:
        return written[: rng.randrange(len(written))]
    if kind == 1:
        return "[" * rng.choice((10, 1000, 100_000)) + written
    return text if kind == 2 else written


def _put(rng: random.Random, document: Any, value: Any) -> None:
    """Put a value somewhere in a document, or take out what is there."""
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        key = rng.choice(keys) if keys else None
        if key is None:
            return
        inner = document[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
            break
        document = inner
    if rng.random() < 0.2:
        del document[key]
    else:
        document[key] = deepcopy(value)


_SAID_OF_JOBS = (
    "id run number key circuit executor backend shots attempt state worker remote_id remote_index submitted started "
    "finished seconds cost error result claim circuits"
)
_COLUMNS = {
    "qexec_jobs": _SAID_OF_JOBS.split(" "),
    "qexec_runs": ["id", "name", "created", "opened", "seed", "argv", "versions", "finished", "concurrent"],
    "qexec_circuits": ["digest", "text"],
    "qexec_workers": ["id", "beat", "lease"],
    "qexec_cache": ["key", "result", "bytes", "created", "used", "uses", "turn"],
    "qexec_version": ["version_num"],
}

_WRONG: list[Any] = [
    *("", "done", "waiting", "sent", "sending", "claimed", "failed", "cancelled", "vqe", "[]", "[1]", "0003", "x/1/y"),
    *("\x1b]0;x\x07", "[red]", "\u202e", "[" * 100_000, "9" * 5000, "nan", "{", b"", b"\xff", b"done", None),
    *(-1, 0, 1, 2, 3, 20, -(2**63), 2**63 - 1, 0.5, -0.5, 1e300, -1e300, float("inf"), float("nan")),
    *(
        f'{{"format": "result", "version": 1, "result": {form}}}'
        for form in ('{"array": [1], "dtype": "S1000000000"}', "NaN", "-1e999", "[0.1, 0.2]", "null", '"0.3"')
    ),
]


def store_changes() -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Statements that change a few values of a store, each with a value; some change the tables themselves."""
    return st.binary(min_size=8, max_size=8).map(_changes)


def _changes(seed: bytes) -> list[tuple[str, Any]]:
    rng = random.Random(seed)
    return [_change(rng, rng.choice(_WRONG)) for _ in range(rng.choice((1, 1, 2, 4)))]


def _change(rng: random.Random, value: Any) -> tuple[str, Any]:
    table = rng.choice(["qexec_jobs", "qexec_jobs", "qexec_runs", *_COLUMNS])
    column, where = rng.choice(_COLUMNS[table]), rng.choice(["", f" WHERE rowid = {rng.randint(1, 3)}"])
    if rng.random() < 0.9:
        return f"UPDATE {table} SET {column} = ?{where}", value
    statements = [f"DELETE FROM {table}", f"DROP TABLE {table}", f"ALTER TABLE {table} DROP COLUMN {column}"]
    return rng.choice([*statements, f"ALTER TABLE {table} RENAME COLUMN {column} TO other"]), None

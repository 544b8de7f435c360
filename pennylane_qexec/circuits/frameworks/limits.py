"""What a text of OpenQASM asks for and includes, found before anything parses it.

Parsers of OpenQASM trust their input: long rows of comments or signs end the program, a line can ask for all the
memory, and a dozen definitions for as many gates as nobody has time for. Everything here takes time in proportion to
the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path

from pennylane_qexec.circuits.frameworks.builder import MOST_OPERATIONS
from pennylane_qexec.concurrency.files import MOST_OF_CIRCUIT, content_of
from pennylane_qexec.errors import ConfigurationError

MOST_TOKENS = {2: 2_000_000, 3: 100_000}
"""The most words, numbers and signs, by version: Qiskit's parser of version 3 takes 0.1 ms for each."""

MOST_BITS = 10_000
"""The most qubits and classical bits together."""

MOST_DEFINITIONS = 5_000
"""The most definitions of gates, for which Qiskit's time grows with the square."""

DEEPEST = 400
"""How many brackets and operators there may be within each other."""

_PER_DEFINITION = 4
"""What it costs to look a gate's definition up, in operations."""

_LARGEST_TURN = 10**9
"""The largest number that a loop runs over: from ``2**63`` on, Qiskit never comes to an end."""

_SHORT = 100_000

_MOST_CONTROLS = 5
"""The most ``ctrl @`` in a row: for seven, Qiskit takes a minute."""

_WIDEST_POWER = 8
"""The most qubits of a gate with ``pow``."""

LONGEST_NUMBER = 64
"""The most digits of a number."""

# No alternative can fail after it has matched a part, so that no character is looked at more than a few times.
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*(?:[^*]++|\*(?!/))*+(?:\*/)?)
    |(?P<text>"[^"]*"?|'[^']*'?)
    |(?P<number>[0-9][0-9A-Za-z_]*(?:\.[0-9A-Za-z_]*)?|\.[0-9][0-9A-Za-z_]*)
    |(?P<word>[^\W0-9]\w*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)

_OPENING, _CLOSING, _OPERATORS = frozenset("([{"), frozenset(")]}"), frozenset("+-*/%^~!&|<>=")
_REGISTERS = {2: frozenset({"qreg", "creg"}), 3: frozenset({"qreg", "creg", "qubit", "bit"})}
_BEFORE = frozenset({"input", "output", "const"})
_HEADS = frozenset({"if", "for", "while", "else", "switch", "case", "box"})


@dataclass
class Outline:
    """A text of OpenQASM in its parts.

    Attributes:
        tokens: words, numbers and signs, without comments.
        places: for each token, where it begins.
        version: what the text says: 2 or 3, another number, or ``None`` if it says nothing.
    """

    tokens: list[str]
    places: list[int]
    version: int | None


@dataclass
class _Sizes:
    """How much a text asks for."""

    version: int
    bits: int = 0
    operations: int = 0
    definitions: int = 0
    registers: dict[str, int] = field(default_factory=dict)
    gates: dict[str, int] = field(default_factory=dict)
    gate: str | None = None
    blocks: int = 0


def outline_of(text: str) -> Outline:
    """Take a text apart; a short one that has been taken apart lately is not taken apart again.

    Raises:
        ConfigurationError: it is too long, or a comment in it has no end.
    """
    if len(text) > MOST_OF_CIRCUIT:
        raise ConfigurationError(
            f"a text of {len(text):,} characters: OpenQASM is read up to {MOST_OF_CIRCUIT:,}. Give it in parts."
        )
    return _short_outline(text) if len(text) < _SHORT else _outline(text)


def _outline(text: str) -> Outline:
    tokens, places = [], []
    for found in _TOKEN.finditer(text):
        if found.lastgroup != "space":
            tokens.append(found[0])
            places.append(found.start())
        elif found[0].startswith("/*") and not found[0].endswith("*/", 2):
            # The parser of version 3 would look for the end from each "/*" in it anew, up to the end of the text.
            raise ConfigurationError("OpenQASM in which a comment begins with /* and does not end: end it with */.")
    version = None
    if tokens[:1] == ["OPENQASM"] and len(tokens) > 2 and tokens[2] == ";":
        number = tokens[1].partition(".")[0]
        version = int(number) if number.isdecimal() and len(number) < 3 else 0
    return Outline(tokens, places, version)


_short_outline = lru_cache(maxsize=16)(_outline)


def without_comments(text: str) -> str:
    """The text with blanks in place of comments, so that what is behind them stands where it stood."""
    if "//" not in text and "/*" not in text:
        return text
    return _TOKEN.sub(lambda found: re.sub(".", " ", found[0]) if found[0][:2] in ("//", "/*") else found[0], text)


def includes(outline: Outline) -> Iterator[tuple[str, int, int]]:
    """The files that a text includes, each with where its statement begins and ends."""
    tokens, places = outline.tokens, outline.places
    for index in range(len(tokens) - 2):
        if tokens[index] == "include" and tokens[index + 1][0] in "\"'":
            end = places[index + 2] + 1 if tokens[index + 2] == ";" else places[index + 1] + len(tokens[index + 1])
            yield tokens[index + 1][1:-1], places[index], end


def check(outline: Outline, version: int) -> None:
    """See that a text can be parsed in a few seconds, with little memory.

    Raises:
        ConfigurationError: it is too large, says what is too large.
    """
    most = MOST_TOKENS[version]
    if len(outline.tokens) > most:
        raise ConfigurationError(
            f"OpenQASM {version} of {len(outline.tokens):,} words and signs is read up to {most:,}. "
            + ("Give it in version 2, or as a circuit of Qiskit." if version == 3 else "Give it in parts.")
        )
    _check_depth(outline.tokens)
    sizes = _Sizes(version)
    statement: list[str] = []
    depth = 0
    for token in outline.tokens:
        depth += (token in "([") - (token in ")]")
        if token == ";" or (token in "{}" and depth <= 0):
            _note(statement, token, sizes)
            statement = []
        else:
            statement.append(token)
    _note(statement, ";", sizes)


def _check_depth(tokens: list[str]) -> None:
    """What parsers do by calling themselves: brackets, and signs in a row, all that are open at a time."""
    within = [0]
    total = 0
    for token in tokens:
        if token in _OPERATORS:
            within[-1] += 1
            total += 1
        elif token in _OPENING:
            within.append(1)
            total += 1
        elif token in _CLOSING and len(within) > 1:
            total -= within.pop()
        elif token in ";,":
            total -= within[-1] - (len(within) > 1)
            within[-1] = int(len(within) > 1)
        elif len(token) > LONGEST_NUMBER and token[0].isdecimal():
            raise ConfigurationError(f"a number of {len(token)} digits, {token[:12]}...: at most {LONGEST_NUMBER}.")
        if total > DEEPEST:
            raise ConfigurationError(
                f"OpenQASM with more than {DEEPEST} brackets and operators within each other: write it out in steps."
            )


def _note(statement: list[str], end: str, sizes: _Sizes) -> None:
    """Take in a statement, up to its ``;``, or up to a bracket of a block."""
    start = int(sizes.version == 3 and statement[:1] != [] and statement[0] in _BEFORE)
    if statement[:1] == ["gate"] and end == "{":
        sizes.definitions += 1
        sizes.gate, sizes.blocks = statement[1] if len(statement) > 1 else "", 0
        sizes.gates[sizes.gate] = 0
        if sizes.definitions > MOST_DEFINITIONS:
            raise ConfigurationError(
                f"more than {MOST_DEFINITIONS:,} definitions of gates: write the gates themselves."
            )
    elif _REGISTERS[sizes.version].intersection(statement[start : start + 1]):
        _note_register(statement[start:], sizes)
    else:
        _note_use(statement, sizes)
    sizes.blocks += (end == "{") - (end == "}")
    if end == "}" and sizes.blocks <= 0:
        sizes.gate = None


def _note_register(statement: list[str], sizes: _Sizes) -> None:
    """``qreg q[3]`` and ``creg c[3]``, ``qubit[3] q`` and ``bit[3] c = ...``."""
    size, name = 1, statement[1] if len(statement) > 1 else ""
    if "[" in statement[:4]:
        start = statement.index("[")
        end = statement.index("]", start) if "]" in statement[start:] else len(statement)
        size = prod(map(_whole, statement[start + 1 : end]))  # of 2 * 3; parsers know no other ways to become large
        name = statement[end + 1] if start == 1 and len(statement) > end + 1 else name
    sizes.bits += size
    sizes.registers[name] = size
    if sizes.bits > MOST_BITS:
        raise ConfigurationError(
            f"{' '.join(statement[:8])!r}: a circuit of more than {MOST_BITS:,} qubits and bits is too large for every "
            "backend. Take fewer."
        )
    if "=" in statement:
        _add(size, sizes)


def _whole(token: str) -> int:
    """The number that a token is, at least 1."""
    try:
        return max(1, int(token.replace("_", ""), 0 if token[:1] == "0" and not token.isdecimal() else 10))
    except ValueError:
        return 1


def _note_use(statement: list[str], sizes: _Sizes) -> None:
    """A gate, a measurement, a reset: as many operations as its definition has, for each qubit of whole registers."""
    if not statement:
        return
    if "for" in statement and max(map(_whole, statement)) > _LARGEST_TURN:
        raise ConfigurationError(f"{' '.join(statement)!r:.80}: a loop over numbers of more than 9 digits. Take fewer.")
    times = 1
    if "@" in statement:
        end = len(statement) - statement[::-1].index("@")
        times, statement = _modified(statement[:end], statement[end:]), statement[end:]
    elif statement[0] in _HEADS:
        statement = statement[_behind_brackets(statement) :]
    if not statement:
        return
    known = [sizes.registers[word] for word in statement if word in sizes.registers] if sizes.gate is None else []
    whole = any(  # but for one with "[3]" or "[i]" behind it, which is one qubit
        word in sizes.registers and statement[index + 1 : index + 4 : 2] != ["[", "]"]
        for index, word in enumerate(statement)
    )
    defined = sizes.gates.get(statement[0])
    cost = times * (1 if defined is None else defined + _PER_DEFINITION)
    _add(cost * (max(known, default=1) if whole else 1), sizes)


def _modified(modifiers: list[str], statement: list[str]) -> int:
    """How many times as long Qiskit takes for a gate with modifiers: for each control ten times, as was measured.

    For ``pow`` it makes a matrix of all qubits of the gate.

    Raises:
        ConfigurationError: that is too long.
    """
    controls = sum(word in ("ctrl", "negctrl") for word in modifiers)
    qubits = 1 + statement[_behind_brackets(statement) if "(" in statement[:2] else 0 :].count(",")
    if controls > _MOST_CONTROLS:
        raise ConfigurationError(f"{controls} controls of one gate, one by one: write ctrl({controls}) @.")
    if "pow" in modifiers and qubits > _WIDEST_POWER:
        raise ConfigurationError(f"a power of a gate of {qubits} qubits: at most {_WIDEST_POWER}. Write the gates.")
    return int(10**controls * (4**qubits if "pow" in modifiers else 1))


def _behind_brackets(statement: list[str]) -> int:
    """Where the brackets end that follow a word such as ``if``."""
    depth = 0
    for index, token in enumerate(statement):
        depth += (token in "([") - (token in ")]")
        if token in ")]" and not depth:
            return index + 1
    return 1


def _add(operations: int, sizes: _Sizes) -> None:
    if sizes.gate is not None:
        sizes.gates[sizes.gate] += operations
    else:
        sizes.operations += operations
    if max(operations, sizes.operations, sizes.gates.get(sizes.gate or "", 0)) > MOST_OPERATIONS:
        raise ConfigurationError(
            f"a circuit of more than {MOST_OPERATIONS:,} operations, those of definitions as often as they occur: give "
            "it in parts."
        )


# Files

STANDARD = ("qelib1.inc", "stdgates.inc")
"""What every reader of OpenQASM has."""

_DEEPEST = 20


def text_of(path: Path) -> str:
    """The OpenQASM in a file, with the files below its folder that it includes.

    Raises:
        ConfigurationError: a file cannot be read, is none of that kind, or is not below the folder.
    """
    return with_includes(_read(path), path.parent)


def with_includes(text: str, folder: Path | None) -> str:
    """A text, with the content of the files that it includes in place of that.

    Args:
        text: OpenQASM.
        folder: where the files are, or folders with them; ``None`` if none may be read.

    Raises:
        ConfigurationError: it includes what may not be read, or cannot be.
    """
    return _joined(text, folder, folder, [])


def _joined(text: str, top: Path | None, here: Path | None, around: list[Path]) -> str:
    parts, start = [], 0
    for name, begin, end in includes(outline_of(text)):
        if name in STANDARD:
            continue
        if top is None or here is None:
            raise ConfigurationError(
                f"the circuit includes {name!r}: no file is read for a text. Give the file as pathlib.Path(...), or "
                "write what is in there into the circuit."
            )
        path = _below(top, here, name)
        if path in around or len(around) >= _DEEPEST:
            raise ConfigurationError(f"include {name!r}: the file includes itself. Take that out.")
        parts += [text[start:begin], _joined(_read(path), top, path.parent, [*around, path])]
        start = end
        if sum(map(len, parts)) > MOST_OF_CIRCUIT:
            raise ConfigurationError(
                f"a circuit with includes of more than {MOST_OF_CIRCUIT:,} characters: give parts."
            )
    return "".join([*parts, text[start:]])


def _below(top: Path, here: Path, name: str) -> Path:
    """A file by its name, if that leads to one below a folder, links followed."""
    try:
        path = (here / name).resolve()
        if path.is_relative_to(top.resolve()):
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise ConfigurationError(
        f"include {name!r}: only the standard libraries and files below the folder of the circuit's file are read."
    )


def _read(path: Path) -> str:
    try:
        return content_of(path, MOST_OF_CIRCUIT).decode("utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be read: {error.strerror or error}. Give a file of OpenQASM."
        ) from None
    except UnicodeDecodeError:  # whose words quote the file
        raise ConfigurationError(f"{str(path)!r} cannot be read: it is no text. Give a file of OpenQASM.") from None

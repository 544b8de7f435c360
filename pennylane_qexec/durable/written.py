"""What is written of a job: its circuit as text, and what tells it from others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from pennylane.tape import QuantumScript

from pennylane_qexec.engine import Spreader
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.fingerprint import fingerprint
from pennylane_qexec.job import Job
from pennylane_qexec.written import circuit_text, circuit_texts, result_text

UNWRITTEN = "unwritten:"
"""How the text begins of a circuit that cannot be written: its fingerprint follows."""


class Written(NamedTuple):
    """A job as it is written.

    Attributes:
        key: equal for jobs that ask for the same.
        digest: of the circuit's text.
        text: the circuit.
    """

    key: str
    digest: str
    text: str


def is_recorded(job: Job) -> bool:
    """Whether a job is recorded.

    Backpropagation records what the simulator computes, so that it is computed again. And what a cluster hands on to
    another one is recorded there.
    """
    return not isinstance(job.executor, Spreader) and not (
        job.call.bound and job.call.config.gradient_method == "backprop"
    )


def written(jobs: Sequence[Job]) -> list[Written]:
    """Jobs as they are written.

    Raises:
        ConfigurationError: one of the circuits contains something that cannot be compared with anything.
    """
    return list(map(_written, jobs, _texts([job.circuit for job in jobs])))


def _written(job: Job, text: str) -> Written:
    digest = digest_of(text)
    method = job.call.method
    if method == "execute":
        return Written(digest, digest, text)
    vector = "" if job.vector is None else result_text(job.vector)
    return Written(digest_of("\n".join((method, digest, vector))), digest, text)


def _texts(circuits: Sequence[QuantumScript]) -> list[str]:
    try:
        return circuit_texts(circuits)
    except ConfigurationError:  # of one of them
        return list(map(_text, circuits))


def _text(circuit: QuantumScript) -> str:
    try:
        return circuit_text(circuit)
    except ConfigurationError as refused:
        try:
            return UNWRITTEN + fingerprint(circuit)
        except TypeError as error:
            raise ConfigurationError(
                f"a circuit cannot be recorded in a durable run: {error} Leave that out, or run it outside of the run."
            ) from refused


def digest_of(text: str) -> str:
    """What tells a text from others."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def first_number(call: str, occurrence: int) -> int:
    """The number of the first job of a call, by which executors with a seed draw its shots; the others follow it.

    It is determined by what is asked, and how often that was asked before: not by the order of different things, which
    several threads may ask for in any. In a row, since some simulators are faster with numbers in a row.

    Args:
        call: digest of the keys of its jobs.
        occurrence: how many such calls the run had before.

    Returns:
        At least 0 and below 2**62.
    """
    digest = hashlib.blake2b(f"{call}/{occurrence}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2

"""Keys: what a result follows from, as a digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

from pennylane.tape import QuantumScript

from pennylane_qexec.cache.contents import digest_of
from pennylane_qexec.cache.values import copied
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.identity import version
from pennylane_qexec.fingerprint import content
from pennylane_qexec.job import Call, Job

_FORM = "1"
"""Counts up when what keys are made of changes."""


class Keys:
    """Makes the keys of the circuits that are asked for together.

    Equal circuits with shots that are asked for together are different measurements: the first of them has one key in
    every such call, the second another one. In a durable run each number has its own.

    Args:
        identities: those of the executors whose results may be cached.
        shots: whether samples that nothing repeats may be cached too.
    """

    def __init__(self, identities: Mapping[Executor, str], shots: bool) -> None:
        self._identities = identities
        self._shots = shots
        self._calls: dict[int, tuple[Call, bytes | None]] = {}
        self._counts: Counter[bytes] = Counter()

    def of(self, job: Job) -> dict[str, str]:
        """The keys of a job by the names of the executors that may run it; none for those whose result is not kept."""
        call = self._call(job.call)
        if call is None:
            return {}
        keys = {}
        for executor in self._identities if job.executor is None else (job.executor,):
            try:
                key = self._key(job, executor, call)
            except Exception:  # whatever an interface's numbers do when they are looked at: the circuit can still run
                key = None
            if key is not None:
                keys[executor.name] = key
        return keys

    def _key(self, job: Job, executor: Executor, call: bytes) -> str | None:
        identity = self._identities.get(executor)
        if identity is None:
            return None
        circuit = executor.with_shots(job.circuit)
        if not executor.repeats(circuit) and not (self._shots and circuit.shots):
            return None
        found = digest_of(circuit)
        if found is None:
            return None
        digest = blake2b(f"{identity}\n{_more(job, executor, circuit)}".encode(), digest_size=24)
        digest.update(call)
        digest.update(found)
        if circuit.shots:
            digest.update(self._which(digest.digest(), job.number).encode())
        return digest.hexdigest()

    def _which(self, measured: bytes, number: int | None) -> str:
        """Which of the measurements of one circuit it is: in a durable run the one of its number, which draws it."""
        if number is not None:
            return f"number {number}"
        self._counts[measured] += 1
        return str(self._counts[measured])

    def _call(self, call: Call) -> bytes | None:
        """The digest of a call; ``None`` for one whose results cannot be kept."""
        if id(call) not in self._calls:
            self._calls[id(call)] = call, _digest_of_call(call)
        return self._calls[id(call)][1]


def _more(job: Job, executor: Executor, circuit: QuantumScript) -> str:
    """What else a result depends on: the member that runs it, what is differentiated, what that is multiplied by."""
    place = executor.place(circuit, job.call) if executor.members else ""
    if job.call.method == "execute":
        return place
    vector = None if job.vector is None else content(copied(job.vector)).digest
    return f"{place}\n{list(map(int, circuit.trainable_params))}\n{vector}"


def _digest_of_call(call: Call) -> bytes | None:
    """What of a call makes a difference; for backpropagation, also with which library's numbers it is computed."""
    config, measuring = call.config, call.config.mcm_config
    parts = [_FORM, version("pennylane"), version("pennylane-qexec"), call.method, call.bound]
    parts += [measuring.mcm_method, measuring.postselect_mode]
    if config.gradient_method == "backprop":
        parts += [config.interface, config.convert_to_numpy]
    if call.method != "execute":
        if config.gradient_keyword_arguments:
            return None
        parts += [config.gradient_method, config.derivative_order]
    return "\n".join(map(str, parts)).encode()

"""What a job may ask of a program: cheap checks of its parameters, before it is accepted."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.server.catalogue import PublishedBackend

CIRCUITS = "circuits"
"""The program of our own circuits and sweeps."""

PRIMITIVES = ("sampler", "estimator")
"""The programs that have PUBs."""

EXECUTOR = "executor"
"""The program of IBM's newer clients: quantum programs."""

PROGRAMS = (*PRIMITIVES, EXECUTOR, CIRCUITS)
"""The programs of a server."""

_FEW, _SHORT, _SHOTS = 20, 20_000, 10_000
"""The most PUBs, characters of their circuits and arrays, and shots of a PUB, of a job that may run with others."""

_LARGEST_SEED = 2**63 - 1

_ADVICE = "Leave it out: the server's simulators cannot do it."

Check = Callable[[str, Any], None]


def check_params(program: str, params: Mapping[str, Any]) -> None:
    """Refuse what no program here can do, without decoding the payload.

    Args:
        program: that the job asks for.
        params: of the job, as they came.

    Raises:
        ConfigurationError: there is no such program, or an option that it cannot honour; which, and what to do.
    """
    if program == "noise-learner":
        raise ConfigurationError(
            "the program 'noise-learner' learns the noise of a QPU, and this server has simulators: take the noise of "
            "the backend from its properties."
        )
    if program not in PROGRAMS:
        raise ConfigurationError(unknown("program", program, PROGRAMS))
    if not isinstance(params, Mapping):
        raise ConfigurationError("the payload must be a JSON object.")
    if program == CIRCUITS:
        _check_circuits(params)
    elif program == EXECUTOR:
        _check_executor(params)
    else:
        _check_primitive(program, params)


def coalescing_key(program: str, backend: PublishedBackend, params: Mapping[str, Any]) -> str | None:
    """What jobs have in common that may run as one, with independent shots.

    Args:
        program: that the job asks for.
        backend: that it names.
        params: of the job, which :func:`check_params` has taken.

    Returns:
        A key; ``None`` if the job has a seed, is large, or is of a program whose jobs run alone.
    """
    options = params.get("options") or {}
    seeds = ((options.get("simulator") or {}).get("seed_simulator"), options.get("seed_estimator"))
    if program not in PRIMITIVES or any(seed is not None for seed in seeds):
        return None
    pubs = params["pubs"]
    if len(pubs) > _FEW or sum(map(_size, pubs)) > _SHORT or any(_shots(pub, options) > _SHOTS for pub in pubs):
        return None
    said = json.dumps([program, backend.name, options], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _size(pub: Sequence[Any]) -> int:
    """Characters of a PUB's circuit and arrays."""
    values = (part.get("__value__") for part in pub if isinstance(part, Mapping))
    return sum(len(value) for value in values if isinstance(value, str))


def _shots(pub: Sequence[Any], options: Mapping[str, Any]) -> float:
    """Of one circuit: a sampler's PUB ends with shots, an estimator's with a precision."""
    last = pub[-1] if len(pub) > 2 else None
    if isinstance(last, int):
        return last
    if isinstance(last, float):
        return 1 / last**2 if last > 0 else math.inf
    return options.get("default_shots") or (options.get("default_precision") or 1) ** -2


# Samplers and estimators


def _any(name: str, value: Any) -> None:
    """Whatever it is, results are the same."""


def _only(*allowed: Any) -> Check:
    def check(name: str, value: Any) -> None:
        if value is not None and value not in allowed:
            raise ConfigurationError(f"the option {name}={value!r} cannot be honoured. {_ADVICE}")

    return check


def _seed(name: str, value: Any) -> None:
    _number(0, whole=True)(name, value)
    if value is not None and value > _LARGEST_SEED:
        raise ConfigurationError(
            f"the option {name}={value!r} must be at most {_LARGEST_SEED}: Aer takes no other seed."
        )


def _number(least: float, whole: bool) -> Check:
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    what = "a whole number" if whole else "a number"

    def check(name: str, value: Any) -> None:
        if value is None:
            return
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not isinstance(value, kinds)
            or value < least
        ):
            raise ConfigurationError(f"the option {name}={value!r} must be {what} of at least {least:g}.")

    return check


def _nothing(name: str, value: Any) -> None:
    """An option, or a group of options, of which nothing may be switched on."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            _nothing(f"{name}.{key}", one)
    elif value not in (None, False, [], "", 0) and name.rpartition(".")[2] in _SWITCHES:
        raise ConfigurationError(f"the option {name}={value!r} cannot be honoured. {_ADVICE}")


_SWITCHES = frozenset(
    ("enable", "enable_gates", "enable_measure", "measure_mitigation", "zne_mitigation", "pec_mitigation")
)
"""What switches something on; all beside it only says how."""

_COMMON: Mapping[str, Any] = {
    "default_shots": _number(1, whole=True),
    "dynamical_decoupling": _nothing,
    "twirling": _nothing,
    "execution": {"init_qubits": _only(True), "rep_delay": _any, "meas_type": _only("classified")},
    "simulator": {
        "seed_simulator": _seed,
        "noise_model": _any,
        "coupling_map": _only(),
        "basis_gates": _only(),
    },
    "environment": _any,
    "max_execution_time": _any,
}

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "sampler": _COMMON,
    "estimator": {
        **_COMMON,
        "default_precision": _number(0, whole=False),
        "seed_estimator": _seed,
        "resilience_level": _only(0),
        "resilience": _nothing,
    },
    EXECUTOR: {
        "init_qubits": _only(True),
        "rep_delay": _any,
        "scheduler_timing": _only(False),
        "stretch_values": _only(False),
        "experimental": {"seed_simulator": _number(0, whole=True)},
    },
}


def _check_primitive(program: str, params: Mapping[str, Any]) -> None:
    if params.get("version", 2) != 2:
        raise ConfigurationError(f"version {params['version']!r} of the {program} is not there: take version 2.")
    pubs = params.get("pubs")
    if isinstance(pubs, str) or not isinstance(pubs, Sequence) or not pubs:
        raise ConfigurationError(f"the {program} has no 'pubs': give a list of at least one.")
    if wrong := [number for number, pub in enumerate(pubs) if not isinstance(pub, list) or not pub]:
        raise ConfigurationError(f"PUB {wrong[0]} of the {program} must be a list that begins with a circuit.")
    _only(0)("resilience_level", params.get("resilience_level"))
    _check_all_options(program, params.get("options"))


def _check_all_options(program: str, options: Any) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise ConfigurationError(f"the options of the {program} must be an object, and are {options!r:.200}.")
    _check_options("", options or {}, _OPTIONS[program])


def _check_options(group: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in given.items():
        name = f"{group}{key}"
        check = known.get(key)
        if check is None:
            if value not in (None, {}, []):
                raise ConfigurationError(f"the option {name!r} is not known here. {_ADVICE}")
        elif not isinstance(check, Mapping):
            check(name, value)
        elif isinstance(value, Mapping):
            _check_options(f"{name}.", value, check)
        elif value is not None:
            raise ConfigurationError(f"the option {name} must be an object, and is {value!r:.200}.")


# Others


def _check_circuits(params: Mapping[str, Any]) -> None:
    parts = params.get("parts")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
        raise ConfigurationError("'parts' must be a list of texts, of at least one circuit or sweep.")


_SCHEMA = "v2.0"


def _check_executor(params: Mapping[str, Any]) -> None:
    program, version = params.get("quantum_program"), params.get("schema_version")
    if not isinstance(program, Mapping):
        raise ConfigurationError(
            "the executor has no 'quantum_program': make one with qiskit_ibm_runtime from 0.50 on."
        )
    if version != _SCHEMA:
        raise ConfigurationError(
            f"the executor takes version {_SCHEMA!r} of its schema, not {version!r}: take qiskit_ibm_runtime 0.51."
        )
    _only("classified")("meas_level", program.get("meas_level"))
    shots = program.get("shots")
    if not isinstance(shots, int) or isinstance(shots, bool) or shots < 1:
        raise ConfigurationError(f"shots={shots!r} of the quantum program must be a whole number of at least 1.")
    circuits, items = program.get("circuits"), program.get("items")
    if not isinstance(circuits, Mapping) or not isinstance(circuits.get("b64_data"), str):
        raise ConfigurationError("the circuits of the quantum program must be in QPY, as the client has them.")
    if not isinstance(items, list) or not items:
        raise ConfigurationError("the quantum program has no 'items': append at least one.")
    for number, item in enumerate(items):
        kind = item.get("item_type") if isinstance(item, Mapping) else None
        if kind not in ("circuit", "samplex"):
            raise ConfigurationError(f"item {number} of the quantum program must be a circuit or a samplex.")
    _check_all_options(EXECUTOR, params.get("options"))

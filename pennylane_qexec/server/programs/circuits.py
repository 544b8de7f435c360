"""The program ``circuits``: circuits and sweeps of PennyLane's in our own serialization, with any measurements.

A job has ``"parts"``, each the text of a circuit or of a sweep, and its result a text for each, of the results of all
its rows. Another server is an executor by it, :class:`~pennylane_qexec.QExecRemote`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pennylane.devices import ExecutionConfig, MCMConfig

from pennylane_qexec.circuits.serialization import circuit_of, results_text, sweep_of
from pennylane_qexec.cluster import sweeps_of
from pennylane_qexec.errors import ConfigurationError, refuse_unknown, unknown
from pennylane_qexec.job import Sweep
from pennylane_qexec.server.programs.clusters import ClusterJob

MOST_CIRCUITS = 100_000
"""The most circuits of one job, the rows of all its sweeps."""

MOST_OPERATIONS = 200_000
"""The most operations of one circuit."""

MOST_GATES = 50_000_000
"""The most operations of all circuits of one job."""

_METHODS = {
    "mcm_method": (None, "deferred", "one-shot", "tree-traversal", "device"),
    "postselect_mode": (None, "hw-like", "fill-shots"),
}


def check(params: Mapping[str, Any]) -> None:
    """Refuse what cannot be the parameters of a job, without reading its circuits.

    Raises:
        ConfigurationError: they cannot.
    """
    refuse_unknown("parameter of the program 'circuits'", params, ("parts", *_METHODS))
    parts = params.get("parts")
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) for part in parts):
        raise ConfigurationError("'parts' must be a list of texts, of at least one circuit or sweep.")
    for name, known in _METHODS.items():
        if params.get(name) not in known:
            raise ConfigurationError(unknown(name, params[name], [one for one in known if one]))


def run(job: ClusterJob, params: Mapping[str, Any]) -> str:
    """The result of a job, as JSON.

    Args:
        job: the job.
        params: what its user has sent. It may come from anybody: nothing in it is executed.

    Raises:
        ConfigurationError: it is no list of circuits and sweeps, or too large.
        QExecError: they cannot be run, or were not.
    """
    check(params)
    sweeps: list[Sweep] = []
    for part in params["parts"]:
        sweeps.append(_read(part))
        _check_size(sweeps)
    config = ExecutionConfig(mcm_config=MCMConfig(**{name: params.get(name) for name in _METHODS}))
    with job.cluster() as cluster:
        rows = job.run_sweeps(cluster, sweeps, config)
    return json.dumps({"results": [results_text(row) for row in rows]})


def _read(text: str) -> Sweep:
    if '"format":"pennylane-qexec sweep"' in text:
        return sweep_of(text)
    ((_, sweep),) = sweeps_of([circuit_of(text)])
    return sweep


def _check_size(sweeps: Sequence[Sweep]) -> None:
    rows = sum(map(len, sweeps))
    if rows > MOST_CIRCUITS:
        raise ConfigurationError(f"the job has more than {MOST_CIRCUITS:,} circuits: send them in several jobs.")
    operations = len(sweeps[-1].template.operations)
    if operations > MOST_OPERATIONS:
        raise ConfigurationError(f"a circuit has {operations:,} operations: at most {MOST_OPERATIONS:,} are run.")
    if sum(len(sweep) * len(sweep.template.operations) for sweep in sweeps) > MOST_GATES:
        raise ConfigurationError(f"the job's circuits have more than {MOST_GATES:,} operations: send several jobs.")

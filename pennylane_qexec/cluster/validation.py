"""What a cluster looks at before it does anything: its options, in TOML files too, its policies, its circuits."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pennylane.tape import QuantumScript
from platformdirs import user_config_path

from pennylane_qexec.errors import ConfigurationError, PolicyError, unknown
from pennylane_qexec.executors import Executor
from pennylane_qexec.policies import splits
from pennylane_qexec.policies.base import Weighted

FILE = "qexec.toml"


def cluster_options_of(config: str) -> dict[str, Any]:
    """The options of a cluster described in a TOML file.

    Args:
        config: path of a TOML file whose top level is the options of :class:`QCluster`, or the name of a cluster in
            ``qexec.toml``, as a table ``[clusters.NAME]``. ``qexec.toml`` is looked for in the working folder, then in
            the user's configuration folder.

    Returns:
        The options, ``executors`` among them.

    Raises:
        ConfigurationError: there is no such file or cluster, or the file is no TOML.
    """
    if config.endswith(".toml"):
        return _read(Path(config))
    clusters: dict[str, Any] = {}
    files = [path for path in (Path(FILE), user_config_path("qexec") / FILE) if path.is_file()]
    for path in reversed(files):
        clusters.update(_read(path).get("clusters", {}))
    if config not in clusters:
        where = " or ".join(map(str, files)) or f"{FILE}, here or in {user_config_path('qexec')}"
        raise ConfigurationError(unknown("cluster", config, clusters, f"Add [clusters.{config}] to {where}."))
    return dict(clusters[config])


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): give the path of a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}.") from error


def description(circuit: QuantumScript) -> str:
    """A circuit, as errors speak of it."""
    shots = circuit.shots.total_shots
    return f"this circuit of {len(circuit.wires)} wires ({'analytic' if shots is None else f'{shots} shots'})"


def check_options(timeout: Any, batch_window: Any, failover: Any, history_limit: Any) -> None:
    """Refuse options of a cluster that make no sense."""
    if timeout is not None and not (_is_number(timeout) and timeout > 0):
        raise ConfigurationError(f"timeout={timeout!r} must be a number of seconds above 0, or None for no limit.")
    if not (_is_number(batch_window) and batch_window >= 0):
        raise ConfigurationError(f"batch_window={batch_window!r} must be a number of seconds, at least 0.")
    if not isinstance(failover, bool):
        raise ConfigurationError(f"failover={failover!r} must be True or False.")
    whole = isinstance(history_limit, int) and not isinstance(history_limit, bool) and history_limit >= 0
    if history_limit is not None and not whole:
        raise ConfigurationError(
            f"history_limit={history_limit!r} must be a whole number of jobs, at least 0, or None to keep all."
        )


def refuse_both(selector: Any, split: Any) -> None:
    """Refuse a selector beside a split."""
    if selector is not None and split is not None:
        raise ConfigurationError(
            f"selector={selector!r} sends circuits whole, split={split!r} cuts them up: give one of the two."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_names(executors: Sequence[Executor], policy: Any) -> None:
    """Refuse weights for executors that the cluster does not have."""
    known = [executor.name for executor in executors]
    for name in policy.weights.by_name if isinstance(policy, Weighted) else ():
        if name not in known:
            raise PolicyError(unknown("executor of this cluster", name, known))


def check_repeatable(split: Any) -> None:
    """Refuse a split that would share out the same shots otherwise the next time."""
    if split is splits.proportional:
        raise ConfigurationError(
            "split='proportional' shares shots out by the speed that was measured, which is another one every time: a "
            "durable run could not be repeated. Use 'uniform', or splits.weighted({...})."
        )


_NO_CIRCUITS = (
    "{!r} is no list of circuits: give a list of QuantumScripts, which qml.tape.make_qscript(function)(...) and "
    "qml.workflow.construct_tape(qnode)(...) make."
)


def check_circuits(circuits: Any) -> None:
    """Refuse what is no list of circuits."""
    if not isinstance(circuits, Iterable):
        raise ConfigurationError(_NO_CIRCUITS.format(circuits))
    for circuit in (circuits,) if isinstance(circuits, QuantumScript) else circuits:
        if circuit is circuits or not isinstance(circuit, QuantumScript):
            raise ConfigurationError(_NO_CIRCUITS.format(circuit))


def mixed(executors: Sequence[Executor]) -> str:
    """What to say where a policy chooses among executors whose results differ."""
    names = ", ".join(repr(executor.name) for executor in executors)
    return (
        f"the executors of this cluster ({names}) give results that differ by more than chance, by their noise for "
        "instance, and its selector takes one for this call and another for the next. Circuits that differ in nothing "
        "but parameters, as those of a gradient, stay together. To decide who runs what, give selector= a function "
        "(circuit, executors) -> executor; to share the shots of every circuit out in the same way, give split=; or "
        "make a cluster for each kind."
    )

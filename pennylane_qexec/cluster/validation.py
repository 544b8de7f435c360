"""What a cluster looks at before it does anything: its options, its policies, its circuits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, PolicyError, unknown
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.policies import splits
from pennylane_qexec.policies.base import Weighted


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

"""Covalent's ``QiskitExecutor``: its names and options, for Aer on this machine and for Qiskit Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self, final

from pennylane_qexec.errors import ConfigurationError, refuse_unknown, unknown
from pennylane_qexec.executors.aer import AerExecutor
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.options import QueueOptions
from pennylane_qexec.executors.runtime import RuntimeExecutor
from pennylane_qexec.executors.runtime.machines import is_local
from pennylane_qexec.executors.runtime.sessions import seconds
from pennylane_qexec.executors.shots import checked_shots
from pennylane_qexec.redaction.display import even_incomplete

_OWN = ("device", "backend", "shots", "single_job", "max_time", "options", "name", "local_transpile")
_OF_IBM = {
    "ibmqx_token": "token",
    "ibmqx_url": "url",
    "channel": "channel",
    "instance": "instance",
    "cloud_instance": "instance",
    "mode": "mode",
    "service": "service",
}
_FORMER = ("hub", "group", "project")
_KNOWN = {*_OWN, "wires", *QueueOptions.__annotations__, *_OF_IBM, *_FORMER}

_OF_TRANSPILER = ("optimization_level", "seed_transpiler")
_OPTIONS = (*_OF_TRANSPILER, "resilience_level", "seed_simulator")
_OF_RUNTIME = (
    *("dynamical_decoupling", "environment", "execution", "experimental", "max_execution_time", "resilience"),
    *("simulator", "twirling"),
)


class QiskitExecutor(Executor):
    """Runs circuits on Qiskit's simulators and on IBM's machines, with the options that Covalent's users know.

    What is made is an :class:`AerExecutor` for ``"local_sampler"``, and a :class:`RuntimeExecutor` for ``"sampler"``.

    Args:
        device: ``"local_sampler"``: Aer, without noise. ``"sampler"``: the machine called ``backend``.
        backend: for ``"sampler"``, a machine of IBM, such as ``"ibm_torino"``, or a fake backend, such as
            ``"fake_manila"``: its noise and coupling are simulated on this machine.
        shots: a number of shots, which goes before that of the QNode; 0 for that of the QNode; ``None`` for analytic
            results, which only ``"local_sampler"`` has.
        single_job: whether circuits that wait together run as one job; otherwise one by one.
        max_time: what a job may take on IBM's machines, in seconds or as ``"5m"``. On this machine there is no limit; a
            cluster has ``timeout=``.
        options: ``optimization_level`` (0 to 3, default 1), ``seed_transpiler``, ``seed_simulator`` and
            ``resilience_level``; for ``"sampler"`` also all options of Qiskit Runtime, see :class:`RuntimeExecutor`.
            Where circuits are simulated, ``resilience_level`` above 0 gives a warning: errors are not mitigated here.
        name: how it is called in policies, tables and errors; default: the name of the backend or the device.
        local_transpile: known, and without effect: circuits are always transpiled here.
        others: ``wires``, ``workers``, ``max_circuits``, ``max_shots``, ``batch_window`` and ``cost``, as those of
            :class:`Executor`; for ``"local_sampler"`` also ``parallel``; for ``"sampler"`` ``ibmqx_token``,
            ``ibmqx_url``, ``channel``, ``instance`` (or ``cloud_instance``), ``mode`` and ``service``, as those of
            :class:`RuntimeExecutor`.

    Raises:
        ConfigurationError: there is no such option, device or backend.
    """

    def __new__(
        cls,
        device: str = "local_sampler",
        backend: str | None = None,
        shots: int | None = 1024,
        single_job: bool = True,
        max_time: float | str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        local_transpile: bool = False,
        **others: Any,
    ) -> Self:
        if cls is not QiskitExecutor:
            return super().__new__(cls)  # a copy from another process, whose attributes are on their way
        if device not in _KINDS:
            raise ConfigurationError(unknown("device of QiskitExecutor", device, _KINDS))
        kind: Any = _KINDS[device]
        made: Self = super().__new__(kind)
        if not single_job:
            others["max_circuits"] = 1
        kind.begin(made, backend, max_time, dict(options or {}), {"name": name or backend or device, **others})
        made.shots = checked_shots(shots)
        return made

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Nothing is left to do."""

    @even_incomplete
    def __repr__(self) -> str:
        return f"<QiskitExecutor {self.name!r}>"


@final
class LocalSampler(QiskitExecutor, AerExecutor):
    """Aer, without noise."""

    def begin(self, backend: Any, max_time: Any, options: dict[str, Any], others: dict[str, Any]) -> None:
        """Become an executor with these options."""
        refuse_unknown("option of QiskitExecutor", others, {*_KNOWN, "parallel"})
        if backend:
            raise ConfigurationError(
                f"device='local_sampler' has no backend, and {backend!r} was given: take device='sampler' with it, or "
                "leave it out."
            )
        given = [option for option in (*_OF_IBM, *_FORMER) if others.pop(option, None)]
        if given:
            raise ConfigurationError(
                f"{' and '.join(given)} given: device='local_sampler' runs on this machine, without an account. Take "
                "device='sampler' with a backend, such as 'ibm_torino', or leave it out."
            )
        refuse_unknown("entry of QiskitExecutor's options", options, _OPTIONS)
        if options.get("resilience_level"):
            warnings.warn(
                f"resilience_level={options['resilience_level']!r} asks for error mitigation, which simulations here "
                "do not have: results are what was measured.",
                UserWarning,
                stacklevel=3,
            )
        AerExecutor.__init__(self, seed=options.get("seed_simulator"), **others)


@final
class Sampler(QiskitExecutor, RuntimeExecutor):
    """A machine of IBM, or a fake backend."""

    def begin(self, backend: Any, max_time: Any, options: dict[str, Any], others: dict[str, Any]) -> None:
        """Become an executor with these options."""
        refuse_unknown("option of QiskitExecutor", others, _KNOWN)
        if not backend:
            raise ConfigurationError("device='sampler' needs a backend: name one, as in backend='fake_manila'.")
        former = [option for option in _FORMER if others.pop(option, None)]
        if former:
            raise ConfigurationError(
                f"{' and '.join(former)} given: they named an instance of IBM's former platform. Give instance= now."
            )
        refuse_unknown("entry of QiskitExecutor's options", options, (*_OPTIONS, *_OF_RUNTIME))
        of_ibm = {_OF_IBM[option]: value for option in _OF_IBM if (value := others.pop(option, None))}
        transpiler = {option: options.pop(option) for option in _OF_TRANSPILER if options.get(option) is not None}
        RuntimeExecutor.__init__(
            self,
            backend,
            options=_for_runtime(options, None if is_local(backend) else max_time),
            **{"optimization_level": 1, **transpiler},
            **of_ibm,
            **others,
        )


_KINDS: dict[str, type[QiskitExecutor]] = {"local_sampler": LocalSampler, "sampler": Sampler}


def _for_runtime(options: dict[str, Any], max_time: float | str | None) -> dict[str, Any]:
    """The options as Qiskit Runtime has them, without those that are not given."""
    nested = {option: value for option, value in options.items() if value is not None and option not in _OF_TRANSPILER}
    if "seed_simulator" in nested:
        nested["simulator"] = {**nested.get("simulator", {}), "seed_simulator": nested.pop("seed_simulator")}
    if max_time is not None:
        nested["max_execution_time"] = seconds(max_time)
    if not nested.get("resilience_level"):
        nested.pop("resilience_level", None)
    return nested

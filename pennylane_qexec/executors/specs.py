"""From what users write to executors: names, dicts, devices, entry points; and which can be used on this machine."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, final

import pennylane as qml
from pennylane.devices import Device, LegacyDevice

from pennylane_qexec.errors import ConfigurationError, QExecError, misfit, unknown
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.executors.pennylane.simulators import Simulator
from pennylane_qexec.executors.pennylane.traits import DeviceTraits
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    from pennylane_qexec.executors.runtime import QiskitExecutor


# From specifications to executors

GROUP = "pennylane_qexec.executors"

BUILT_IN = {
    name: EntryPoint(name, f"pennylane_qexec.executors.{place}", GROUP)
    for name, place in {
        "aer": "aer:AerExecutor",
        "hybrid": "routing:Hybrid",
        "ibm": "runtime:RuntimeExecutor",
        "jax": "jax:JaxExecutor",
        "qbraid": "qbraid:QBraidExecutor",
        "qexec": "qexec:QExecRemote",
        "rehearsal": "rehearsal:Rehearsal",
    }.items()
}
"""This package's own executors, by scheme."""


@veiled
def make_executor(spec: Any, **options: Any) -> Executor:
    """Make an executor of a spec.

    Args:
        spec: an :class:`Executor` (returned as it is), a PennyLane device, a dict such as ``{"type":
            "lightning.qubit", "workers": 2}``, or a string. Strings are the names that ``qml.device`` takes; ``"aer"``
            and ``"aer:fake_manila"`` for an :class:`AerExecutor`; ``"ibm:ibm_torino"`` for a
            :class:`RuntimeExecutor`; ``"qbraid:ionq:qpu.aria-1"`` for a :class:`QBraidExecutor`;
            ``"qexec:https://host/backend"`` for a :class:`QExecRemote`; ``"jax"`` for a
            :class:`JaxExecutor`; ``"rehearsal:aer"`` for a :class:`Rehearsal` of ``"aer"``; and ``"SCHEME:REST"`` for
            the executor that an installed package registered under the entry point group
            ``pennylane_qexec.executors`` as ``SCHEME`` (called with ``REST``, if any, and the options).
        options: options of the executor. What a :class:`DeviceExecutor` does not know goes to ``qml.device``.

    Returns:
        The executor, named after its spec unless given a name.

    Raises:
        ConfigurationError: there is no such device or scheme, or the options are wrong.
    """
    if isinstance(spec, Executor):
        if options:
            raise ConfigurationError(f"{spec!r} is built already: give {sorted(options)} when building it.")
        return spec
    if isinstance(spec, Mapping):
        options = {**spec, **options}
        kind = options.pop("type", None)
        if not isinstance(kind, str):
            raise ConfigurationError(
                f"the executor with {sorted(options)} has no 'type': name a device, as in 'lightning.qubit'."
            )
        return make_executor(kind, **options)
    if isinstance(spec, Device | LegacyDevice):
        return DeviceExecutor(spec, **options)
    if isinstance(spec, str):
        return _from_string(spec.strip(), options)
    if isinstance(spec, type) and issubclass(spec, Executor):
        raise ConfigurationError(f"{spec.__name__} is a class of executors: give an object, {spec.__name__}(...).")
    raise ConfigurationError(
        f"{spec!r} is no executor: give a device's name, a dict with a 'type', a PennyLane device or an Executor."
    )


@veiled
def executors(specs: Any, wires: Any = None) -> list[Executor]:
    """Make executors of several specs, or of one string with commas between them.

    Args:
        specs: one spec or a sequence of them.
        wires: the wires of devices that are built here and are not given wires of their own.

    Raises:
        ConfigurationError: no executors, one given twice, or a spec is wrong.
    """
    if isinstance(specs, str):
        specs = [part for part in specs.split(",") if part.strip()]
    elif isinstance(specs, Executor | Mapping | Device | LegacyDevice) or not isinstance(specs, Sequence):
        specs = [specs]
    if not specs:
        raise ConfigurationError("no executors were given: name at least one, as in executors=['lightning.qubit'].")
    made = [make_executor(spec, **_wires_for(spec, wires)) for spec in specs]
    if len({id(one) for one in made}) < len(made):
        raise ConfigurationError("the same Executor object was given twice: give two specs, or two objects.")
    return _with_different_names(made)


def schemes() -> dict[str, Any]:
    """The executors of this package and of installed ones, by scheme. What is built in cannot be replaced."""
    return {**{point.name: point for point in entry_points(group=GROUP)}, **BUILT_IN}


def _from_string(spec: str, options: dict[str, Any]) -> Executor:
    if spec in qml.plugin_devices:
        return DeviceExecutor(spec, **options)
    scheme, _, rest = spec.partition(":")
    known = schemes()
    if scheme not in known:
        hint = "A provider's backend is 'aer:fake_manila', 'cirq.simulator' or 'qbraid:PROVIDER:DEVICE' here."
        known_names = [*qml.plugin_devices, *known]
        raise ConfigurationError(unknown("executor", spec, known_names, hint if "/" in spec or ":" in spec else ""))
    make, place = known[scheme].load(), [rest] if rest else []
    try:
        made = make(*place, **options)
    except TypeError as error:
        if not misfit(error, make, *place, **options):
            raise
        raise ConfigurationError(f"executor {spec!r} with the options {sorted(options)}: {error}.") from error
    if "name" not in options:
        made.name = spec
    return made  # type: ignore[no-any-return]


def _wires_for(spec: Any, wires: Any) -> dict[str, Any]:
    name = spec.get("type") if isinstance(spec, Mapping) else spec
    built_here = isinstance(name, str) and (
        name.strip() in qml.plugin_devices or name.strip().partition(":")[0] in BUILT_IN
    )
    has_wires = isinstance(spec, Mapping) and "wires" in spec
    return {"wires": wires} if wires is not None and built_here and not has_wires else {}


def _with_different_names(made: list[Executor]) -> list[Executor]:
    counts: dict[str, int] = {}
    taken = {one.name for one in made}
    for one in made:
        counts[one.name] = counts.get(one.name, 0) + 1
        if counts[one.name] > 1:
            base, number = one.name, counts[one.name]
            while f"{base}#{number}" in taken:
                number += 1
            counts[base] = number
            one.name = f"{base}#{number}"
            taken.add(one.name)
    return made


# What can be used here

_OWN = (("aer", "optional"), ("aer:fake_manila", "optional"), ("ibm:fake_manila", "needed"), ("jax", "optional"))


class Found(NamedTuple):
    """An executor that this environment has, or would have.

    Attributes:
        spec: what to write in ``executors=[...]``.
        kind: simulator, device (which may be remote), or plug-in.
        shots: whether it needs shots.
        usable: whether it could be built with no options but wires.
        reason: why not.
    """

    spec: str
    kind: str
    shots: str
    usable: bool
    reason: str


def survey() -> list[Found]:
    """Try to build this package's executors and every PennyLane device, and list the schemes of installed packages."""
    own = [_try(spec, "simulator", shots, partial(make_executor, spec)) for spec, shots in _OWN]
    devices = [_device(name) for name in sorted(qml.plugin_devices) if name != "qexec.cluster"]
    installed = sorted(schemes().keys() - BUILT_IN.keys())
    return own + devices + [Found(f"{name}:...", "plug-in", "", True, "") for name in installed]


def _device(name: str) -> Found:
    traits = DeviceTraits.of(name, {})
    kind = "simulator" if traits.simulator else "device"
    shots = "needed" if traits.needs_shots else "optional"
    return _try(name, kind, shots, partial(DeviceExecutor, name, wires=1))


def _try(spec: str, kind: str, shots: str, make: Callable[[], Executor]) -> Found:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make().close()
    except QExecError as error:
        cause = error.__cause__ or error
        first, *others = filter(None, map(str.strip, str(cause).splitlines()))
        reason = " ".join([first, *others[:1]]) if first.endswith(":") else first
        return Found(spec, kind, shots, False, reason)
    return Found(spec, kind, shots, True, "")


# ``qexec.executor``

_DEVICE = " Give the PennyLane device of that provider as an executor: executors=[qml.device(...)]."
_ELSEWHERE = {
    "IBMQExecutor": " Take QiskitExecutor(device='sampler', backend=...), or RuntimeExecutor.",
    "BraketQubitExecutor": _DEVICE,
    "LocalBraketQubitExecutor": _DEVICE,
}


@final
class ExecutorNames:
    """A function that makes executors, with the classes that are under ``covalent.executor`` as its attributes."""

    Simulator = Simulator

    def __init__(self) -> None:
        self.__doc__ = make_executor.__doc__

    @veiled
    def __call__(self, spec: Any, **options: Any) -> Executor:
        return make_executor(spec, **options)

    @property
    def QiskitExecutor(self) -> type[QiskitExecutor]:
        """The class of executors for Qiskit, which is imported when it is asked for."""
        module = importlib.import_module("pennylane_qexec.executors.runtime")
        return module.QiskitExecutor  # type: ignore[no-any-return]

    @property
    def QCluster(self) -> type[Any]:
        """The class of clusters, which stands above executors and is looked up only when it is asked for."""
        return cluster_class()

    def __getattr__(self, name: str) -> Any:
        hint = _ELSEWHERE.get(name, "")
        raise AttributeError(f"'qexec.executor' has no attribute {name!r}.{hint}", name=name, obj=self)

    @even_incomplete
    def __repr__(self) -> str:
        return "qexec.executor"


def cluster_class() -> type[Any]:
    """The class of clusters, without importing upwards."""
    return importlib.import_module("pennylane_qexec.cluster.cluster").QCluster  # type: ignore[no-any-return]


executor = ExecutorNames()

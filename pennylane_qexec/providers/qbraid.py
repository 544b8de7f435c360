"""Providers elsewhere, as qBraid knows them; and providers that users bring along.

qBraid is imported when the first of them is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import compress
from typing import Any, final

from pennylane_qexec import credentials
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors import Executor
from pennylane_qexec.executors.qbraid.devices import connect, status_of
from pennylane_qexec.providers.backend import Backend, Provider, own_options


@final
class QBraidProvider(Provider):
    """One of qBraid's providers.

    Args:
        name: the provider's name, as qBraid has it; or any, for an object.
        source: keyword arguments for qBraid's provider, which go before other credentials; or the provider itself,
            a ``QuantumProvider``.
    """

    def __init__(self, name: str, source: Any = None) -> None:
        self.name = name
        self._source = source

    def backends(self) -> Mapping[str, Backend]:
        """The provider's devices that run circuits, by their ids, sorted. This asks over the network."""
        provider = credentials.guarded(self._loaded)
        found = credentials.guarded(provider.get_devices)
        kinds = [device.profile.experiment_type for device in found]
        runs_circuits = [kind is None or kind.name == "GATE_MODEL" for kind in kinds]
        devices = {device.id: device for device in compress(found, runs_circuits)}
        return {name: _backend(self.name, name, provider, devices[name]) for name in sorted(devices)}

    def _loaded(self) -> Any:
        if self._source is None or isinstance(self._source, Mapping):
            return connect(self.name, self._source or {})
        return self._source


def as_provider(name: str, provider: Any) -> Provider:
    """A provider that a user brings along.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(provider, Provider):
        return provider
    from qbraid.runtime import QuantumProvider

    if not isinstance(provider, QuantumProvider):
        what = provider.__name__ if isinstance(provider, type) else type(provider).__name__
        raise ConfigurationError(
            f"the provider {name!r} is a {what}: give an object of a subclass of pennylane_qexec.providers.Provider, "
            "or of qbraid.runtime.QuantumProvider."
        )
    return QBraidProvider(name, provider)


def _backend(provider: str, name: str, source: Any, device: Any) -> Backend:
    return Backend(
        provider,
        name,
        partial(_executor, source, device),
        kind="simulator" if device.simulator else "QPU",
        num_qubits=device.num_qubits,
        ask=partial(status_of, device),
        options=lambda: None,  # which there are, the device knows
    )


def _executor(source: Any, device: Any, **config: Any) -> Executor:
    """An executor for a device; options that the executor does not know are the device's."""
    from pennylane_qexec.executors import QBraidExecutor

    names = own_options(QBraidExecutor, "provider", "device", "credentials", "options")
    runtime = {**config.pop("options", {}), **{name: value for name, value in config.items() if name not in names}}
    own = {name: value for name, value in config.items() if name in names}
    made: Executor = QBraidExecutor(source, device, options=runtime, **own)
    return made

"""The backends that a server publishes, by name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.providers.fakes import fake_files
from pennylane_qexec.server.catalogue.calibration import Calibration, read_calibration
from pennylane_qexec.server.catalogue.metadata import IDEAL, BackendMetadata, configuration_of, properties_of

DRY_RUN = "dry_run"
"""The executor of the backends that newer clients take for ``dry_run=True``. It makes results up, and costs nothing."""

_PARSED = 8  # metadata and backends that are kept: a machine of 156 qubits takes some megabytes


@dataclass(frozen=True, slots=True)
class PublishedBackend:
    """A backend as users see it.

    Attributes:
        name: what users call it: ``"fake_manila"``, or ``"fake_manila@aer"``.
        metadata: the name of what it looks like.
        executor: the name of what executes it.
    """

    name: str
    metadata: str
    executor: str


class Catalogue:
    """The backends of a server: each fake backend of the installed client, and ``ideal``, on each executor.

    A backend is called as its metadata, and executed by the first executor; ``<metadata>@<executor>`` names another
    one. For dry runs there is ``mock_<rest of the name>`` besides, which is not listed. Files are read when a backend
    is first asked for. It travels to worker processes with the calibrations that it has read.

    Args:
        executors: names of what executes circuits, the default first.
        calibrations: a lab's own calibrations: a file of properties as IBM's server sends them, by the name of the fake
            backend that it replaces those of, or by a new name. For a new one, ``"backend_name"`` in the file is the
            fake backend that has the qubits and gates.

    Raises:
        ConfigurationError: there is no executor, or a calibration does not fit its machine.
    """

    def __init__(self, executors: Sequence[str], calibrations: Mapping[str, Path | Calibration] | None = None) -> None:
        if not executors:
            raise ConfigurationError("a server needs at least one executor, such as 'aer'.")
        self._executors = tuple(executors)
        self._calibrations = {
            name: given if isinstance(given, Calibration) else read_calibration(name, Path(given))
            for name, given in (calibrations or {}).items()
        }
        self._published: dict[str, PublishedBackend] = {}
        looks = sorted({*fake_files(), IDEAL, *self._calibrations})
        for metadata in looks:
            self._published[metadata] = PublishedBackend(metadata, metadata, executors[0])
            for executor in executors:
                name = f"{metadata}@{executor}"
                self._published[name] = PublishedBackend(name, metadata, executor)
        self._mocks: dict[str, PublishedBackend] = {}
        for name, backend in self._published.items():
            mock = re.sub(r"^[^_]+", "mock", name)  # as the client finds it
            self._mocks.setdefault(mock, PublishedBackend(mock, backend.metadata, DRY_RUN))
        self._metadata: OnceCache[BackendMetadata] = OnceCache(_PARSED)
        self._backends: OnceCache[Any] = OnceCache(_PARSED)
        self._configurations: OnceCache[_Configuration] = OnceCache(len(looks))
        self._properties: OnceCache[_Properties | None] = OnceCache(len(looks))

    def __reduce__(self) -> tuple[Any, ...]:
        return Catalogue, (self._executors, self._calibrations)

    def names(self) -> Sequence[str]:
        """The names of all backends but those of dry runs."""
        return list(self._published)

    def mocks(self) -> Sequence[str]:
        """The names of the backends of dry runs."""
        return list(self._mocks)

    def find(self, name: str) -> PublishedBackend | None:
        """The backend that has a name; ``None`` if there is none."""
        return self._published.get(name) or self._mocks.get(name)

    def metadata(self, name: str) -> BackendMetadata:
        """What a backend looks like, by the name of the metadata."""
        return self._metadata.get(name, lambda: self._read(name))

    def device_entry(self, name: str, queued: int) -> dict[str, Any]:
        """The row of a backend in ``GET /backends``.

        Args:
            name: of a published backend.
            queued: how many jobs wait for it.
        """
        backend = self._known(name)
        said = self._configuration(backend.metadata)
        entry = {
            "name": name,
            "status": {"name": "online", "reason": "available"},
            "queue_length": queued,
            "qubits": said.qubits,
            "physical_qubits": said.physical_qubits,
            "is_simulator": said.simulator,
            "processor_type": said.processor,
            "backend_version": said.version,
        }
        return {**entry, "class": "mock"} if backend.executor == DRY_RUN else entry

    def status(self, name: str, queued: int) -> dict[str, Any]:
        """What ``GET /backends/{name}/status`` answers.

        Args:
            name: of a published backend.
            queued: how many jobs wait for it.
        """
        version = self._configuration(self._known(name).metadata).version
        return {"state": True, "status": "active", "message": "", "length_queue": queued, "backend_version": version}

    def configuration(self, name: str) -> bytes:
        """The configuration of a published backend, as JSON."""
        return _named(name, self._configuration(self._known(name).metadata).rest)

    def properties(self, name: str, updated_before: datetime | None = None) -> bytes:
        """The properties of a published backend, as JSON; ``{}`` if it has none.

        Args:
            name: of a published backend.
            updated_before: only if they are older than this.
        """
        said = self._calibration(self._known(name).metadata)
        if said is None or (updated_before is not None and said.updated >= updated_before):
            return b"{}"
        return _named(name, said.rest)

    def calibration_id(self, name: str) -> str | None:
        """What the calibration of a published backend is called; another one has another name."""
        said = self._calibration(self._known(name).metadata)
        return None if said is None else hashlib.sha256(said.rest).hexdigest()[:16]

    def calibrated(self, name: str) -> datetime | None:
        """When a published backend was calibrated; ``None`` if it has no calibration."""
        said = self._calibration(self._known(name).metadata)
        return None if said is None else said.updated

    def backend(self, metadata: str) -> Any:
        """The Qiskit backend that circuits run on, with the noise of the calibration; for worker processes.

        Args:
            metadata: the name of the metadata.
        """
        from pennylane_qexec.server.catalogue.backend import backend_of

        return self._backends.get(metadata, lambda: backend_of(self.metadata(metadata)))

    def _known(self, name: str) -> PublishedBackend:
        backend = self.find(name)
        if backend is None:
            raise ConfigurationError(unknown("backend", name, self._published))
        return backend

    def _read(self, name: str) -> BackendMetadata:
        if name not in self._published:
            raise ConfigurationError(unknown("metadata", name, self._published))
        calibration = self._calibrations.get(name)
        machine = name if calibration is None else calibration.machine
        properties = properties_of(name) if calibration is None else calibration.properties
        configuration = {**configuration_of(machine), "backend_name": name}
        return BackendMetadata(
            name, configuration, None if properties is None else {**properties, "backend_name": name}
        )

    def _configuration(self, metadata: str) -> _Configuration:
        return self._configurations.get(metadata, lambda: self._parse_configuration(metadata))

    def _parse_configuration(self, metadata: str) -> _Configuration:
        calibration = self._calibrations.get(metadata)
        machine = metadata if calibration is None else calibration.machine
        said = configuration_of(machine)
        qubits, files = int(said["n_qubits"]), fake_files().get(machine)
        physical = files.physical_qubits if files is not None else None
        processor, version = said.get("processor_type") or {}, said["backend_version"]
        return _Configuration(_rest(said), qubits, physical or qubits, bool(said["simulator"]), processor, version)

    def _calibration(self, metadata: str) -> _Properties | None:
        return self._properties.get(metadata, lambda: self._parse_properties(metadata))

    def _parse_properties(self, metadata: str) -> _Properties | None:
        calibration = self._calibrations.get(metadata)
        said = properties_of(metadata) if calibration is None else calibration.properties
        if said is None:
            return None
        updated = datetime.fromisoformat(said["last_update_date"])
        return _Properties(_rest(said), updated if updated.tzinfo else updated.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class _Configuration:
    """A configuration as it is sent, and what lists of backends say of it."""

    rest: bytes
    qubits: int
    physical_qubits: int
    simulator: bool
    processor: Mapping[str, Any]
    version: str


@dataclass(frozen=True, slots=True)
class _Properties:
    """Properties as they are sent, and how old they are."""

    rest: bytes
    updated: datetime


def _rest(said: Mapping[str, Any]) -> bytes:
    """The JSON of all but the name."""
    return json.dumps(
        {key: value for key, value in said.items() if key != "backend_name"}, separators=(",", ":")
    ).encode()


def _named(name: str, rest: bytes) -> bytes:
    """JSON with the name that was asked for: the client finds backends by it."""
    return b'{"backend_name":' + json.dumps(name).encode() + b"," + rest[1:]

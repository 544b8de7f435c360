"""Devices of qBraid's providers, looked up when the first job is sent, and their jobs, found by id."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, final

from pennylane_qexec import credentials
from pennylane_qexec.credentials import guarded, scrub
from pennylane_qexec.errors import ConfigurationError, NoAccessError, unknown
from pennylane_qexec.executors.remote.jobs import STATES, RemoteBackend, VendorJob
from pennylane_qexec.job import JobState, Status

_WITHHELD = "HOLD"

_STATES = {**STATES, "COMPLETED": JobState.DONE, "FAILED": JobState.FAILED, _WITHHELD: JobState.FAILED}


@final
class QBraidJob(VendorJob):
    """One of qBraid's jobs.

    Args:
        job: qBraid's object.
    """

    def __init__(self, job: Any) -> None:
        super().__init__()
        self._job = job
        self._said = ""
        self._withheld = False

    @property
    def job_id(self) -> str:
        return str(self._job.id)

    @property
    def has_ended(self) -> bool:
        """Whether its state is final. One whose results are withheld is asked again: an account may be settled."""
        return super().has_ended and not self._withheld

    def ask(self) -> JobState:
        from qbraid.runtime import JobStatus

        before = JobStatus.FAILED.status_message
        status = ask_about(self.job_id, self._job.status)
        self._withheld = status.name == _WITHHELD
        state = _STATES.get(status.name, JobState.RUNNING)
        # qBraid's statuses are one object for all jobs: a message that was there before is another job's.
        if state is JobState.FAILED and status.status_message != before:
            self._said = scrub(str(status.status_message or ""))
        return state

    def stop(self) -> None:
        guarded(self._job.cancel)

    def reason(self, error: Exception | None) -> str:
        """What the provider said with the state of the job, or else with its error."""
        return self._said or super().reason(error)

    def download(self, backend: str) -> Sequence[Mapping[Any, Any]] | None:
        """What it counted, for each of its circuits."""
        if self._withheld:
            raise ConfigurationError(
                f"job {self.job_id!r} has ended at {backend!r}, which withholds its results because of the state of "
                "the account there: settle that, then fetch them with recover(job_id, circuits)."
            )
        result = guarded(self._job.result)
        found = guarded(result.data.get_counts) if result.success else None
        return found if found is None or isinstance(found, list) else [found]


def ask_about(job_id: str, call: Callable[[], Any]) -> Any:
    """What a call about a job returns.

    Raises:
        ConfigurationError: the provider has no such job.
    """
    from qbraid.runtime.exceptions import ResourceNotFoundError

    try:
        return guarded(call)
    except Exception as error:
        if isinstance(error, LookupError | ResourceNotFoundError) or getattr(error, "status_code", None) == 404:
            raise ConfigurationError(
                f"the provider has no job {job_id!r} ({type(error).__name__}: {error}). See that the credentials are "
                "those that it was sent with."
            ) from error
        raise


_CONNECTIONS = {
    "aqt": ("session", "session"),
    "azure": ("workspace", "workspace"),
    "ibm": ("service", "runtime_service"),
    "ionq": ("session", "session"),
    "openquantum": ("session", "session"),
    "oqc": ("client", "client"),
    "origin": ("service", "service"),
    "qbraid": ("client", "client"),
    "qperfect": ("connection", "connection"),
    "qudora": ("session", "session"),
}
"""What a provider's jobs ask through: the argument of its jobs, and the provider's attribute."""

EXTRAS = {"aws": "braket", "ibm": "qiskit"}
"""qBraid's extras that are not called like the provider."""


def connect(name: str, given: Mapping[str, Any]) -> Any:
    """One of qBraid's providers.

    Args:
        name: its name.
        given: arguments, which go before what is in the keyring, the environment or a ``.env`` file.

    Raises:
        NoAccessError: there is none, its package is not installed, or credentials are missing or not known.
    """
    from qbraid.runtime import get_providers, load_provider
    from qbraid.runtime.loader import ProviderLoaderError

    canonical = credentials.canonical(name)
    if canonical not in get_providers():
        raise NoAccessError(unknown("provider of qBraid", name, get_providers()))
    try:
        shown = {key: one.reveal() if isinstance(one, credentials.Hidden) else one for key, one in given.items()}
        arguments = credentials.arguments(canonical, shown)
        return credentials.guarded(lambda: load_provider(canonical, **arguments))
    except (ProviderLoaderError, ImportError) as error:
        raise NoAccessError(
            f"the provider {name!r} cannot be loaded ({_root(error)}). Install what it needs, usually with "
            f"`pip install 'qbraid[{EXTRAS.get(canonical, canonical)}]'`."
        ) from error
    except TypeError as error:
        raise NoAccessError(f"the provider {name!r} with the arguments {sorted(arguments)}: {error}.") from error
    except ConfigurationError:
        raise
    except ValueError as error:
        advice = "It was given credentials: see whether they are right." if arguments else credentials.advice(canonical)
        raise NoAccessError(f"the provider {name!r} ({str(error).rstrip('.')}). {advice}") from error


def connection(name: str, provider: Callable[[], Any]) -> dict[str, Any]:
    """What a job of a provider, which is known by its id only, needs besides its device.

    Args:
        name: the provider's name.
        provider: makes the provider, or gives it if it is made.

    Raises:
        ConfigurationError: qBraid cannot find jobs of this provider by their id.
    """
    canonical = credentials.canonical(name)
    if canonical == "rigetti":
        raise ConfigurationError("qBraid cannot find jobs of the provider 'rigetti' by their id alone.")
    if canonical not in _CONNECTIONS:
        return {}
    argument, attribute = _CONNECTIONS[canonical]
    return {argument: getattr(provider(), attribute)}


def _root(error: BaseException) -> str:
    """The error that it all began with: qBraid wraps what a package's import raises."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


@final
class QBraidDevice(RemoteBackend):
    """A device, and the provider that has it.

    Args:
        provider: the provider's name, or qBraid's provider itself.
        device: the device's name, or qBraid's device itself.
        given: arguments of the provider, if it is a name.
    """

    def __init__(self, provider: Any, device: Any, given: Mapping[str, Any] | None) -> None:
        super().__init__(device if isinstance(device, str) else str(device.id))
        self._given = credentials.hidden(given or {})
        self._provider_spec = provider
        self._device_spec = device
        self._sending = threading.Lock()
        self._provider = None if isinstance(provider, str) else provider
        self._convert: Callable[[Any], Any] = _unchanged

    @property
    def names(self) -> tuple[str, str] | None:
        """The names of provider and device; ``None`` if one of them was given as an object."""
        provider, device = self._provider_spec, self._device_spec
        return (provider, device) if isinstance(provider, str) and isinstance(device, str) else None

    def find(self) -> Any:
        """Look the device up, and see that it runs circuits."""
        found = self._device_spec
        if isinstance(found, str):
            provider = self._loaded_provider()
            name = self._provider_spec if isinstance(self._provider_spec, str) else type(self._provider_spec).__name__
            found = _look_up(lambda: provider.get_device(self._device_spec), name, self.name)
        _check_paradigm(found, self.name)
        device, self._convert = _without_repeated_checks(found)
        return device

    def ask(self) -> Status:
        """Whether it is online, and how many jobs wait."""
        return status_of(self._found)

    @property
    def known(self) -> Any:
        """The device, if it was given or looked up already."""
        return self._found if isinstance(self._device_spec, str) else self._device_spec

    def send(self, circuits: Sequence[Any], shots: int, limit: int | None, options: Mapping[str, Any]) -> Iterator[Any]:
        """Send circuits; one thread at a time, for qBraid's conversions and sessions are made for one.

        Args:
            circuits: Qiskit's circuits.
            shots: of each of them.
            limit: the most circuits that may be sent together, if the device does not say less.
            options: of the device's ``run``.

        Yields:
            qBraid's jobs, in order, as they are sent.
        """
        device = self.backend()
        own = device.profile.get("max_programs_per_job")
        most = min((one for one in (own, limit) if one is not None), default=len(circuits))

        def run(some: Sequence[Any]) -> Any:
            converted = [self._convert(circuit) for circuit in some]
            return device.run(converted if len(converted) > 1 else converted[0], shots=shots, **options)

        for start in range(0, len(circuits), most):
            with self._sending:
                sent = credentials.guarded(partial(run, circuits[start : start + most]))
            yield from sent if isinstance(sent, list) else [sent]

    @property
    def takes_qiskit(self) -> bool:
        """Whether the device takes Qiskit's circuits as they are."""
        spec = self.backend().profile.program_spec
        specs = spec if isinstance(spec, list) else [spec] if spec else []
        return not specs or any(one.alias == "qiskit" for one in specs)

    def job(self, job_id: str) -> Any:
        """A job that was sent by another process.

        Raises:
            ConfigurationError: there is no such job, or the provider was given as an object, or does not find jobs by
                their id.
        """
        from qbraid.runtime import load_job

        if not isinstance(self._provider_spec, str):
            raise ConfigurationError(
                f"job {job_id!r} is not known here: the provider was given as an object. Give its name, so that jobs "
                "of other processes can be found."
            )
        options = connection(self._provider_spec, self._loaded_provider)
        device = self.backend()
        return ask_about(job_id, lambda: load_job(job_id, self._provider_spec, device=device, **options))

    def _loaded_provider(self) -> Any:
        with self._lock:
            if self._provider is None:
                self._provider = connect(self._provider_spec, self._given)
            return self._provider

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._provider_spec, str) or not isinstance(self._device_spec, str):
            raise TypeError(
                f"the device {self.name!r} was given as an object, which cannot be sent to another process. Give the "
                "names of provider and device."
            )
        return {"provider": self._provider_spec, "device": self._device_spec, "given": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)


def _look_up(call: Callable[[], Any], provider: str, device: str) -> Any:
    """A device, looked up at the provider."""
    from qbraid.runtime.exceptions import AuthorizationError, ResourceNotFoundError

    try:
        return credentials.guarded(call)
    except AuthorizationError as error:
        raise NoAccessError(
            f"the provider {provider!r} does not accept its token ({error}). {credentials.advice(provider)}"
        ) from error
    except (LookupError, ValueError, ResourceNotFoundError) as error:
        raise NoAccessError(
            f"the provider {provider!r} has no device {device!r} ({type(error).__name__}: {error}). Its get_devices() "
            "lists those it has."
        ) from error


def _check_paradigm(device: Any, name: str) -> None:
    """Refuse what runs no circuits.

    Raises:
        NoAccessError: the device runs analog programs or anneals.
    """
    from qbraid.programs import ExperimentType

    paradigm = device.profile.experiment_type
    if paradigm not in (None, ExperimentType.GATE_MODEL):
        raise NoAccessError(
            f"the device {name!r} runs no circuits: qBraid says that it is of the kind {paradigm.value!r}. Choose a "
            f"device of the kind {ExperimentType.GATE_MODEL.value!r}."
        )


def _without_repeated_checks(device: Any) -> tuple[Any, Callable[[Any], Any]]:
    """A device that does for each circuit only what has to be done; others who have the device see no change.

    Left to itself, a device asks for its status before each circuit, and looks up what qBraid can convert.

    Returns:
        A copy of the device, and what makes a circuit of Qiskit ready for its ``run``.
    """
    from qbraid.programs import ProgramSpec
    from qbraid.runtime import QuantumDevice
    from qiskit import QuantumCircuit

    copied = copy.copy(device)
    copied._options = copy.copy(device._options)
    copied.set_options(validate=0)
    has_its_own_way = type(device).run is not QuantumDevice.run
    if has_its_own_way or not device._options.get("transpile"):
        return copied, _unchanged
    copied.set_options(transpile=False)
    spec = ProgramSpec(QuantumCircuit, alias="qiskit")
    return copied, lambda circuit: copied.transpile(circuit, spec)


def _unchanged(circuit: Any) -> Any:
    return circuit


def status_of(device: Any) -> Status:
    """What a device says of itself, over the network."""
    from qbraid.runtime import DeviceStatus

    online, waiting = guarded(device.status) == DeviceStatus.ONLINE, 0
    if online:
        with suppress(Exception):  # most devices cannot say, each in its own way
            waiting = int(device.queue_depth())
    return Status(online, waiting)

"""What a job runs on: a machine of IBM, a backend that the user made, or one that is simulated here with its noise.

The account at IBM Quantum is looked up when the first job is sent, and shown nowhere.

Importing this imports neither Qiskit nor Aer: they are imported when the first backend is used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, final

from pennylane.tape import QuantumScript

from pennylane_qexec import credentials
from pennylane_qexec.credentials import Hidden
from pennylane_qexec.errors import ConfigurationError, NoAccessError, unknown
from pennylane_qexec.executors.remote.jobs import RemoteBackend
from pennylane_qexec.job import Status
from pennylane_qexec.redaction import veiled

CHANNELS = ("ibm_quantum_platform", "ibm_cloud")

_INSTEAD = (
    "Give token= and instance=, set QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE in the environment or in a .env file, "
    "store the token with `qexec token set ibm`, or save an account once with "
    "QiskitRuntimeService.save_account(token=..., instance=..., set_as_default=True). Without an account, a fake "
    "backend such as 'fake_manila' simulates a machine here."
)
_WRONG = ("IBMNotAuthorizedError", "IBMInputValueError", "InvalidAccountError", "ValueError")


@final
class Account:
    """Who pays for the jobs. Nothing is looked up and nothing is sent before :meth:`service` is called.

    Args:
        service: a service of Qiskit Runtime, connected already; then nothing else is needed.
        token: the API key; default: that of the keyring, else ``QISKIT_IBM_TOKEN`` in the environment or a ``.env``
            file, else that of the saved account.
        channel: which of IBM's platforms.
        instance: the instance, by its name or its cloud resource name.
        url: the address of the platform.

    Attributes:
        given: whether the service was made by the user.

    Raises:
        ConfigurationError: there is no such channel, or options are given beside a service.
    """

    @veiled
    def __init__(
        self,
        service: Any = None,
        token: str | None = None,
        channel: str | None = None,
        instance: str | None = None,
        url: str | None = None,
    ) -> None:
        options = {"token": token, "channel": channel, "instance": instance, "url": url}
        given = [name for name, value in options.items() if value]
        if service is not None and given:
            raise ConfigurationError(f"{' and '.join(given)} given beside service=, which is connected already.")
        if channel and channel not in CHANNELS:
            raise ConfigurationError(f"channel={channel!r} is not known: {' or '.join(map(repr, CHANNELS))} is.")
        self.given = service is not None
        self._service = service
        self._token = Hidden(token or "")
        self._options = {name: value for name, value in options.items() if value and name != "token"}
        self._lock = threading.Lock()

    def service(self) -> Any:
        """The service, connected when this is called for the first time.

        Raises:
            NoAccessError: there is no account, or IBM does not accept it.
            ConnectionError: IBM could not be reached.
        """
        with self._lock:
            if self._service is None:
                self._service = self._connected()
            return self._service

    def _connected(self) -> Any:
        from qiskit_ibm_runtime import QiskitRuntimeService
        from qiskit_ibm_runtime.accounts import AccountNotFoundError

        token, options = self._completed()
        try:
            return QiskitRuntimeService(token=token.reveal() or None, **options)
        except AccountNotFoundError:
            failure: Exception = NoAccessError(f"no account at IBM Quantum was found. {_INSTEAD}")
        except Exception as error:
            failure = _explained(error, token)
        # Raised out here, it does not remember what was raised in there, which may show the token.
        raise failure

    def _completed(self) -> tuple[Hidden, dict[str, str]]:
        """The token, and the options; with those of the environment if the token is not the saved account's."""
        found = credentials.arguments("ibm", {**self._options, "token": self._token.reveal() or None})
        token = Hidden(found.pop("token", ""))
        return token, found if token else self._options

    def __getstate__(self) -> dict[str, Any]:
        if self.given:
            raise TypeError(
                "an executor with a service= cannot be sent to another process. Give channel= and instance= instead, "
                "and the token in the variable QISKIT_IBM_TOKEN, or save the account."
            )
        return self._options

    def __setstate__(self, options: dict[str, Any]) -> None:
        self.__init__(**options)


def _explained(error: Exception, token: Hidden) -> Exception:
    """What went wrong, without the token, which the libraries underneath may show."""
    said = credentials.scrub(f"{type(error).__name__}: {error}", token)
    if any(kind.__name__ in _WRONG for kind in type(error).__mro__):
        return NoAccessError(f"IBM Quantum does not accept this account ({said}). {_INSTEAD}")
    return ConnectionError(f"IBM Quantum could not be reached ({said}). Try again later, or add other executors.")


LEAST_BUSY = "least_busy"

logger = logging.getLogger("pennylane_qexec")


class Machine(RemoteBackend):
    """A backend of IBM's, or one that is simulated here.

    Attributes:
        local: whether it is simulated on this machine.
    """

    local: bool = False

    @property
    def named(self) -> bool:
        """Whether its name says which machine it is, in every process."""
        return self.name != LEAST_BUSY

    def ask(self) -> Status:
        """Whether it is operational, and how many jobs wait; one that is simulated here always is."""
        if self.local:
            return Status()
        said = self._found.status()
        return Status(bool(said.operational), int(said.pending_jobs or 0))

    def objection(self, circuit: QuantumScript) -> str | None:
        """Why a circuit does not fit it, as far as is known without asking a service."""
        objection = super().objection(circuit)
        if objection is not None or self.local or self.known is None:
            return objection
        from qiskit_ibm_runtime import IBMBackend

        if not isinstance(self.known, IBMBackend):
            return None
        most = int(self.known.configuration().max_shots)
        return f"takes at most {most} shots" if (circuit.shots.total_shots or 0) > most else None

    def service(self) -> Any:
        """The service that has its jobs; ``None`` for a local machine, whose jobs end with their process."""
        return None

    def job(self, job_id: str) -> Any:
        """A job that was sent by another process.

        Raises:
            ConfigurationError: there is no such job, or the machine is local.
        """
        from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound

        service = self.service()
        if service is None:
            raise ConfigurationError(
                f"job {job_id!r} is not known here: jobs in local mode can be found only by the executor that sent "
                "them."
            )
        try:
            return service.job(job_id)
        except RuntimeJobNotFound as error:
            raise ConfigurationError(
                f"IBM Quantum has no job {job_id!r} for this account. See that channel and instance are those that it "
                "was sent with."
            ) from error

    def jobs(self, tag: str) -> Sequence[Any]:
        """The jobs with a tag, in the order in which they were sent, by whichever process."""
        service = self.service()
        if service is None:
            return ()
        self.backend()  # of several instances, a service asks the one whose backend it was asked for last
        return service.jobs(limit=None, job_tags=[tag], descending=False)  # type: ignore[no-any-return]


@final
class GivenMachine(Machine):
    """A backend that the user made."""

    def __init__(self, backend: Any) -> None:
        from qiskit.providers import BackendV2
        from qiskit_ibm_runtime import IBMBackend

        if not isinstance(backend, BackendV2):
            raise ConfigurationError(
                f"backend={backend!r} is no backend of Qiskit: give a name, such as 'ibm_torino' or 'fake_manila', or "
                "a BackendV2."
            )
        super().__init__(str(backend.name), backend)
        self.local = not isinstance(backend, IBMBackend)

    @property
    def named(self) -> bool:
        return False

    def service(self) -> Any:
        return None if self.local else self._found.service

    def find(self) -> Any:
        return self._found

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the backend {self.name!r} was given as an object, which cannot be sent to another process. Give its name."
        )


@final
class RemoteMachine(Machine):
    """A backend of a service.

    Args:
        name: the backend's name; ``"least_busy"`` for the one with the shortest queue when the first job is sent.
        account: whose service.
        qubits: the fewest that it needs to have; ``None`` for any number.
    """

    def __init__(self, name: str, account: Account, qubits: int | None) -> None:
        super().__init__(name)
        self._account = account
        self._qubits = qubits

    def service(self) -> Any:
        return self._account.service()

    def find(self) -> Any:
        from qiskit.providers.exceptions import QiskitBackendNotFoundError

        service = self._account.service()
        try:
            if self.name == LEAST_BUSY:
                found = service.least_busy(min_num_qubits=self._qubits)
                self.name = str(found.name)
                logger.info("the least busy backend is %r", self.name)
                return found
            return service.backend(self.name)
        except QiskitBackendNotFoundError as error:
            raise NoAccessError(
                f"backend={self.name!r} is none that this account may use now ({error}). QiskitRuntimeService()"
                ".backends() lists those it may."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "account": self._account, "qubits": self._qubits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)


_AER = ("aer", "aer_simulator")
_RETIRED = "ibmq_"


def machine(backend: Any, account: Account, qubits: int | None) -> Machine:
    """The machine that a user's value means.

    Args:
        backend: a name, or a backend of Qiskit.
        account: whose service knows the names of machines that are not on this one.
        qubits: the fewest that ``"least_busy"`` needs to have.

    Raises:
        ConfigurationError: there is no such backend, as far as can be told without asking IBM.
    """
    if not isinstance(backend, str):
        return GivenMachine(backend)
    if not backend.strip():
        raise ConfigurationError("backend='' names nothing: give a name, such as 'ibm_torino' or 'fake_manila'.")
    backend = backend.strip()
    if not account.given and is_local(backend):
        return LocalMachine(backend)
    if not account.given and backend.startswith(_RETIRED):
        raise ConfigurationError(_successor(backend))
    return RemoteMachine(backend, account, qubits)


def is_local(backend: Any) -> bool:
    """Whether a name is that of a backend that is simulated on this machine."""
    return isinstance(backend, str) and (backend in _AER or backend.startswith("fake_"))


def _successor(name: str) -> str:
    from pennylane_qexec.circuits.qiskit.noise import fake_machines

    fake = f"fake_{name.removeprefix(_RETIRED)}"
    instead = f"{fake!r} simulates it on this machine" if fake in fake_machines() else "'aer' simulates without noise"
    return f"backend={name!r} has been retired by IBM, as all machines with such names: {instead}."


@final
class LocalMachine(Machine):
    """A fake backend, or Aer."""

    local = True

    def __init__(self, name: str) -> None:
        from pennylane_qexec.circuits.qiskit.noise import fake_machines

        super().__init__(name)
        if name not in _AER and name not in fake_machines():
            hint = "Machines of IBM have names such as 'ibm_torino'."
            raise ConfigurationError(unknown("fake backend", name, fake_machines(), hint))

    @property
    def known(self) -> Any:
        return self.backend()

    def find(self) -> Any:
        from qiskit_aer import AerSimulator

        from pennylane_qexec.circuits.qiskit.noise import SimulatedMachine, fake_machine

        return AerSimulator() if self.name in _AER else SimulatedMachine(fake_machine(self.name))

    def __reduce__(self) -> Any:
        return type(self), (self.name,)

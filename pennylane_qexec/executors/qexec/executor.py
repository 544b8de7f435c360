"""A backend of another server of ours as an executor: sweeps as they are, analytic results, and all measurements."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Unpack

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.serialization import circuit_texts, sweep_text
from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.errors import ConfigurationError, JobFailedError
from pennylane_qexec.executors.identity import is_ours
from pennylane_qexec.executors.options import QueueOptions, check_options, lists_options, wires_from
from pennylane_qexec.executors.qexec.server import PendingJobs, ServerBackend
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.executors.shots import reshot_sweep
from pennylane_qexec.executors.validation import objection_to_wires
from pennylane_qexec.job import Call, JobState, Result, Status, Sweep, Work
from pennylane_qexec.redaction import veiled

_MOST_CIRCUITS = 10_000
_REMEMBERED = 2_000


@dataclass(frozen=True)
class _Request:
    """What a batch is sent as.

    Attributes:
        params: of the program.
        places: for each part, which circuits of the batch its rows are.
    """

    params: dict[str, Any]
    places: Sequence[Sequence[int]]

    def results(self, rows: Sequence[Sequence[Result]]) -> list[Result] | None:
        """Those of the circuits, in order; ``None`` if there is not one for each."""
        if list(map(len, rows)) != list(map(len, self.places)):
            return None
        pairs = zip(self.places, rows, strict=True)
        found = {place: one for places, own in pairs for place, one in zip(places, own, strict=True)}
        return [found[place] for place in range(len(found))]


class QExecRemote(QueuedExecutor):
    """Runs circuits on a backend of a server of ours, which ``qexec serve`` starts.

    Whatever the server's executor can run, can be run here: with shots or without, with any measurements, shot vectors
    and measurements in the middle. Circuits travel as they are, in the form in which stores have them, and those that
    differ in numbers only as one circuit with a table. All circuits of a gradient by parameter shifts are one job, with
    the value. The server's executor prepares circuits for its backend, and its policies and budgets count.

    Nothing is looked up or sent before the first job.

    Args:
        place: the URL of the server, and behind it the name of a backend, as in ``"https://host/fake_manila@aer"``.
            Without a URL, the name of a backend of the server that the variable ``QEXEC_URL`` has.
        token: of the user, which ``qexec server-token`` makes; default: that of the provider ``qexec`` in the keyring,
            or the variable ``QEXEC_TOKEN``.
        verify: whether the certificate of a server with TLS is checked; or the file of a certificate to check it by.
        wires: the wires of the executor, a number or labels; ``None`` for whatever wires a circuit has.
        name: how it is called in policies, tables and errors; default: the backend's name.
        workers: the most jobs in flight; default: 1000.
        max_circuits: the most circuits in one job; default: 10,000.
        max_shots, batch_window, cost: see :class:`Executor`.

    Raises:
        ConfigurationError: no backend is named, or an option makes no sense.
    """

    poll_interval = 0.01
    poll_interval_max = 0.25  # more than that, and the server does not hold requests until the job changes

    @veiled
    @lists_options(QueueOptions)
    def __init__(
        self,
        place: str,
        *,
        token: str | None = None,
        verify: bool | str = True,
        wires: Any = None,
        **options: Unpack[QueueOptions],
    ) -> None:
        check_options(self, options, QueueOptions)
        url, _, backend = place.rstrip("/").rpartition("/")
        self._server = ServerBackend(backend, url, token or "", verify)
        options["name"] = options.get("name") or backend
        options["max_circuits"] = options.get("max_circuits") or _MOST_CIRCUITS
        super().__init__(**options)
        self.wires = wires_from(wires)
        self._start()

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._server.name

    @property
    def by_structure(self) -> bool:
        """Nothing here depends on the numbers of circuits."""
        return is_ours(self)

    @property
    def equivalence(self) -> Hashable:
        """The server and the backend."""
        return type(self), *self._server.place

    @property
    def labels(self) -> bool:
        """Servers keep the labels of jobs, as tags."""
        return True

    def status(self) -> Status:
        """What the backend said of itself at most half a minute ago; nothing is asked before the first job."""
        return self._server.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the circuit has other wires than the executor; what the server's executor rejects, its job says."""
        return objection_to_wires(self.wires, circuit)

    def repeats(self, circuit: QuantumScript) -> bool:
        """No: how the server computes is not known here."""
        return False

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Send circuits as one job, and return its id.

        Raises:
            ConfigurationError: there is no such backend, or a circuit cannot be written as text.
            NoAccessError: the server does not know the token.
        """
        return self.submit_work(Work(tuple(circuits)))

    def submit_labelled(self, circuits: Sequence[QuantumScript], label: str) -> str:
        """Send circuits as :meth:`submit` does; the label is a tag of the job."""
        return self.submit_work(Work(tuple(circuits)), label)

    def submit_work(self, work: Work, label: str = "") -> str:
        """Send a batch of circuits, or of sweeps, as one job."""
        request = self._request(work)
        return self._remember(self._server.submit(request.params, label), request)

    def find(self, label: str) -> str | None:
        """The id of the first job with a label, whoever sent it, that has not failed and was not cancelled."""
        return self._server.find_job(label)

    def poll(self, job_id: str) -> JobState:
        """The state of a job, whoever sent it. If few are under way, the answer comes when it changes, or in 0.5 s."""
        return self._pending.state(job_id)

    def fetch(self, job_id: str) -> Sequence[Result]:
        """The results of a job that is done; :meth:`adopt` it first if another process sent it.

        Raises:
            JobFailedError: the job failed.
            JobCancelledError: the job was cancelled.
            ConfigurationError: there is no such job, or it is not known which circuits it has.
        """
        rows = self._server.results(job_id)
        with self._lock:
            request = self._sent.get(job_id)
        if request is None:
            raise ConfigurationError(
                f"job {job_id!r} was sent by another process, and its circuits are not known here: use "
                "recover(job_id, circuits), or adopt(job_id, circuits) before poll and fetch."
            )
        results = request.results(rows)
        if results is None:
            raise JobFailedError(self.backend, job_id, "it came back with results of other circuits")
        return results

    def cancel(self, job_id: str) -> None:
        """Ask the server to stop a job, whoever sent it. Nothing happens if it has ended."""
        self._server.cancel(job_id)
        self._pending.forget(job_id)

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Take over a job that another process sent.

        Args:
            job_id: what :meth:`submit` returned there.
            circuits: the circuits that the job was sent with, in their order.

        Raises:
            ConfigurationError: there is no such job, or it has other circuits.
        """
        self.adopt_work(job_id, Work(tuple(circuits)))

    def adopt_work(self, job_id: str, work: Work) -> None:
        """Take over a job of another process that was sent by :meth:`submit_work`; see :meth:`adopt`."""
        request = self._request(work)
        if self._server.params(job_id).get("parts") != request.params["parts"]:
            raise ConfigurationError(
                f"job {job_id!r} was sent with other circuits: give those that it was sent with, in their order."
            )
        self._remember(job_id, request)

    def _request(self, work: Work) -> _Request:
        groups: list[tuple[Sequence[int], Sweep]] = []
        if work.sweeps:
            ends = accumulate(map(len, work.sweeps))
            for sweep, end in zip(work.sweeps, ends, strict=True):
                groups.append((range(end - len(sweep), end), reshot_sweep(sweep, self)))
        else:
            for one in fuse([self.with_shots(circuit) for circuit in work.circuits]):
                template = one.template
                groups.append((one.indices, Sweep(template.circuit, one.parameters, template.slots, template.key)))
        texts, places = list[str](), list[Sequence[int]]()
        for own, sweep in groups:
            written = _texts(sweep)
            texts += written
            places += [own] if len(written) == 1 else [[place] for place in own]
        return _Request({"parts": texts, **_outcomes(work.call)}, places)

    def _remember(self, job_id: str, request: _Request) -> str:
        with self._lock:
            self._sent[job_id] = request
            while len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)
        self._pending.add(job_id)
        return job_id

    def _start(self) -> None:
        """Begin without jobs, here or in the process that it was sent to."""
        self._lock = threading.Lock()
        self._sent: OrderedDict[str, _Request] = OrderedDict()
        self._pending = PendingJobs(self._server, self.clock)

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: value for key, value in super().__getstate__().items() if key not in ("_lock", "_sent", "_pending")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._start()


def _texts(sweep: Sweep) -> list[str]:
    """A sweep as one text; as one for each of its circuits, if it cannot be written whole."""
    if sweep.key is not None and len(sweep) > 1:
        try:
            return [sweep_text(sweep)]
        except ConfigurationError:
            pass
    return circuit_texts(sweep.circuits())


def _outcomes(call: Call) -> dict[str, Any]:
    """How measurements in the middle are to be made, as far as anybody says."""
    config = call.config.mcm_config if call.outcomes is None else call.outcomes
    said = {"mcm_method": config.mcm_method, "postselect_mode": config.postselect_mode}
    return {name: str(value) for name, value in said.items() if value is not None}

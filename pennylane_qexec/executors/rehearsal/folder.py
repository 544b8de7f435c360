"""Jobs in a folder, where other processes find them: a provider's memory.

Every file is written once and never changed, and is there as a whole or not at all, so that no process has to wait for
another one: of two that write the same file, the first one counts.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.rehearsal.record import Record, Stop
from pennylane_qexec.job import Result
from pennylane_qexec.written import circuit_of, circuit_text, result_of, result_text

_JOB, _STOP, _FETCHED, _RESULTS = ".job.json", ".stopped.json", ".fetched.json", ".results.json"
_BACKEND = "backend.json"


class Folder:
    """The jobs that are kept in a folder.

    Args:
        path: of the folder, which is made if need be.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._path.mkdir(parents=True, exist_ok=True)

    def backend(self, began: float, seed: int) -> tuple[float, int]:
        """When the backend of this folder began, and its seed: those given, if the folder is new."""
        self._write_once(_BACKEND, {"began": began, "seed": seed})
        said = self._read(_BACKEND)
        return said["began"], said["seed"]

    def ids(self) -> list[str]:
        """The ids of all jobs, in no order."""
        return [unquote(name.removesuffix(_JOB)) for name in os.listdir(self._path) if name.endswith(_JOB)]

    def add(self, record: Record, circuits: Sequence[QuantumScript]) -> bool:
        """Keep a job; says whether it is the first of its id. Circuits that cannot be written are not kept."""
        content = {"job": record.plain(), "circuits": _texts(circuit_text, circuits)}
        return self._write_once(_file(record.job_id, _JOB), content)

    def job(self, job_id: str) -> Record | None:
        """A job; ``None`` if there is no such job."""
        said = self._read(_file(job_id, _JOB))
        return None if said is None else Record.of_plain(said["job"])

    def circuits(self, job_id: str) -> list[QuantumScript] | None:
        """The circuits of a job that there is; ``None`` if they are not kept."""
        texts = self._read(_file(job_id, _JOB))["circuits"]
        return None if texts is None else [circuit_of(text) for text in texts]

    def keep(self, job_id: str, results: Sequence[Result]) -> None:
        """Keep the results of a job, if they can be written."""
        texts = _texts(result_text, results)
        if texts is not None:
            self._write_once(_file(job_id, _RESULTS), texts)

    def results(self, job_id: str) -> list[Result] | None:
        """The results of a job; ``None`` if they are not kept."""
        texts = self._read(_file(job_id, _RESULTS))
        return None if texts is None else [result_of(text) for text in texts]

    def stop(self, job_id: str, stop: Stop) -> Stop:
        """Stop a job. Returns what really stopped it: somebody may have done so before."""
        self._write_once(_file(job_id, _STOP), stop.plain())
        return Stop.of_plain(self._read(_file(job_id, _STOP)))

    def stopped(self, job_id: str) -> Stop | None:
        """What stopped a job."""
        said = self._read(_file(job_id, _STOP))
        return None if said is None else Stop.of_plain(said)

    def fetch(self, job_id: str) -> None:
        """Note that the results of a job were fetched."""
        self._write_once(_file(job_id, _FETCHED), {})

    def fetched(self, job_id: str) -> bool:
        """Whether the results of a job were fetched."""
        return (self._path / _file(job_id, _FETCHED)).exists()

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self._path / name).read_bytes())
        except FileNotFoundError:
            return None

    def _write_once(self, name: str, content: Any) -> bool:
        """Write a file unless it is there; says whether it was not."""
        handle, draft = tempfile.mkstemp(dir=self._path, suffix=".draft")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, self._path / name)
        except FileExistsError:
            return False
        finally:
            os.unlink(draft)
        return True


def _file(job_id: str, suffix: str) -> str:
    return quote(job_id, safe="") + suffix


def _texts(write: Callable[[Any], str], values: Sequence[Any]) -> list[str] | None:
    try:
        return [write(value) for value in values]
    except ConfigurationError:
        return None

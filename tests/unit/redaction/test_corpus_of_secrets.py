"""Every way for a secret to come in, crossed with every way for a text to leave: it never does."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import sqlite3
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import keyring
import pennylane as qml
import pytest
from fakes.keyring_backend import MemoryKeyring
from pennylane.tape import QuantumScript
from rich.console import Console
from rich.traceback import Traceback
from typer.testing import CliRunner

import pennylane_qexec as qexec
from pennylane_qexec import credentials
from pennylane_qexec.cli import app
from pennylane_qexec.job import Result
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.providers import Backend, Provider
from pennylane_qexec.redaction import known
from pennylane_qexec.testing import flip

CORE = "T0k3nC0re"
SECRET = f"s3cr3t/+'\"\\-é-{CORE}-42"
FORMS = {
    "as it is": SECRET,
    "repr": repr(SECRET),
    "repr of a repr": repr([repr(SECRET)]),
    "bytes": repr(SECRET.encode()),
    "JSON": json.dumps({"x": SECRET}),
    "JSON in JSON": json.dumps({"x": json.dumps([SECRET])}),
    "URL": quote(SECRET, safe=""),
    "form": quote_plus(SECRET),
    "Base64": base64.b64encode(SECRET.encode()).decode(),
    "Basic": base64.b64encode(f"me:{SECRET}".encode()).decode(),
    "Basic, another user": base64.urlsafe_b64encode(f"you:{SECRET}".encode()).decode(),
    "hexadecimal": SECRET.encode().hex(),
}
AFTER_NAMES = (
    f"401 for https://me:{quote(SECRET, safe='')}@vendor/?token={quote(SECRET, safe='')}&a=1, "
    f"headers {json.dumps({'api-key': SECRET})}, {{'access_token': {SECRET!r}}}, Authorization: Bearer {quote(SECRET)}"
)
"""What shows a secret that nobody has named as such, but for the words before it."""

ENCODED = [base64.b64encode(b"\0" * skipped + CORE.encode()).decode()[4:-4] for skipped in range(3)]


def shows(text: str) -> bool:
    """Whether a text shows the secret, in a way that owes nothing to what is tested."""
    return any(part in text for part in (CORE, CORE.encode().hex(), *ENCODED))


def test_the_corpus_would_be_noticed() -> None:
    assert [name for name, text in {**FORMS, "after names": AFTER_NAMES}.items() if not shows(text)] == []


# -- the ways in


class Lab(Provider):
    """A provider whose one backend fails."""

    name = "lab"

    def backends(self) -> Mapping[str, Backend]:
        return {"qpu": Backend("lab", "qpu", Tactless)}


class Tactless(qexec.Executor):
    """Fails, as the libraries of some vendors do, with an error that shows the secret."""

    said = " ".join(FORMS.values())

    def __init__(self, name: str = "tactless") -> None:
        super().__init__(name)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        headers = {"authorization": self.said}
        try:
            raise OSError(13, self.said)
        except OSError as error:
            raise ConnectionResetError(f"{self.said} {headers}") from error


def _argument() -> Any:
    credentials.arguments("ionq", {"api_key": SECRET})
    credentials.arguments("ionq", {"api_key": SECRET, "token": SECRET})  # which is refused


def _providers_info() -> Any:
    made = qexec.QuantumExecutor(providers_info={"ionq": {"api_key": SECRET}})
    print(repr(made), file=sys.stderr)
    qexec.QuantumExecutor(providers_info={"ionq": {"api_key": SECRET}, "nobody": {}})


def _keyring() -> Any:
    keyring.set_keyring(MemoryKeyring())
    credentials.store("ionq", SECRET)
    credentials.arguments("ionq")
    keyring.get_keyring().locked = True  # type: ignore[attr-defined]
    credentials.store("ionq", SECRET)


def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONQ_API_KEY", SECRET)


def _file() -> Any:
    quoted = SECRET.replace("\\", "\\\\").replace("'", "\\'")
    Path(".env").write_text(f"OQC_AUTH_TOKEN='{quoted}'", encoding="utf-8")
    credentials.arguments("oqc")


def _url(url: str) -> Any:
    qexec.Cache(url)
    with open_store(url, patience=0.01):
        pass


def _executor_option() -> Any:
    one = qexec.executor("ibm:ibm_torino", token=SECRET)
    with suppress(Exception):
        pickle.dumps(one)
    qexec.executor("ibm:ibm_torino", token=SECRET, instanse="x")


def _device_option() -> Any:
    qml.device("qexec.cluster", executors=[{"type": "default.qubit", "api_token": SECRET}])


def _toml() -> Any:
    Path("mine.toml").write_text(
        f'executors = [{{type = "ibm:ibm_torino", token = {json.dumps(SECRET, ensure_ascii=False)}, x = 1}}]',
        encoding="utf-8",
    )
    qexec.ClusterDevice(config="mine.toml")


QUOTED = quote(SECRET, safe="")
WAYS_IN: dict[str, Callable[[pytest.MonkeyPatch], Any]] = {
    "argument": lambda _: _argument(),
    "providers_info": lambda _: _providers_info(),
    "keyring": lambda _: _keyring(),
    "environment": _environment,
    ".env": lambda _: _file(),
    "password of a store": lambda _: _url(f"postgresql://me:{QUOTED}@127.0.0.1:1/x?connect_timeout=1"),
    "query of a store": lambda _: _url(f"postgresql://me@127.0.0.1:1/x?connect_timeout=1&password={QUOTED}"),
    "argv": lambda m: m.setattr(
        sys, "argv", ["vqe.py", "--api-token", SECRET, f"KEY={SECRET}", f"--x=a://b:{QUOTED}@c"]
    ),
    "executor option": lambda _: _executor_option(),
    "executor's error": lambda m: m.setattr(Tactless, "said", AFTER_NAMES),
    "device option": lambda _: _device_option(),
    "TOML": lambda _: _toml(),
}


# -- the ways out


@pytest.fixture(scope="module", params=WAYS_IN)
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All texts that leave, by the way out, after a secret has come in and an executor has failed."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("pennylane_qexec")
    before = keyring.get_keyring()
    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        monkeypatch.chdir(tmp_path_factory.mktemp("work"))
        monkeypatch.setattr(known, "_known", known._Known())
        for names in credentials.VARIABLES.values():
            for name in names:
                monkeypatch.delenv(name, raising=False)
        credentials.forget()
        logger.addHandler(handler)
        monkeypatch.setattr(logger, "level", logging.DEBUG)
        try:
            entered = _caught(WAYS_IN[request.param], monkeypatch)
            texts = _ran(entered)
        finally:
            logger.removeHandler(handler)
            keyring.set_keyring(before)
            credentials.forget()
    texts["log"] = log.getvalue()
    texts["warnings"] = " ".join(str(one.message) for one in warned)
    return texts


def _caught(call: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The package's errors, from its own frames on: those of the test have the secret in their variables."""
    try:
        call(monkeypatch)
    except qexec.QExecError as error:
        frames = error.__traceback__
        while frames is not None and "pennylane_qexec" not in frames.tb_frame.f_code.co_filename.split("tests")[0]:
            frames = frames.tb_next
        return [error.with_traceback(frames)]
    return []


def _ran(entered: list[BaseException]) -> dict[str, str]:
    cluster = qexec.QCluster([Tactless()], retry=qexec.retries.never())
    errors = list(entered)
    with cluster, suppress(qexec.ExecutorError), qexec.durable_run("vqe", "runs.db"):
        try:
            cluster.execute([flip(0.1, shots=10)])
        except qexec.ExecutorError as error:
            errors.append(error)
            raise
    assert isinstance(errors[-1], qexec.ExecutorError | ConnectionError)
    collector = _experiment()
    said = CliRunner()
    return {
        "repr": " ".join(
            map(repr, [*errors, cluster, cluster.history, *cluster.history, collector, cluster.executors])
        ),
        "str of an error": " ".join(map(str, errors)),
        "traceback": "".join(line for error in errors for line in traceback.format_exception(error)),
        "rich traceback": "".join(map(_rich, errors)),
        "history": cluster.history.to_dataframe().to_csv(),
        "store": "\n".join(sqlite3.connect("runs.db").iterdump()),
        "bytes of the store": "".join(path.read_bytes().decode("latin-1") for path in Path().glob("runs.db*")),
        "saved collector": Path("saved.json").read_text(encoding="utf-8"),
        "records": repr([*collector.records, collector.errors]),
        "qexec runs": said.invoke(app, ["runs", "--store", "runs.db"]).output,
        "qexec run-info": said.invoke(app, ["run-info", "vqe", "--store", "runs.db"]).output,
        "JSON": said.invoke(app, ["run-info", "vqe", "--store", "runs.db", "--json"]).output,
        "pickle": "".join(_pickled(one) for one in [*errors, list(cluster.history), collector.records]),
    }


def _experiment() -> Any:
    executor = qexec.QuantumExecutor(providers={"lab": Lab()})
    collector = executor.run_experiment(
        [flip(0.1)], 10, ["lab/qpu"], retry=qexec.retries.never(), config=None, wait=True
    )
    with suppress(Exception):
        collector.get_results()
    collector.save("saved.json")
    return collector


def _rich(error: BaseException) -> str:
    console = Console(file=io.StringIO(), width=4000)
    found = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=None, locals_max_string=None
    )
    console.print(found)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _pickled(value: Any) -> str:
    try:
        return pickle.dumps(value).decode("latin-1")
    except (TypeError, AttributeError, pickle.PicklingError):
        return ""


WAYS_OUT = (
    "repr",
    "str of an error",
    "traceback",
    "rich traceback",
    "history",
    "store",
    "bytes of the store",
    "saved collector",
    "records",
    "qexec runs",
    "qexec run-info",
    "JSON",
    "pickle",
    "log",
    "warnings",
)


@pytest.mark.slow
@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_no_secret_leaves(left: dict[str, str], way_out: str) -> None:
    text = left[way_out]
    assert not shows(text)


@pytest.mark.slow
@pytest.mark.parametrize("way_out", ["str of an error", "history", "store", "saved collector", "JSON", "log"])
def test_what_has_failed_is_still_told(left: dict[str, str], way_out: str) -> None:
    assert "ConnectionResetError" in left[way_out]
    assert "***" in left[way_out]

"""Secrets are found in all their forms, and texts without any stay as they are."""

from __future__ import annotations

import logging
import pickle
import time
import traceback
from typing import Any

import pytest
from typer.testing import CliRunner

import pennylane_qexec as qexec
from pennylane_qexec.cli import app
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.policies.faults import Fault, classify, retry_after
from pennylane_qexec.redaction import is_secret, know, know_named, know_url, scrub, scrub_argv, without_secrets
from pennylane_qexec.testing import flip

SECRET = "s3cr3t-t0k3n"

# -- what stays as it is


@pytest.mark.parametrize("short", ["a", "ab", "abc", "test", "1234", "12345", "shot"])
def test_a_short_secret_leaves_ordinary_texts_alone(short: str) -> None:
    know(short)
    text = "the test of 1234 shots at 12345: a shot is tested, abc and ab; 'abcd' (test)"
    assert scrub(text) == text


def test_a_short_secret_is_found_where_it_can_be_nothing_else() -> None:
    know("ab12")
    assert (
        scrub("http://me:ab12@host token=ab12 {'x': 'ab12'} ab12345")
        == "http://me:***@host token=*** {'x': '***'} ab12345"
    )


def test_a_secret_that_is_a_word_is_found_as_a_word_only() -> None:
    know("postgres")
    assert scrub("the user postgres of postgresql://host") == "the user *** of postgresql://host"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unexpected token: qreg, expected one of 'gate', 'measure'",
        "Give token= and instance=, or save_account(token=..., instance=...)",
        "token=None, password=True: give a text",
        "the key 'x@1' was recorded, not 'y@1'; key=value",
        "see http://localhost:8000/people/me@example.org, or postgresql://me@host/db",
        "shots=100 of RX(0.1, wires=[0]) -> {'00': 50, '11': 50}",
        "basic gates only; the bearer of bad news",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    know(SECRET)
    assert scrub(text) == text


@pytest.mark.parametrize("name", ["https://host?key", "token"])
@pytest.mark.parametrize("after", [": 500", ".", " 500"])
def test_what_follows_a_hidden_secret_stays(name: str, after: str) -> None:
    assert scrub(f"{name}=k3y-0f-mine{after}", "k3y-0f-mine") == f"{name}=***{after}"


# -- names


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("?password=x&a=1", "?password=***&a=1"),
        ("PGPASSWORD=x; AccountKey=a==;End", "PGPASSWORD=***; AccountKey=***;End"),
        ('{"api_key": "a\\"b", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("{'client_secret': 'it', 'n': 1}", "{'client_secret': '***', 'n': 1}"),
        ('token = "in TOML"', 'token = "***"'),
        ("'{\\'access-token\\': \\'x\\'}'", "'{\\'access-token\\': \\'***\\'}'"),
        ("Authorization: Basic bWU6eA==", "Authorization: Basic ***"),
        ("Bearer eyJhbGciOi1.x", "Bearer ***"),
        ("https://ghp_1234@host/x", "https://***@host/x"),
        ("a://me:p@ss:w/rd@host/db", "a://me:***@host/db"),
        ("GET /v1?key=abc&sig=def", "GET /v1?key=***&sig=***"),
    ],
)
def test_what_follows_the_name_of_a_secret_is_hidden_although_nobody_has_said_that_it_is_one(
    text: str, scrubbed: str
) -> None:
    assert scrub(text) == scrubbed
    assert scrub(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "name", ["token", "--api-key", "api_token", "password", "accessToken", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PWD", "tokens", "max_tokens", "key", "token_file", "aws_access_key_id", "seed"])
def test_names_that_are_none_of_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["--token", "x", "y"], ["--token", "***", "y"]),
        (["--token=x"], ["--token=***"]),
        (["--api-key", "x"], ["--api-key", "***"]),
        (["--password", "-x"], ["--password", "***"]),
        (["--password", "--verbose"], ["--password", "--verbose"]),
        (["-p", "x", "-px"], ["-p", "***", "-p***"]),
        (["IONQ_API_KEY=x", "STEPS=9"], ["IONQ_API_KEY=***", "STEPS=9"]),
        (
            ["--store", "postgresql://me:x@h/d?sslpassword=y&a=1"],
            ["--store", "postgresql://me:***@h/d?sslpassword=***&a=1"],
        ),
        (['{"token": "x"}'], ['{"token": "***"}']),
        (["vqe.py", "--steps", "9", "-v", "--tokens", "5"], ["vqe.py", "--steps", "9", "-v", "--tokens", "5"]),
    ],
)
def test_arguments_of_programs_are_kept_without_secrets(given: list[str], stored: list[str]) -> None:
    assert scrub_argv(given) == stored


@pytest.mark.parametrize(
    "part", ["a", "://", "token=", "://a:", "\\'", "token='\\", "authorization: ", "bearer ", '"', "?key="]
)
def test_twice_the_text_takes_no_more_than_about_twice_the_time(part: str) -> None:
    know(SECRET)

    def seconds(length: int) -> float:
        text, times = part * (length // len(part)), []
        for _ in range(3):
            start = time.process_time()
            scrub(text)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(80_000) < 12 * seconds(20_000) + 0.05  # 16 times if it were quadratic


# -- errors


class VendorError(Exception):
    """As the clients of providers have them."""

    def __init__(self, message: str, *, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.headers = {"Retry-After": "7", "authorization": f"Bearer {SECRET}"}


def _raised(error: Exception) -> Exception:
    headers = {"x": SECRET}
    try:
        try:
            raise LookupError(f"{SECRET} {headers}")
        except LookupError as cause:
            raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        OSError(2, f"no file {SECRET}", SECRET),
        ConnectionResetError(SECRET),
        VendorError(f"429 for {SECRET}", status_code=429),
        qexec.ExecutorError("north", 2, ValueError(SECRET)),
        qexec.JobFailedError("north", "n-1", SECRET),
        ExceptionGroup("several", [ValueError(SECRET), KeyError(SECRET)]),
        KeyError({"a": [SECRET]}),
        UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "wrong"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_class_and_loses_the_secret_wherever_it_is(error: Exception) -> None:
    know(SECRET)
    safe = without_secrets(_raised(error))
    shown = "".join(traceback.format_exception(safe)) + repr(vars(safe)) + repr(safe.args)
    assert SECRET not in shown
    assert SECRET.encode() not in pickle.dumps(safe)
    assert isinstance(safe, type(error) if not isinstance(error, UnicodeDecodeError) else ValueError)
    assert "LookupError" in shown  # the way here is told, as a text


def test_a_safe_error_is_classified_as_the_one_it_stands_for() -> None:
    know(SECRET)
    error = VendorError(SECRET, status_code=429)
    safe = without_secrets(_raised(error))
    assert safe is not error
    assert (classify(safe), retry_after(safe)) == (Fault.TRANSIENT, 7.0)


def test_an_error_that_shows_nothing_is_left_as_it_is_with_its_traceback() -> None:
    know(SECRET)
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / (len(SECRET) - len(SECRET))
    before = caught.value.__traceback__
    assert without_secrets(caught.value) is caught.value
    assert caught.value.__traceback__ is before


def test_an_error_of_which_only_the_variables_show_it_is_the_same_without_its_traceback() -> None:
    know(SECRET)

    def fail() -> None:
        headers = {"nested": [(SECRET,)]}
        raise RuntimeError(f"{len(headers)} headers")

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert without_secrets(caught.value) is caught.value
    assert caught.value.__traceback__ is None
    assert "in fail" in "".join(caught.value.__notes__)


def test_errors_of_this_package_show_no_secret_however_they_are_made() -> None:
    know(SECRET)
    error = qexec.ConfigurationError(f"x={SECRET!r}")
    assert (str(error), error.args) == ("x='***'", ("x='***'",))


def test_a_record_keeps_its_arguments_unless_they_show_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    know(SECRET)
    logger = logging.getLogger("pennylane_qexec")
    logger.warning("%s of %d", "some", 3)
    logger.warning("%s of %d", SECRET, 3)
    assert [record.args for record in caplog.records] == [("some", 3), ()] or caplog.records[1].args is None
    assert [record.getMessage() for record in caplog.records] == ["some of 3", "*** of 3"]


# -- remembered


def test_secrets_inside_of_options_and_urls_are_remembered() -> None:
    know_named([{"a": {"api_token": "one-secret"}, "b": ["x://me:two%2Fsecret@h?password=three-secret"]}])
    assert scrub("one-secret two/secret two%2Fsecret three-secret seen") == "*** *** *** *** seen"


def test_what_is_no_url_is_not_looked_at() -> None:
    know_url("http://[::1:x@y")
    know_url("nothing")
    assert scrub("nothing") == "nothing"


# -- stores


URLS = [
    "postgresql://me:s3cr3t@h/d",
    "postgresql://me@h/d?password=s3cr3t",
    "postgresql://me@h/d?sslpassword=s3cr3t&a=1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_cache_with_a_password_in_its_url_is_not_sent_to_another_process(url: str) -> None:
    cache = qexec.Cache(url)
    with pytest.raises(qexec.ConfigurationError, match="was opened with a password") as caught:
        pickle.dumps(cache)
    assert "s3cr3t" not in str(caught.value) + repr(cache)


@pytest.mark.filterwarnings("ignore:Query string argument")
def test_the_url_of_a_store_is_shown_without_parameters_that_are_secret(tmp_path: Any) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db?api_key=s3cr3t&timeout=3") as store:
        assert "api_key=***" in store.url
        assert "timeout=3" in store.url
        assert "s3cr3t" not in repr(store)


def test_arguments_are_in_the_store_without_secrets(tmp_path: Any) -> None:
    with open_store(tmp_path / "a.db") as store:
        assert store.open_run("r", ["vqe.py", "--token", "x", "A_TOKEN=y"]).argv == (
            "vqe.py",
            "--token",
            "***",
            "A_TOKEN=***",
        )


NAMES = ["vqe-s3cr3t/4711", "vqe token=abc", "s3cr3t%2F4711", "https://me:word@host"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_runs_and_executors_have_no_secrets(tmp_path: Any, name: str) -> None:
    know("s3cr3t/4711")
    said = r"name of the (run|executor), .*\*\*\*.*, has a secret in it"
    with pytest.raises(qexec.ConfigurationError, match=said) as of_run, qexec.durable_run(name, tmp_path / "runs.db"):
        pass
    with pytest.raises(qexec.ConfigurationError, match=said) as of_executor:
        DeviceExecutor("default.qubit", name=name)
    assert not any(name in str(raised.value) for raised in (of_run, of_executor))
    with open_store(tmp_path / "runs.db") as store:
        assert store.runs() == []


def test_what_an_executor_of_the_users_has_under_the_name_of_a_secret_is_not_in_its_errors() -> None:
    class Vendor(qexec.Executor):
        def __init__(self, api_key: str) -> None:
            super().__init__("vendor")
            self._api_key = api_key

        def run(self, circuits: Any) -> Any:
            raise ConnectionError(f"{self._api_key} is no key")

    with qexec.QCluster([Vendor("k3y-of-4-vendor")], retry=qexec.retries.never()) as cluster:
        with pytest.raises(qexec.ExecutorError, match=r"ConnectionError: \*\*\* is no key") as raised:
            cluster.execute([flip(0.1)])
        assert "k3y-of-4-vendor" not in "".join(traceback.format_exception(raised.value))
        assert "k3y-of-4-vendor" not in cluster.history.to_dataframe().to_string()


def test_a_dispatch_shows_no_token_when_it_is_printed() -> None:
    dispatch = qexec.Dispatch()
    dispatch.add_job("ionq", "simulator", "OPENQASM 2.0; qreg q[1];", 10, config={"token": "t0ken-4-user", "seed": 1})
    assert "t0ken-4-user" not in str(dispatch)
    assert "seed=1" in str(dispatch)


def test_a_name_may_have_a_secret_that_is_an_ordinary_word(tmp_path: Any) -> None:
    know("default")
    know("password")
    assert DeviceExecutor("default.qubit").name == "default.qubit"
    with qexec.durable_run("password tests", tmp_path / "runs.db"):
        pass


def test_a_run_whose_name_turned_out_to_be_secret_goes_on_and_is_shown_without_it(tmp_path: Any) -> None:
    for _ in range(2):
        with qexec.durable_run("vqe-s3cr3t-4711", tmp_path / "runs.db"):
            pass
        know("s3cr3t-4711")
    for command in (["runs"], ["run-info", "vqe-s3cr3t-4711"], ["run-info", "vqe-s3cr3t-4711", "--json"]):
        shown = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "runs.db")])
        assert shown.exit_code == 0
        assert "vqe-***" in shown.output
        assert "s3cr3t-4711" not in shown.output


def test_a_saved_dispatch_has_no_options_that_are_secret() -> None:
    qasm = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; creg c[1]; measure q -> c;'
    options = {"token": "s3cr3t", "seed": 7}
    dispatch = qexec.Dispatch()
    dispatch.add_job("lab", "qpu", qasm, 10, options)
    (job,) = dispatch.to_dict()["jobs"]
    assert job["config"] == {"seed": 7}
    assert "s3cr3t" not in repr(list(dispatch))


# -- the environment


def test_variables_that_are_named_like_secrets_are_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "l4b-s3cr3t")
    assert scrub("401: l4b-s3cr3t") == "401: ***"


@pytest.mark.parametrize(
    ("name", "value"),
    [("USE_TOKEN", "true"), ("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/lab.json"), ("PWD", "/home/me")],
)
def test_switches_and_paths_in_the_environment_are_not_secret(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert scrub(f"x='{value}' is {value}") == f"x='{value}' is {value}"

"""Tokens come from arguments, the keyring, the environment or a file, in this order, and are shown nowhere."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from fakes.keyring_backend import MemoryKeyring
from keyring.backends.fail import Keyring as NoKeyring
from keyring.backends.null import Keyring as NullKeyring

import pennylane_qexec as qexec
from pennylane_qexec import credentials

SECRET = "s3cr3t-t0k3n"


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for names in credentials.VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)
    credentials.forget()


@pytest.fixture
def ring() -> MemoryKeyring:
    """A keyring in memory, in use."""
    return _used(MemoryKeyring())


def _used(backend: Any) -> Any:
    keyring.set_keyring(backend)
    credentials.forget()
    return backend


# -- where they come from


def test_what_is_given_goes_before_the_keyring_the_environment_and_the_file_in_this_order(
    ring: MemoryKeyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (credentials.arguments("ionq"), credentials.source("ionq")) == ({}, None)
    (tmp_path / ".env").write_text("IONQ_API_KEY=of-the-file\n")
    assert (credentials.arguments("ionq"), credentials.source("ionq")) == ({"api_key": "of-the-file"}, ".env")
    monkeypatch.setenv("IONQ_API_KEY", "of-the-environment")
    assert credentials.arguments("ionq") == {"api_key": "of-the-environment"}
    assert credentials.source("ionq") == "environment"
    credentials.store("ionq", "of-the-keyring")
    assert (credentials.arguments("ionq"), credentials.source("ionq")) == ({"api_key": "of-the-keyring"}, "keyring")
    assert credentials.arguments("ionq", {"api_key": "given"}) == {"api_key": "given"}


def test_the_file_is_found_in_a_folder_above_and_never_written_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("OQC_AUTH_TOKEN='of the file'\n")
    (tmp_path / "deep" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "inside")
    assert credentials.arguments("oqc") == {"token": "of the file"}
    assert "OQC_AUTH_TOKEN" not in os.environ


@pytest.mark.parametrize("generic", ["api_key", "token"])
@pytest.mark.parametrize(
    ("provider", "name"),
    [("ionq", "api_key"), ("ibm", "token"), ("aqt", "access_token"), ("aws", "aws_secret_access_key")],
)
def test_api_key_and_token_stand_for_the_main_secret_of_any_provider(provider: str, name: str, generic: str) -> None:
    assert credentials.arguments(provider, {generic: SECRET}) == {name: SECRET}


def test_the_main_secret_given_twice_is_refused_without_showing_it() -> None:
    with pytest.raises(
        qexec.ConfigurationError, match="the access_token of the provider 'aqt' was given twice"
    ) as caught:
        credentials.arguments("aqt", {"access_token": SECRET, "token": SECRET})
    assert SECRET not in str(caught.value)


def test_what_belongs_to_a_secret_comes_from_where_the_secret_comes_from(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-1")
    mine = {"aws_access_key_id": "id-2", "aws_secret_access_key": "secret-2"}
    credentials.store("aws", mine)
    assert credentials.arguments("aws") == mine
    assert credentials.arguments("aws", {"aws_access_key_id": "id-3", "aws_secret_access_key": "secret-3"}) == {
        "aws_access_key_id": "id-3",
        "aws_secret_access_key": "secret-3",
    }


def test_settings_come_from_anywhere(ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", "crn:x")
    credentials.store("ibm", SECRET)
    assert credentials.arguments("ibm") == {"token": SECRET, "instance": "crn:x"}


@pytest.mark.parametrize(
    ("alias", "name"), [("braket", "aws"), ("qiskit", "ibm"), ("native", "qbraid"), ("IonQ", "ionq")]
)
def test_a_provider_has_one_name_whatever_it_is_called(ring: MemoryKeyring, alias: str, name: str) -> None:
    credentials.store(alias, SECRET)
    assert (credentials.stored(), credentials.source(name)) == ([name], "keyring")


def test_a_provider_that_qbraid_does_not_know_has_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEXEC_MY_LAB_TOKEN", SECRET)
    assert credentials.arguments("my-lab", {"url": "https://lab"}) == {"api_key": SECRET, "url": "https://lab"}


def test_a_provider_with_a_login_of_its_own_needs_nothing() -> None:
    assert (credentials.arguments("quantinuum"), credentials.source("quantinuum")) == ({}, None)


# -- the keyring


def test_providers_with_a_stored_token_are_listed_until_it_is_removed(ring: MemoryKeyring) -> None:
    assert credentials.stored() == []
    credentials.store("ionq", SECRET)
    credentials.store("aqt", "another")
    assert credentials.stored() == ["aqt", "ionq"]
    credentials.remove("ionq")
    assert (credentials.stored(), credentials.arguments("ionq")) == (["aqt"], {})
    with pytest.raises(qexec.ConfigurationError, match="no provider with a token in the keyring is called 'ionq'"):
        credentials.remove("ionq")


def test_each_entry_is_asked_for_once_found_or_not(ring: MemoryKeyring) -> None:
    ring.kept["pennylane-qexec", "oqc"] = "put there by another program"
    for _ in range(3):
        assert credentials.arguments("ionq") == {}
        assert credentials.arguments("oqc") == {"token": "put there by another program"}
    assert sorted(ring.asked) == ["ionq", "oqc"]


def test_a_keyring_that_is_locked_is_asked_once_and_then_left_alone(ring: MemoryKeyring, caplog: Any) -> None:
    ring.locked = True
    for provider in ("ionq", "oqc", "ionq"):
        assert credentials.arguments(provider) == {}
    assert ring.asked == ["ionq"]
    assert caplog.text.count("the keyring could not be read (KeyringLocked)") == 1


@pytest.mark.parametrize("backend", [NoKeyring, NullKeyring], ids=["none", "null"])
def test_without_a_keyring_there_is_nothing_and_storing_says_what_to_do(backend: Any, caplog: Any) -> None:
    _used(backend())
    assert (credentials.arguments("ionq"), credentials.stored(), credentials.source("ionq")) == ({}, [], None)
    assert caplog.text == ""
    with pytest.raises(
        qexec.ConfigurationError, match=r"Set IONQ_API_KEY in the environment or in a \.env file instead"
    ):
        credentials.store("ionq", SECRET)


@pytest.mark.parametrize(
    ("provider", "token", "message"),
    [
        ("ionq", " ", "the api_key of the provider 'ionq' is empty"),
        ("ionq", {}, "no token was given for the provider 'ionq'"),
        ("aws", {"acces_key": SECRET}, "no argument of the provider 'aws' is called 'acces_key'"),
        ("quantinuum", SECRET, "has no token: log in with its own program"),
    ],
)
def test_what_is_no_token_is_not_stored(ring: MemoryKeyring, provider: str, token: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message) as caught:
        credentials.store(provider, token)
    assert (ring.kept, SECRET in str(caught.value)) == ({}, False)


# -- shown nowhere


def test_a_hidden_text_is_in_no_text_and_no_pickle() -> None:
    hidden = credentials.Hidden(SECRET)
    shown = [repr(hidden), str(hidden), f"{hidden}", "%s" % hidden, repr({"token": hidden}), repr(dir(hidden))]  # noqa: UP031
    assert (SECRET in "".join(shown), hidden.reveal(), str(hidden)) == (False, SECRET, "***")
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a secret is not sent to another process"):
            copied(hidden)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(ConnectionResetError, ConnectionError), (LookupError, RuntimeError), (UnicodeError, ValueError)],
)
def test_an_error_that_shows_a_secret_is_raised_again_without_it(raised: Any, expected: Any) -> None:
    credentials.arguments("ionq", {"api_key": SECRET + "/+"})

    def fail() -> None:
        try:
            raise OSError("https://vendor?key=s3cr3t-t0k3n%2F%2B")
        except OSError as error:
            raise raised(f"401: {SECRET}/+ is wrong") from error

    with pytest.raises(expected, match=rf"{raised.__name__}: .*401: \*\*\* is wrong") as caught:
        credentials.guarded(fail)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_an_error_that_shows_it_in_its_cause_only_loses_the_cause() -> None:
    def fail() -> None:
        raise ValueError("no connection") from OSError(SECRET)

    with pytest.raises(ValueError, match="ValueError: no connection") as caught:
        credentials.guarded(fail, SECRET)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_error_that_shows_nothing_is_raised_as_it_is() -> None:
    error = LookupError("nothing of the kind")

    def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        credentials.guarded(fail, SECRET)
    assert caught.value is error


def test_nothing_that_is_stored_or_looked_up_shows_in_logs_or_errors(ring: MemoryKeyring, caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        credentials.store("ionq", SECRET)
        credentials.arguments("ionq")
        ring.locked = True
        with pytest.raises(qexec.ConfigurationError) as caught:
            credentials.store("ionq", SECRET)
    remembered = [caught.value, caught.value.__context__, caught.value.__context__.__context__]  # type: ignore[union-attr]
    assert SECRET not in caplog.text + repr(remembered)


def test_a_secret_inside_of_another_one_leaves_nothing_of_it() -> None:
    assert credentials.scrub("abcd-efgh-ijkl", "efgh", credentials.Hidden("abcd-efgh")) == "***-ijkl"

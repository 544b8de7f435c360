"""Tokens tell who asks, until they expire or are revoked."""

from __future__ import annotations

import json
import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.records import Records, User, open_records
from pennylane_qexec.server.tokens import Tokens
from pennylane_qexec.testing.stores.jobs import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def records(tmp_path: Path, clock: ManualClock) -> Iterator[Records]:
    with open_records(tmp_path / "store.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def tokens(records: Records, clock: ManualClock) -> Tokens:
    return Tokens(records, lifetime=100, clock=clock)


def test_an_api_token_is_its_users(records: Records, tokens: Tokens) -> None:
    ann, root = records.add_token("ann"), records.add_token("root", admin=True)
    assert tokens.find(ann) == User("ann", False, 1)
    assert tokens.find(root) == User("root", True, 2)
    assert tokens.find("") is None
    assert tokens.find(ann[:-1]) is None
    assert tokens.find("\udcff") is None


def test_a_token_has_256_random_bits_and_only_its_digest_is_recorded(records: Records, tmp_path: Path) -> None:
    token = records.add_token("ann")
    assert len(urlsafe_b64decode(token.removeprefix("qexec_") + "=")) == 32
    assert token not in "".join(sqlite3.connect(tmp_path / "store.db").iterdump())


def test_a_revoked_token_is_nobodys_at_once_in_every_server(
    records: Records, tokens: Tokens, tmp_path: Path, clock: ManualClock
) -> None:
    token = records.add_token("ann")
    access = tokens.issue(token)
    with open_records(tmp_path / "store.db", clock=clock) as others:
        elsewhere = Tokens(others, clock=clock)
        assert access is not None
        assert elsewhere.find(access.text) == elsewhere.find(token) == User("ann", False, 1)
        assert records.revoke(1)
        for shown in (token, access.text):
            assert tokens.find(shown) is None
            assert elsewhere.find(shown) is None
    assert tokens.issue(token) is None
    assert [one.revoked for one in records.tokens()] == [clock.now]
    assert not records.revoke(2)


def test_an_access_token_expires(records: Records, tokens: Tokens, clock: ManualClock) -> None:
    access = tokens.issue(records.add_token("ann"))
    assert access is not None
    assert (access.issued, access.expires) == (clock.now, clock.now + 100)
    claims = jwt.decode(access.text, options={"verify_signature": False})
    assert (claims["iat"], claims["exp"]) == (access.issued, access.expires)
    clock.now += 99
    assert tokens.find(access.text) is not None
    clock.now += 1
    assert tokens.find(access.text) is None


def test_no_access_token_for_who_shows_no_valid_token(records: Records, tokens: Tokens) -> None:
    access = tokens.issue(records.add_token("ann"))
    assert access is not None
    assert tokens.issue("nobody's") is None
    assert tokens.issue(access.text) is None  # it would live for ever


def _signed(secret: str, **changes: object) -> str:
    return jwt.encode({"sub": "ann", "token": 1, "iat": 0, "exp": 2**40} | changes, secret, "HS256")


def test_forged_access_tokens_are_nobodys(records: Records, tokens: Tokens) -> None:
    records.add_token("ann")
    records.add_token("root", admin=True)
    secret = records.secret("access tokens")
    assert tokens.find(_signed(secret)) == User("ann", False, 1)
    head, body, signature = _signed(secret).split(".")
    claims = json.loads(urlsafe_b64decode(body + "=="))
    other = urlsafe_b64encode(json.dumps(claims | {"token": 2, "sub": "root"}).encode()).decode().rstrip("=")
    unsigned = jwt.encode(claims, None, "none")
    forged = [
        *(f"{head}.{other}.{signature}", f"{head}.{body}.", unsigned, "..", "a.b.c"),
        *(
            _signed("x" * 64),
            jwt.encode(claims, secret, "HS512"),
            _signed(secret, sub="root"),
            _signed(secret, token=7),
        ),
        *(_signed(secret, token="1"), _signed(secret, token=True), _signed(secret, exp=2.0**40)),
        _signed(secret, sub=None),
    ]
    assert [text for text in forged if tokens.find(text) is not None] == []


def test_servers_of_one_store_have_the_same_secret_and_other_stores_another_one(
    records: Records, tmp_path: Path
) -> None:
    with open_records(tmp_path / "store.db") as same, open_records(tmp_path / "other.db") as other:
        assert same.secret("access tokens") == records.secret("access tokens")
        assert len({records.secret("access tokens"), records.secret("b"), other.secret("access tokens")}) == 3
        assert len(records.secret("b")) == 64


@pytest.mark.parametrize("user", ["", " ", "ada\nbob", "\x1b[2J", "x" * 201, None])
def test_a_name_that_nobody_could_type_gets_no_token(records: Records, user: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a user"):
        records.add_token(user)
    assert records.tokens() == []

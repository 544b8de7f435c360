"""A PostgreSQL server of the tests' own, in a temporary folder."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import psycopg

_START = "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=40"
_ACCOUNTS = ("postgres", "nobody")


class PostgresServer:
    """A server that is started on entering, and stopped and removed on leaving.

    PostgreSQL does not run as root: there, it runs as another user.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="qexec-postgresql-"))
        self._rights = _rights(self._folder)
        self._names = itertools.count()
        self.port = _free_port()

    def __enter__(self) -> Self:
        options = ("--auth=trust", "--username=qexec", "--no-sync", "--encoding=UTF8", "--locale=C")
        self._run("initdb", *options)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = _START.format(port=self.port)
        self._run("pg_ctl", "start", "--wait", "--log", str(self._folder / "log"), "--options", options)

    def stop(self, how: str = "immediate") -> None:
        """Stop it: ``"fast"``, or ``"immediate"`` as if it had crashed."""
        self._run("pg_ctl", "stop", "--wait", "--mode", how)

    def new_place(self, port: int | None = None) -> str:
        """The URL of a new, empty schema; ``port`` if it is to be reached through another one."""
        name = f"test{next(self._names)}"
        with psycopg.connect(f"postgresql://qexec@127.0.0.1:{self.port}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"postgresql+psycopg://qexec@127.0.0.1:{port or self.port}/postgres?options=-csearch_path%3D{name}"

    def guard(self, user: str, password: str) -> None:
        """Make a user whom the server asks for a password."""
        with psycopg.connect(f"postgresql://qexec@127.0.0.1:{self.port}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{password}'")
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self._run("pg_ctl", "reload")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "--pgdata", str(self._folder / "data"), *arguments]
        with (self._folder / "said").open("a+") as said:
            code = subprocess.run(command, cwd=self._folder, stdout=said, stderr=said, **self._rights).returncode
        if code:
            raise RuntimeError(f"{program} failed: {(self._folder / 'said').read_text()}")


def _programs() -> Path:
    """Where PostgreSQL's programs are: in the path, where Debian has them, or in the package pgserver."""
    folders = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := importlib.util.find_spec("pgserver"):
        folders += [Path(place) / "pginstall" / "bin" for place in found.submodule_search_locations or ()]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise RuntimeError("these tests need PostgreSQL. Install it: apt install postgresql, or brew install postgresql.")


def _rights(folder: Path) -> dict[str, Any]:
    """How to run the server: as this user, or as another one, who gets the folder."""
    if os.geteuid() != 0:
        return {}
    known = {account.pw_name: account for account in pwd.getpwall()}
    account = next(known[name] for name in _ACCOUNTS if name in known)
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

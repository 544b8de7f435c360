"""Bringing the tables of a database up to date when it is opened."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from pennylane_qexec.errors import StoreError
from pennylane_qexec.store.gate import Gate
from pennylane_qexec.store.sound import shown
from pennylane_qexec.store.tables import REVISION, VERSION_TABLE

MIGRATIONS = Path(__file__).parent / "migrations"

_lock = threading.Lock()  # alembic knows one migration at a time in a process


def migrate(gate: Gate) -> None:
    """Make the tables, or change them to what this version of the package needs; nothing, if they are.

    Of several processes that open a new database at once, one makes the tables, and the others wait for it.

    Raises:
        StoreError: a later version of the package has changed them.
    """
    if gate.once(revision) != REVISION:
        with _lock:
            gate.once(lambda connection: _upgrade(connection, gate.url))


def revision(connection: Connection) -> str | None:
    """What the tables are at; ``None`` if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def _upgrade(connection: Connection, url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    attributes: dict[str, Any] = {"connection": connection}
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    at = revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in known:
        raise StoreError(
            f"the store {url} was made by a later version of pennylane-qexec: its tables are at {shown(at)}, which "
            f"this version, at {REVISION!r}, does not know. Update pennylane-qexec, or give another store."
        )
    command.upgrade(config, "head")

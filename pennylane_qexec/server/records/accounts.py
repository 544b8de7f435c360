"""What is done to tokens, secrets and usage, within a transaction."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.persistence.store.database import PreparedStatement, insert_into
from pennylane_qexec.persistence.store.tables import server_secrets, server_tokens, server_usage
from pennylane_qexec.server.records.types import ServerToken, User

_PREFIX = "qexec_"  # so that whoever finds one knows what it is of
_BYTES = 32
_DAY = 86400.0


_LONGEST_NAME = 200


def check_name(user: object) -> None:
    """Refuse a name for a user that could not be printed and typed.

    Raises:
        ConfigurationError: it could not.
    """
    if not isinstance(user, str) or not user.strip() or not user.isprintable() or len(user) > _LONGEST_NAME:
        raise ConfigurationError(f"{user!r:.80} cannot be the name of a user. Give a text of one line, such as 'ada'.")


def new_token() -> str:
    """A new token, of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def digest(token: str) -> str:
    """What is recorded of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


_COLUMNS = [server_tokens.c[name] for name in ("id", "digest", "user", "admin")]
_VALID = server_tokens.c.revoked.is_(None)
_BY_DIGEST = PreparedStatement(
    lambda _: select(*_COLUMNS).where(server_tokens.c.digest == bindparam("wanted"), _VALID), ["wanted"]
)
_BY_ID = PreparedStatement(
    lambda _: select(*_COLUMNS).where(server_tokens.c.id == bindparam("wanted"), _VALID), ["wanted"]
)


def add(connection: Connection, its_digest: str, user: str, admin: bool, now: float) -> None:
    """Record a token; nothing, if it was recorded."""
    values = {"digest": its_digest, "user": user, "admin": admin, "created": now}
    connection.execute(insert_into(connection, server_tokens).values(values).on_conflict_do_nothing())


def find(connection: Connection, token: str) -> User | None:
    """Whose a token is; ``None`` if it is nobody's, or was revoked."""
    wanted = digest(token)
    row = _BY_DIGEST.select(connection, (wanted,)).first()
    return _user_of(row) if row is not None and hmac.compare_digest(row.digest, wanted) else None


def by_id(connection: Connection, token: int) -> User | None:
    """Whose the token with a number is; ``None`` if there is none, or it was revoked."""
    row = _BY_ID.select(connection, (token,)).first()
    return None if row is None else _user_of(row)


def _user_of(row: Any) -> User:
    return User(row.user, bool(row.admin), row.id)


def revoke(connection: Connection, token: int, now: float) -> bool:
    """Let a token be nobody's from now on. Returns whether there is such a token."""
    changed = update(server_tokens).where(server_tokens.c.id == token)
    return connection.execute(changed.values(revoked=func.coalesce(server_tokens.c.revoked, now))).rowcount == 1


def every(connection: Connection) -> list[ServerToken]:
    """All tokens that were made, the oldest first."""
    columns = [server_tokens.c[name] for name in ("id", "user", "admin", "created", "revoked")]
    return [ServerToken(*row) for row in connection.execute(select(*columns).order_by(server_tokens.c.id))]


def secret(connection: Connection, name: str) -> str:
    """The server's secret of a name, the same for all servers of a store; it is drawn when it is first asked for."""
    found = select(server_secrets.c.secret).where(server_secrets.c.name == name)
    if (known := connection.scalar(found)) is not None:
        return str(known)
    new = insert_into(connection, server_secrets).values(name=name, secret=secrets.token_hex(_BYTES))
    connection.execute(new.on_conflict_do_nothing())
    return str(connection.scalar(found))


def _add_usage(connection: Connection) -> Any:
    new = insert_into(connection, server_usage)
    more = {name: server_usage.c[name] + new.excluded[name] for name in ("seconds", "jobs")}
    return new.on_conflict_do_update(index_elements=["user", "day"], set_=more)


_ADD_USAGE = PreparedStatement(_add_usage, ["user", "day", "seconds", "jobs"])


def add_usage(connection: Connection, user: str, seconds: float, now: float) -> None:
    """Note that a job of a user was computed for so long."""
    _ADD_USAGE.change(connection, [(user, int(now // _DAY), seconds, 1)])


def usage(connection: Connection, user: str, since: float) -> float:
    """For how many seconds the jobs of a user were computed, from the beginning of a day (UTC) on."""
    used = select(func.coalesce(func.sum(server_usage.c.seconds), 0.0))
    of_user = used.where(server_usage.c.user == user, server_usage.c.day >= int(since // _DAY))
    return float(connection.scalar(of_user) or 0.0)

"""How long a user's jobs may be computed within a number of days."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pennylane_qexec.server.records import Records, User
from pennylane_qexec.server.settings import Settings

_DAY = 86_400.0


@dataclass(frozen=True)
class Allowance:
    """What each user of a server may use.

    Attributes:
        seconds: that the jobs of a user may be computed; ``None`` for any number.
        days: in which they may.
    """

    seconds: float | None
    days: int

    @classmethod
    def of(cls, settings: Settings) -> Allowance:
        """That of a server with these settings."""
        return cls(settings.usage_limit, settings.usage_days)

    @property
    def since(self) -> float:
        """When these days began, in seconds since 1970."""
        return time.time() - self.days * _DAY

    def used(self, records: Records, user: str) -> float:
        """For how many seconds the jobs of a user were computed in these days. This blocks."""
        return records.usage(User(user), self.since)

    def objection(self, user: str, used: float) -> str | None:
        """Why a user who has used so many seconds may use no more; ``None`` if they may."""
        if self.seconds is None or used < self.seconds:
            return None
        return f"{user!r} has used the {self.seconds:g} seconds that a user may in {self.days} days."

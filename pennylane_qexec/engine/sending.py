"""Whether a batch has reached its executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Sending:
    """What is known of a batch on its way.

    Attributes:
        reached: whether its executor may have begun with it.
    """

    reached: bool = False

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While this lasts, the batch has not reached its executor."""
        self.reached = False
        yield
        self.reached = True

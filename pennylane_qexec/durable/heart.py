"""Shows that a run lives, in a thread that nothing else can keep busy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pennylane_qexec.store.gate import LostStoreError

logger = logging.getLogger("pennylane_qexec")

_BEATS = 3
"""How often in each lease a run shows that it lives."""


class Heart:
    """Beats until it is stopped.

    Args:
        beat: shows that the run lives; says whether others believe it.
        lease: seconds without a beat after which others take the run for dead.
        name: of the run.
        lost: called when the store is not the one any more that the program would go on with.
    """

    def __init__(
        self, beat: Callable[[], bool], lease: float, name: str, lost: Callable[[LostStoreError], None]
    ) -> None:
        self._beat = beat
        self._lost = lost
        self._pause = lease / _BEATS
        self._name = name
        self._stopped = threading.Event()
        threading.Thread(target=self._work, name=f"qexec-heart-{name}", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()

    def _work(self) -> None:
        buried = False
        while not self._stopped.wait(self._pause):
            try:
                alive = self._beat()
            except LostStoreError as error:
                logger.error("the durable run %r cannot go on: %s", self._name, error)
                self._lost(error)
                return
            except Exception as error:
                if self._stopped.is_set():
                    return
                logger.warning("the durable run %r could not show that it lives: %s", self._name, error)
                continue
            if not alive and not buried:
                logger.warning(
                    "the durable run %r was taken for dead by another process, which goes on with it", self._name
                )
            buried = not alive

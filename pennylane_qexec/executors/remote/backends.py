"""A vendor's backend: looked up when the first job is sent, and kept; asked now and then how it is."""

from __future__ import annotations

import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.job import Status

_FRESH = 30.0  # seconds for which what a backend says of itself is believed

logger = logging.getLogger("pennylane_qexec")


class RemoteBackend(ABC):
    """A vendor's backend, which is looked up when the first job is sent, and kept.

    Args:
        name: its name.
        found: the vendor's object, if it is known already.

    Attributes:
        name: its name, for tables.
    """

    def __init__(self, name: str, found: Any = None) -> None:
        self.name = name
        self._lock = threading.RLock()
        self._found = found
        self._asked = -math.inf
        self._status = Status()

    @abstractmethod
    def find(self) -> Any:
        """Look it up at the vendor, or build it.

        Raises:
            ConfigurationError: there is none, or no access to it.
        """

    @abstractmethod
    def ask(self) -> Status:
        """Ask the vendor how it is, once it is known."""

    def backend(self) -> Any:
        """The vendor's object."""
        with self._lock:
            if self._found is None:
                self._found = self.find()
            return self._found

    @property
    def known(self) -> Any:
        """The vendor's object; ``None`` if the vendor would have to be asked for it."""
        return self._found

    def status(self) -> Status:
        """What it said of itself at most half a minute ago; nothing is asked before the first job."""
        if self._found is None or time.monotonic() - self._asked < _FRESH:
            return self._status
        self._asked = time.monotonic()
        try:
            self._status = self.ask()
        except Exception as error:  # the network; a job that is sent now will say more
            logger.warning("backend %r did not say how it is (%s)", self.name, type(error).__name__)
        return self._status

    def objection(self, circuit: QuantumScript) -> str | None:
        """Why a circuit does not fit it, as far as is known without asking the vendor."""
        known = self.known
        if known is None or known.num_qubits is None or len(circuit.wires) <= known.num_qubits:
            return None
        return f"has {known.num_qubits} qubits"

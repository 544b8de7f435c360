"""What PennyLane and Autograd keep once for the whole process, made safe for threads.

A cluster runs circuits in threads, and its users differentiate in threads. Opening one replaces the few methods that
would let threads change each other's circuits, derivatives and totals, without an error.

The changes stay once made: taking them out while some thread works would do the damage that they prevent.
"""

from __future__ import annotations

import threading

from pennylane_qexec.isolation import levels, recording, totals

__all__ = ["install", "installed"]

_installing = threading.Lock()
_installed = False


def installed() -> bool:
    """Whether PennyLane and Autograd have been made safe for threads in this process."""
    return _installed


def install() -> None:
    """Make PennyLane record, and Autograd differentiate, safely in threads from now on. Again: does nothing.

    Raises:
        ConfigurationError: this version of PennyLane or Autograd keeps its state in a way not known here, or another
            thread has been recording for a minute.
    """
    global _installed
    with _installing:
        if _installed:
            return
        recording.check()
        levels.check()
        totals.check()
        recording.make_local()
        levels.make_unique()
        totals.add_one_at_a_time()
        _installed = True

"""Autograd's levels of differentiation, each made the only one of its number.

Autograd numbers the derivatives in progress, and takes the higher number of two for the inner derivative. It counts up
where one begins and down where one ends, for the whole process. Threads that differentiate at the same time count each
other's: a derivative inside another one can get the same number, or a lower one, and comes out wrong without an error.

A count per thread would not do: a derivative can have its inner one computed in another thread. So each gets a number
that no other ever had. One that begins inside another begins later, and its number is higher.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from autograd import tracer

from pennylane_qexec.errors import ConfigurationError

# Derivatives in progress keep the numbers they have; what begins inside them has to be above.
_levels = itertools.count(1 << 32)


@contextmanager
def _new_trace(self: Any) -> Iterator[int]:
    yield next(_levels)


def check() -> None:
    """Make sure that Autograd counts as expected.

    Raises:
        ConfigurationError: it does not.
    """
    stack = getattr(tracer, "trace_stack", None)
    if "new_trace" not in vars(type(stack)) or getattr(stack, "__dict__", {}).keys() != {"top"}:
        raise ConfigurationError(
            f"autograd {version('autograd')} is not known to this version of pennylane-qexec (its trace_stack, which "
            "counts derivatives, must be made safe for threads). Install 'autograd>=1.7,<1.9', or a newer "
            "pennylane-qexec."
        )


def make_unique() -> None:
    """Give every derivative that begins from now on a number of its own."""
    # Other modules hold the stack by name, so its method is replaced and not the stack.
    tracer.TraceStack.new_trace = _new_trace

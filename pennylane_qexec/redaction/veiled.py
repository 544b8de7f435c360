"""Functions that are given secrets, and whose errors do not show them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pennylane_qexec.redaction.exceptions import without_secrets
from pennylane_qexec.redaction.known import know_named

P = ParamSpec("P")
T = TypeVar("T")


def veiled(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose errors show no secret, nor do the variables of their tracebacks from here on.

    What is named like a secret among its arguments, or inside of them, is remembered as one.

    Args:
        function: is given secrets, among its arguments or inside of them.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        know_named([args, kwargs])
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failure = without_secrets(error)
            if failure is error and error.__traceback__ is not None:
                raise
        del args, kwargs  # else a traceback that shows variables shows them
        # Raised out here, it does not remember what was raised in there.
        raise failure

    return call

"""What people see of things: nothing gives orders to their terminal, and nothing incomplete fails to be shown."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.redaction.display import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("h2-vqe, λ = 1", "h2-vqe, λ = 1"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\rb\bc\x9b2J", r"a\rb\x08c\x9b2J"),
        ("two\nlines", "two\nlines"),
        ("\u202eright to left", r"\u202eright to left"),
        ("half of a \ud800 character", r"half of a \ud800 character"),
    ],
)
def test_control_characters_are_shown_as_text(text: str, shown: str) -> None:
    assert printable(text) == shown


def _represented() -> list[Any]:
    """The classes of the package that say themselves how they are shown."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(qexec.__path__, "pennylane_qexec."):
        if ".migrations" not in module.name and ".testing" not in module.name:
            for one in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(one) and one.__module__ == module.name and "__repr__" in vars(one):
                    found[one.__qualname__] = one
    plain = [one for one in found.values() if not (hasattr(one, "__dataclass_fields__") or issubclass(one, tuple))]
    return [one for one in plain if not inspect.isabstract(one)]


def test_an_object_whose_init_has_not_ended_is_shown_as_incomplete() -> None:
    classes = _represented()
    assert len(classes) > 15
    for one in classes:
        assert repr(object.__new__(one))
    assert repr(object.__new__(qexec.QCluster)) == "<QCluster, incomplete>"


def test_a_cluster_that_cannot_be_opened_is_shown_as_incomplete() -> None:
    try:
        qexec.QCluster(["default.qubit"], selector="nobody")
    except qexec.PolicyError as error:
        frame = error.__traceback__
        while frame is not None and "self" not in frame.tb_frame.f_locals:
            frame = frame.tb_next
        assert frame is not None
        assert repr(frame.tb_frame.f_locals["self"]).startswith("<QCluster")
    else:
        pytest.fail("it was opened")

"""What is public is documented, and what is documented exists."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pennylane_qexec as qexec
from pennylane_qexec import testing
from pennylane_qexec.policies import Policies

ROOT = Path(__file__).parents[2]
PUBLIC = {name: getattr(qexec, name) for name in qexec.__all__ if name != "Result"}


def _undocumented(name: str, thing: Any) -> Iterator[str]:
    if not (inspect.getdoc(thing) or "").strip():
        yield name
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                documented = getattr(thing, key) if inspect.isroutine(member) else member
                if not (inspect.getdoc(documented) or "").strip():
                    yield f"{name}.{key}"
    if inspect.ismodule(thing):
        for key, member in vars(thing).items():
            if not key.startswith("_") and getattr(member, "__module__", None) == thing.__name__:
                yield from _undocumented(f"{name}.{key}", member)


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_has_a_docstring(name: str) -> None:
    assert list(_undocumented(name, PUBLIC[name])) == []


def test_contracts_and_fakes_have_docstrings() -> None:
    own = [thing for name, thing in vars(testing).items() if getattr(thing, "__module__", "") == testing.__name__]
    public = [thing for thing in own if isinstance(thing, type | types.FunctionType) and thing.__name__[0] != "_"]
    assert [thing.__name__ for thing in public if not inspect.getdoc(thing)] == []


def test_every_name_in_all_is_in_the_reference() -> None:
    reference = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert [name for name in qexec.__all__ if name not in reference] == []


@pytest.mark.parametrize("page", ["README.md", "docs/howto/write-a-policy.md"])
@pytest.mark.parametrize("kind", ["selector", "split", "merge"])
def test_every_built_in_policy_is_mentioned(kind: Any, page: str) -> None:
    text = (ROOT / page).read_text()
    names = Policies(np.random.default_rng(0)).names(kind)
    assert names
    assert [name for name in names if f'"{name}"' not in text] == []


@pytest.mark.parametrize("page", ["README.md", "docs/howto/write-a-policy.md"])
def test_the_policies_with_arguments_are_mentioned(page: str) -> None:
    text = (ROOT / page).read_text()
    assert "selectors.weighted(" in text
    assert "splits.weighted(" in text

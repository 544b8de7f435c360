"""What users give as a mapping becomes an object, or is refused in one way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.errors import coerce


@dataclass(frozen=True)
class Limit:
    what: str
    most: int = 3


def test_an_object_is_taken_as_it_is() -> None:
    limit = Limit("shots")
    assert coerce(Limit, limit, "no limit") is limit


def test_a_mapping_has_the_arguments() -> None:
    assert coerce(Limit, {"what": "shots", "most": 5}, "no limit") == Limit("shots", 5)


@pytest.mark.parametrize("value", [3, "shots", ["shots"], {"most": 4}])
def test_what_is_neither_or_lacks_an_argument_is_refused_with_the_given_message(value: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"^no limit$"):
        coerce(Limit, value, "no limit")


def test_an_unknown_argument_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"no argument of Limit is called 'mots'. Did you mean 'most'\?"):
        coerce(Limit, {"what": "shots", "mots": 4}, "no limit")
    with pytest.raises(qexec.ConfigurationError, match=r"no kind of limit is called 7\. Known: most, what"):
        coerce(Limit, {"what": "shots", 7: 4}, "no limit", "kind of limit")

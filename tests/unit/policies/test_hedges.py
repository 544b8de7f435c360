"""Hedges: after how long a circuit is given to a second executor."""

from __future__ import annotations

from typing import Any

import pytest

from pennylane_qexec import ConfigurationError, hedges


def test_a_hedge_comes_after_a_multiple_of_what_most_batches_take() -> None:
    policy = hedges.after(quantile=0.5, factor=3.0, least=0.0)
    assert policy.delay([2.0] * 9 + [100.0]) == 6.0


def test_a_hedge_never_comes_before_the_least() -> None:
    assert hedges.after(least=5.0).delay([0.1] * 20) == 5.0


def test_there_is_no_hedge_before_it_is_known_how_long_batches_take() -> None:
    policy = hedges.after(known=3)
    assert policy.delay([1.0, 1.0]) is None
    assert policy.delay([1.0, 1.0, 1.0]) == 2.0


def test_a_number_of_seconds_needs_no_knowledge() -> None:
    assert hedges.after(7.0).delay([]) == 7.0


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        (None, None),
        (30, hedges.after(30)),
        ({"quantile": 0.9, "factor": 3}, hedges.after(quantile=0.9, factor=3)),
        (hedges.after(1.0), hedges.after(1.0)),
    ],
)
def test_a_hedge_is_given_as_seconds_as_a_mapping_or_as_a_value(given: Any, policy: Any) -> None:
    assert hedges.of(given) == policy


@pytest.mark.parametrize(
    "wrong",
    [
        *({"seconds": 0}, {"seconds": -1.0}, {"quantile": 0.0}, {"quantile": 1.5}),
        *({"factor": 0}, {"least": -1.0}, {"known": 0}, {"least": "long"}, {"seconds": True}),
    ],
)
def test_a_hedge_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    ((option, value),) = wrong.items()
    with pytest.raises(ConfigurationError, match=f"{option}={value!r}.* makes no sense"):
        hedges.of(wrong)


@pytest.mark.parametrize("wrong", [True, "soon", [1.0]])
def test_what_is_no_hedge_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no hedge: give a number of seconds"):
        hedges.of(wrong)


def test_an_argument_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"quantil.*Did you mean 'quantile'"):
        hedges.of({"quantil": 0.9})

"""Retries: how often, and after how long."""

from __future__ import annotations

import pytest
from pennylane.exceptions import DeviceError, QuantumFunctionError, WireError

from pennylane_qexec import ConfigurationError, retries


def test_delays_double_up_to_the_maximum() -> None:
    policy = retries.backoff(attempts=9, initial=0.5, maximum=3.0)
    assert [policy.delay(attempt, 1.0) for attempt in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_delay_is_anywhere_between_nothing_and_its_limit() -> None:
    policy = retries.backoff(initial=2.0)
    assert [policy.delay(1, random) for random in (0.0, 0.25, 0.75)] == [0.0, 0.5, 1.5]


def test_a_late_attempt_waits_no_longer_than_the_maximum() -> None:
    assert retries.backoff(attempts=10_000, maximum=7.0).delay(5_000, 1.0) == 7.0


def test_attempts_count_the_first_one() -> None:
    policy = retries.backoff(attempts=3)
    assert [policy.allows(attempt, RuntimeError()) for attempt in (1, 2, 3, 4)] == [True, True, False, False]


def test_never_means_one_attempt() -> None:
    assert not retries.never().allows(1, RuntimeError())


@pytest.mark.parametrize(
    "error",
    [ValueError(), TypeError(), KeyError(), NotImplementedError(), DeviceError(), WireError(), QuantumFunctionError()],
)
def test_an_error_that_is_the_circuit_s_fault_is_not_tried_again(error: Exception) -> None:
    assert retries.is_permanent(error)
    assert not retries.backoff().allows(1, error)


@pytest.mark.parametrize("error", [RuntimeError(), OSError(), ConnectionError(), TimeoutError()])
def test_an_error_that_another_attempt_may_mend_is_tried_again(error: Exception) -> None:
    assert not retries.is_permanent(error)
    assert retries.backoff().allows(1, error)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": -2}, {"initial": -0.5}, {"maximum": -1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    ((option, value),) = wrong.items()
    with pytest.raises(ConfigurationError, match=f"{option}={value:g}.*at least 1"):
        retries.backoff(**wrong)  # type: ignore[arg-type]

"""Outcomes are written as frameworks do, or all alike."""

from __future__ import annotations

import pytest

from pennylane_qexec.circuits.frameworks import Bits
from pennylane_qexec.errors import ConfigurationError

TWO = Bits(((2, 0), (None, 1, 2)), "little", " ")


def test_registers_are_written_last_first_with_spaces_and_bit_0_last_as_qiskit_does() -> None:
    assert TWO.write({"001": 3, "110": 4}) == {"100 01": 3, "010 10": 4}


def test_the_other_orders_are_one_string_and_its_mirror_image() -> None:
    assert TWO.write({"001": 3, "110": 4}, "little") == {"10001": 3, "01010": 4}
    assert TWO.write({"001": 3, "110": 4}, "big") == {"10001": 3, "01010": 4}
    assert TWO.write({"011": 3}, "little") == {"11001": 3}
    assert TWO.write({"011": 3}, "big") == {"10011": 3}


def test_outcomes_that_differ_in_no_written_bit_are_added_up() -> None:
    assert Bits(((0,),), "big").write({"00": 3, "01": 4, "10": 5}) == {"0": 7, "1": 5}


def test_what_is_written_is_pythons_own() -> None:
    import numpy as np

    ((key, times),) = Bits(((0, 1),), "big").write({np.str_("01"): np.int64(3)}).items()  # type: ignore[dict-item]
    assert (type(key), type(times)) == (str, int)


def test_an_order_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'little'"):
        TWO.write({}, "litle")  # type: ignore[arg-type]

"""What a program finds out about the machine that it runs on."""

from __future__ import annotations

from pennylane_qexec.concurrency import resources


def test_free_memory_is_a_number_of_bytes() -> None:
    assert resources.free_memory() > 2**20

"""What took long to make is made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pennylane_qexec.concurrency.once import OnceCache

PATIENCE = 30


def test_a_value_is_made_once() -> None:
    kept, made = OnceCache[int](4), []
    assert [kept.get("a", lambda: made.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert made == [1]


def test_threads_that_ask_while_it_is_made_wait_for_it() -> None:
    kept, made = OnceCache[str](4), []
    begun, go_on = threading.Event(), threading.Event()

    def make() -> str:
        made.append(1)
        begun.set()
        assert go_on.wait(PATIENCE)
        return "made"

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(kept.get, "a", make)
        assert begun.wait(PATIENCE)
        others = [pool.submit(kept.get, "a", make) for _ in range(4)]
        go_on.set()
        assert [future.result(PATIENCE) for future in [first, *others]] == ["made"] * 5
    assert made == [1]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept = OnceCache[int](4)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 7) == 7


def test_what_one_thread_fails_to_make_another_that_waits_makes() -> None:
    """An interrupt of one thread is not the others'."""
    kept = OnceCache[str](4)
    begun, go_on = threading.Event(), threading.Event()

    def interrupted() -> str:
        begun.set()
        assert go_on.wait(PATIENCE)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(kept.get, "a", interrupted)
        assert begun.wait(PATIENCE)
        others = [pool.submit(kept.get, "a", lambda: "made") for _ in range(2)]
        go_on.set()
        assert [future.result(PATIENCE) for future in others] == ["made"] * 2
        assert isinstance(first.exception(PATIENCE), KeyboardInterrupt)


def test_what_asks_for_itself_does_not_wait_for_itself() -> None:
    kept = OnceCache[str](4)
    depth = []

    def make() -> str:
        depth.append(1)
        return kept.get("a", make) if len(depth) < 3 else "made"

    assert kept.get("a", make) == "made"
    assert len(kept) == 1


def test_of_too_many_the_one_not_used_for_longest_is_forgotten() -> None:
    kept = OnceCache[str](2)
    for key in ("a", "b", "a", "c"):
        kept.get(key, lambda: "first")
    assert [kept.get(key, lambda: "again") for key in ("a", "c")] == ["first", "first"]
    assert kept.get("b", lambda: "again") == "again"
    assert len(kept) == 2


def test_what_is_like_nothing_else_is_not_kept() -> None:
    kept = OnceCache[int](2)
    assert [kept.get(None, lambda value=value: value) for value in (1, 2)] == [1, 2]
    assert len(kept) == 0

"""What stores keep to with cached results."""

from __future__ import annotations

from collections.abc import Callable

from pennylane_qexec.store import Cached, Store
from pennylane_qexec.testing.stores.bench import StoreTests


class Caching(StoreTests):
    """What stores keep to with cached results."""

    def test_cached_results_come_back(self, opened: Callable[[], Store]) -> None:
        opened().cache_put([Cached("a", "1"), Cached("b", "π"), Cached("a", "2")], 1000)
        assert opened().cache_get(["a", "b", "c"]) == {"a": "2", "b": "π"}

    def test_the_cache_forgets_what_was_not_used_for_longest(self, store: Store) -> None:
        store.cache_put([Cached(key, "12345678") for key in "abc"], 27)
        self.clock.now -= 1000  # that the clock jumps makes nothing older
        store.cache_get(["a"])
        store.cache_put([Cached("d", "12345678")], 27)
        store.cache_get(["a"])
        store.cache_put([Cached("e", "12345678")], 27)
        assert sorted(store.cache_get(list("abcde"))) == ["a", "d", "e"]

    def test_what_is_larger_than_the_cache_is_not_cached(self, store: Store) -> None:
        store.cache_put([Cached("small", "1"), Cached("large", "1" * 100)], 50)
        assert store.cache_get(["small", "large"]) == {"small": "1"}

    def test_the_cache_says_how_much_it_has(self, store: Store) -> None:
        assert store.cache_info() == (0, 0, 0, 0.0)
        store.cache_put([Cached("a", "123"), Cached("b", "π")], 1000)
        store.cache_get(["a", "b"])
        store.cache_get(["a", "c"])
        assert store.cache_info() == (2, 7, 3, 1e9)
        assert store.cache_clear() == 2
        assert store.cache_get(["a"]) == {}

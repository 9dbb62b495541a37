import pytest

from stateroom.engine.cache import ASTCache, CacheStatistics, CodeCache


def key(source, mode="exec", flags=0):
    return source, mode, flags


@pytest.mark.parametrize("kind", [CodeCache, ASTCache])
def test_the_entry_used_longest_ago_goes_first(kind):
    cache = kind(2)
    cache.put(key("a"), "A")
    cache.put(key("b"), "B")
    assert cache.get(key("a")) == "A"
    cache.put(key("c"), "C")
    assert key("b") not in cache
    assert cache.get(key("b")) is None
    assert cache.statistics == CacheStatistics(hits=1, misses=1, evictions=1, size=2, max_size=2)
    assert repr(cache) == f"<{kind.__name__} 2/2 hits=1 misses=1 evictions=1>"


def test_source_mode_and_flags_all_make_the_key():
    cache = CodeCache(8)
    cache.put(key("a"), 1)
    assert cache.get(key("a", mode="eval")) is None
    assert cache.get(key("a", flags=1)) is None
    assert cache.get(key("A")) is None
    assert cache.get(key("a")) == 1


def test_putting_again_replaces_and_counts_as_use():
    cache = CodeCache(2)
    for name in ("a", "b", "a"):
        cache.put(key(name), name)
    cache.put(key("c"), "c")
    assert key("a") in cache
    assert key("b") not in cache
    assert len(cache) == 2


def test_size_0_keeps_nothing():
    cache = CodeCache(0)
    cache.put(key("a"), 1)
    assert cache.get(key("a")) is None
    assert len(cache) == 0


def test_resize_and_clear():
    cache = CodeCache(3)
    for name in "abc":
        cache.put(key(name), name)
    cache.resize(1)
    assert list(map(cache.__contains__, map(key, "abc"))) == [False, False, True]
    cache.clear()
    assert len(cache) == 0
    assert cache.statistics.evictions == 2


@pytest.mark.parametrize("size", [-1, -100])
def test_a_negative_size_is_refused(size):
    with pytest.raises(ValueError, match="give 0"):
        CodeCache(size)
    with pytest.raises(ValueError, match="give 0"):
        CodeCache(1).resize(size)

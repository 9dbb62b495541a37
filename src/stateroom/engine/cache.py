"""A small least-recently-used cache with figures, for compiled cells and transformed trees."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

__all__ = ["ASTCache", "CacheKey", "CacheStatistics", "CodeCache", "LRUCache"]

Value = TypeVar("Value")

CacheKey = tuple[str, str, int]
"""Source text, mode, compiler flags (the persistent ``from __future__`` flags among them)."""


class CacheStatistics(NamedTuple):
    """What a cache did since it was made."""

    hits: int
    """Lookups that found an entry."""
    misses: int
    """Lookups that found none."""
    evictions: int
    """Entries dropped to make room."""
    size: int
    """Entries there are."""
    max_size: int
    """Entries there may be."""


class LRUCache(Generic[Value]):
    """Keeps the ``max_size`` entries used last; 0 keeps none. Failures are never put in.

    Used by the one thread that compiles; :meth:`resize` and :meth:`clear` likewise.
    """

    def __init__(self, max_size: int = 256) -> None:
        if max_size < 0:
            raise ValueError(f"max_size is {max_size}: give 0 (no cache) or more")
        self._entries: OrderedDict[CacheKey, Value] = OrderedDict()
        self._max_size = max_size
        self._hits = self._misses = self._evictions = 0

    def get(self, key: CacheKey) -> Value | None:
        """The entry for ``key``, which becomes the one used last; None is a miss."""
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        self._entries.move_to_end(key)
        return entry

    def put(self, key: CacheKey, value: Value) -> None:
        """Keep ``value``, and drop what was used longest ago if there are too many."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        self._shrink()

    def resize(self, max_size: int) -> None:
        """Change the limit; surplus entries go at once."""
        if max_size < 0:
            raise ValueError(f"max_size is {max_size}: give 0 (no cache) or more")
        self._max_size = max_size
        self._shrink()

    def clear(self) -> None:
        """Drop all entries; the figures stay."""
        self._entries.clear()

    def _shrink(self) -> None:
        while len(self._entries) > self._max_size:
            self._entries.popitem(last=False)
            self._evictions += 1

    @property
    def statistics(self) -> CacheStatistics:
        """Hits, misses, evictions, size and limit."""
        return CacheStatistics(self._hits, self._misses, self._evictions, len(self), self._max_size)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {len(self)}/{self._max_size}"
            f" hits={self._hits} misses={self._misses} evictions={self._evictions}>"
        )


class CodeCache(LRUCache[Value]):
    """Compiled cells, by source, mode and flags."""


class ASTCache(LRUCache[Value]):
    """Trees that the fallback wrapper transformed; plain trees are cheaper to build again."""

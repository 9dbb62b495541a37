"""The namespace of a session: one dict for life, merged into, never replaced."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["ENGINE_INTERNALS", "NamespaceManager"]

ENGINE_INTERNALS = frozenset(
    {
        "__name__",
        "__builtins__",
        "__doc__",
        "__loader__",
        "__spec__",
        "__package__",
        "__annotations__",
        "__annotate__",
        "__conditional_annotations__",
        "__cached__",
        "__warningregistry__",
        "_",
        "__",
        "___",
        "_i",
        "_ii",
        "_iii",
        "In",
        "Out",
    }
)
"""Names that the engine or Python keeps in the namespace; they are not the user's data."""

RESULT_NAMES = ("_", "__", "___")
INPUT_NAMES = ("_i", "_ii", "_iii")

MergeStrategy = Literal["overwrite", "preserve"]
SourceContext = Literal["user", "engine"]

_MISSING = object()


class NamespaceManager:
    """Owns the dict that cells run in, and the history of inputs and results.

    ``namespace`` may be given (a worker gives the dict of ``__main__``); it is filled, never
    replaced. ``history_size`` bounds ``In`` and ``Out`` in entries; 0 keeps none. The last three
    results and inputs (``_`` to ``___``, ``_i`` to ``_iii``) are kept besides.
    """

    def __init__(self, namespace: dict[str, Any] | None = None, *, history_size: int = 1000) -> None:
        if history_size < 0:
            raise ValueError(f"history_size is {history_size}: give 0 (no history) or more")
        self._namespace: dict[str, Any] = {} if namespace is None else namespace
        self._history_size = history_size
        self._inputs: list[str] = [""]
        self._outputs: dict[int, Any] = {}
        self._results: tuple[Any, ...] = (_MISSING,) * len(RESULT_NAMES)
        self._recent_inputs: tuple[Any, ...] = (_MISSING,) * len(INPUT_NAMES)
        self._seed: dict[str, Any] = {
            "__name__": "__main__",
            "__doc__": None,
            "__package__": None,
            "__loader__": None,
            "__spec__": None,
            "__builtins__": self._namespace.get("__builtins__", builtins),
            "In": self._inputs,
            "Out": self._outputs,
        }
        if sys.version_info < (3, 14):  # as the main module of Python itself
            self._seed["__annotations__"] = {}
        self._seed_names = self._seed.keys()
        self._builtins = self._seed["__builtins__"]
        self.prepare()

    @property
    def namespace(self) -> dict[str, Any]:
        """The one dict, the same object for life."""
        return self._namespace

    @property
    def execution_count(self) -> int:
        """How many inputs were recorded; the number of the newest in ``In``."""
        return len(self._inputs) - 1

    def prepare(self) -> None:
        """Put back what the next cell needs and an earlier one has destroyed.

        Names that are missing come back (``globals().clear()``), and so does ``__builtins__``
        when it was rebound: without it no cell could call ``print``. A rebound ``__name__``,
        ``In`` or ``Out`` is the user's own choice and stays. What was warned of is forgotten: the
        next cell has other lines under the same numbers.
        """
        namespace = self._namespace
        if "__warningregistry__" in namespace:
            del namespace["__warningregistry__"]
        if namespace.get("__builtins__") is not self._builtins:
            namespace["__builtins__"] = self._builtins
        if not self._seed_names <= namespace.keys():
            for name, value in self._seed.items():
                namespace.setdefault(name, value)

    def update_namespace(
        self,
        updates: Mapping[str, Any],
        source_context: SourceContext = "user",
        merge_strategy: MergeStrategy = "overwrite",
    ) -> dict[str, Any]:
        """Merge ``updates`` into the namespace and return what was changed.

        ``source_context="user"`` leaves :data:`ENGINE_INTERNALS` alone, ``"engine"`` may set them.
        ``merge_strategy="preserve"`` keeps names that are bound already. Raises ``ValueError``
        for any other word, before anything is changed.
        """
        _check_word("source_context", source_context, SourceContext)
        _check_word("merge_strategy", merge_strategy, MergeStrategy)
        changes = {
            name: value
            for name, value in updates.items()
            if not (source_context == "user" and name in ENGINE_INTERNALS)
            and not (merge_strategy == "preserve" and name in self._namespace)
        }
        self._namespace.update(changes)
        return changes

    def record_input(self, source: str) -> int:
        """Add a cell's source to ``In`` and ``_i``; return its number, counted from 1."""
        self._inputs.append(source if self._history_size else "")
        old = len(self._inputs) - 1 - self._history_size
        if old > 0:
            self._inputs[old] = ""  # the numbers of the others stay what they are
        self._recent_inputs = self._shift(INPUT_NAMES, self._recent_inputs, source)
        return self.execution_count

    def record_expression_result(self, value: Any) -> None:
        """Make ``value`` the newest of ``_``, ``__``, ``___`` and put it into ``Out``.

        None is no result. As in IPython the three names are left alone for as long as one of
        them is bound to something of the user's own (``_ = gettext``).
        """
        if value is None:
            return
        self._results = self._shift(RESULT_NAMES, self._results, value)
        if self._history_size and value is not self._outputs:
            self._outputs[self.execution_count] = value
            while len(self._outputs) > self._history_size:
                del self._outputs[next(iter(self._outputs))]

    def _shift(self, names: tuple[str, ...], previous: tuple[Any, ...], newest: Any) -> tuple[Any, ...]:
        """Move a row of names on by one; the namespace follows if nothing there is the user's."""
        current = (newest, *previous[:-1])
        namespace = self._namespace
        for name, ours in zip(names, previous, strict=True):
            if namespace.get(name, ours) is not ours:
                return current
        for name, value in zip(names, current, strict=True):
            if value is not _MISSING:
                namespace[name] = value
        return current

    def merge_locals_then_globals(
        self, local_names: Mapping[str, Any], globals_before: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Take over what a wrapped cell did: its locals first, then what it changed in the globals.

        ``globals_before`` is the :meth:`snapshot` taken before it ran. A name that the cell bound
        both ways ends up with the global value. Returns the names and values merged.
        """
        changed = {
            name: value
            for name, value in self._namespace.items()
            if globals_before.get(name, _MISSING) is not value
        }
        return {**self.update_namespace(local_names), **self.update_namespace(changed)}

    def snapshot(self) -> dict[str, Any]:
        """A shallow copy of the namespace as it is."""
        return dict(self._namespace)

    def user_names(self) -> list[str]:
        """The names that are the user's, in the order they were first bound."""
        return [name for name in list(self._namespace) if name not in ENGINE_INTERNALS]

    def __repr__(self) -> str:
        return (
            f"<NamespaceManager names={len(self.user_names())} inputs={self.execution_count}"
            f" results={len(self._outputs)}/{self._history_size}>"
        )


def _check_word(parameter: str, word: str, allowed: Any) -> None:
    words = allowed.__args__
    if word not in words:
        raise ValueError(f"{parameter} is {word!r}: give one of {', '.join(map(repr, words))}")

"""What cells have added to where modules are looked for: restored modules have to be found there again."""

from __future__ import annotations

import os
import sys
from itertools import takewhile
from typing import Any

__all__ = ["ImportPath", "add_to_import_path"]


class ImportPath:
    """Made before the first cell. Folders are absolute: the working folder may be another one later."""

    def __init__(self) -> None:
        self._before = frozenset([*_folders(), os.path.abspath("")])

    def __repr__(self) -> str:
        first, last = self.added()
        return f"<ImportPath first={first} last={last}>"

    def added(self) -> tuple[list[str], list[str]]:
        """What was put before all that was there, and what is elsewhere."""
        folders = _folders()
        first = list(takewhile(self._is_new, folders))
        return first, list(filter(self._is_new, folders[len(first) :]))

    def _is_new(self, folder: str) -> bool:
        return folder not in self._before


def add_to_import_path(first: list[str], last: list[str]) -> None:
    """Put back what :meth:`ImportPath.added` told, unless it is there."""
    here = frozenset(_folders())
    path: Any = sys.path
    if isinstance(path, list):
        path[:0] = [folder for folder in first if folder not in here]
        path += [folder for folder in last if folder not in here]


def _folders() -> list[str]:
    """``sys.path`` in full; a cell can have put anything there, or in its place."""
    path: Any = sys.path
    entries = [entry for entry in path if isinstance(entry, str)] if isinstance(path, list) else []
    try:
        return [os.path.abspath(entry) for entry in entries]
    except OSError:  # the working folder was deleted
        return [entry for entry in entries if os.path.isabs(entry)]

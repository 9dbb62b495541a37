"""Keeps the text of cells whose code is saved, for the tracebacks of restored functions."""

from __future__ import annotations

import hashlib
import re
from types import CodeType
from typing import Any

from ...engine.sources import SourceCache

__all__ = ["KeptSources"]

_NUMBERED = re.compile(r"<cell \d+>")


class KeptSources:
    """Sources of the cells that code objects come from, by the filename that is saved.

    A new worker numbers its cells from 1 again, so a saved name carries a digest of the source as
    well: ``<cell 3>`` becomes ``<cell 3, 5f2a1c09>``, and stays that when it is saved again.
    """

    def __init__(self, sources: SourceCache | None) -> None:
        self.by_filename: dict[str, str] = {}
        self._sources = sources
        self._names: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<KeptSources {' '.join(self.by_filename)}>"

    def rename(self, code: CodeType) -> CodeType:
        """``code`` as it is to be saved; its source is kept."""
        name = self._keep(code.co_filename)
        return code if name == code.co_filename else _renamed(code, name)

    def keep_class(self, cls: type) -> None:
        """Keep the source of a class, which may have no code of its own."""
        filename = self._sources.file_of_class(cls) if self._sources is not None else None
        if filename is not None:
            self._keep(filename)

    def _keep(self, filename: str) -> str:
        if filename not in self._names:
            source = self._sources.get(filename) if self._sources is not None else None
            self._names[filename] = _saved_name(filename, source)
            if source is not None:
                self.by_filename[self._names[filename]] = source
        return self._names[filename]


def _saved_name(filename: str, source: str | None) -> str:
    if source is None or not _NUMBERED.fullmatch(filename):
        return filename
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{filename[:-1]}, {digest}>"


def _renamed(code: CodeType, filename: str) -> CodeType:
    """A copy of ``code``, and of all code in it, with another filename."""
    constants: list[Any] = [
        _renamed(constant, filename) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    ]
    return code.replace(co_filename=filename, co_consts=tuple(constants))

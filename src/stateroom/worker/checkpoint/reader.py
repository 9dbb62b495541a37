"""Loads the pickles of a checkpoint one by one, with one memo."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from .live import LiveObjects

__all__ = ["LiveUnpickler", "ViewReader", "writable"]


class ViewReader:
    """The file that an unpickler reads from: a view of memory, without a copy of the whole."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def __repr__(self) -> str:
        return f"<ViewReader {self._position} of {self._view.nbytes}>"

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, or fewer at the end."""
        end = self._view.nbytes if size < 0 else self._position + size
        piece = bytes(self._view[self._position : end])
        self._position += len(piece)
        return piece

    def readinto(self, target: Any) -> int:
        """Fill ``target`` and return how many bytes that took."""
        piece = self._view[self._position : self._position + len(target)]
        target[: piece.nbytes] = piece
        self._position += piece.nbytes
        return piece.nbytes

    def readline(self) -> bytes:
        """For the interface only: protocol 5 has no lines."""
        raise pickle.UnpicklingError("a pickle of an old protocol in a checkpoint")


class LiveUnpickler(pickle.Unpickler):
    """Puts this worker's live objects where the checkpoint names them."""

    def __init__(self, stream: memoryview, buffers: Iterator[memoryview], live: LiveObjects) -> None:
        super().__init__(ViewReader(stream), buffers=buffers)
        self._live = live

    def persistent_load(self, key: str) -> Any:
        """The live object of that name; called by the first pickle only."""
        return self._live.by_key[key]


def writable(buffers: list[memoryview]) -> Iterator[memoryview]:
    """Each buffer as memory that may be written to: itself, or else a copy of it."""
    for view in buffers:
        yield memoryview(bytearray(view)) if view.readonly else view

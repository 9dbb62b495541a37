"""The objects of a running worker that a checkpoint names instead of saving."""

from __future__ import annotations

import builtins
import dataclasses
import pickle
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["LiveObjects"]


class LiveObjects:
    """Objects that exist in every worker, by key: the namespace, the streams, what the worker adds.

    Sentinels of dataclasses are among them: they are told by identity, and would lose it.

    The first pickle of a stream puts them into the unpickler's memo, and the pickler's memo is
    made to begin with them: wherever one is met, its memo number is written, at no cost for all
    other objects (``persistent_id`` would be called for each).
    """

    def __init__(self, namespace: dict[str, Any], more: Mapping[str, Any] | None = None) -> None:
        found = {
            "namespace": namespace,
            "builtins": vars(builtins),
            "stdout": sys.stdout,
            "stderr": sys.stderr,
            "stdin": sys.stdin,
            "dataclasses.MISSING": dataclasses.MISSING,
            "dataclasses.KW_ONLY": dataclasses.KW_ONLY,
            **(more or {}),
        }
        self.by_key = {key: value for key, value in found.items() if value is not None}

    def __repr__(self) -> str:
        return f"<LiveObjects {' '.join(self.by_key)}>"

    def __contains__(self, value: object) -> bool:
        return any(value is live for live in self.by_key.values())

    def pickler_memo(self) -> dict[int, tuple[int, Any]]:
        """The memo that a pickler begins with."""
        return {id(value): (index, value) for index, (_key, value) in enumerate(self._distinct())}

    def preamble(self) -> bytes:
        """The pickle that fills an unpickler's memo accordingly, through ``persistent_load``."""
        pieces = [pickle.PROTO + b"\x05"]
        for key, _value in self._distinct():
            name = key.encode()
            pieces += [pickle.SHORT_BINUNICODE, bytes([len(name)]), name, pickle.BINPERSID]
            pieces += [pickle.MEMOIZE, pickle.POP]
        return b"".join([*pieces, pickle.NONE, pickle.STOP])

    def _distinct(self) -> list[tuple[str, Any]]:
        """Each object once: a memo holds it under one number."""
        return list({id(item[1]): item for item in reversed(self.by_key.items())}.values())[::-1]

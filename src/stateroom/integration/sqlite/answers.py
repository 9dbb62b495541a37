"""Looking at the pending promises of a durable store, and answering them, from any process.

The owner of the store need not run. If it does, it notices an answer within its ``poll_s``.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ..pending import PendingPromise, describe_pending, encode_answer, refusal
from .file import connect
from .server import StoreServer

__all__ = ["answer_promise", "pending_promises"]


def pending_promises(path: str | os.PathLike[str], *, external: bool = True) -> list[PendingPromise]:
    """The pending promises of the store ``path``, oldest first.

    With ``external`` only those that are tagged to be settled from outside. Raises
    :class:`StoreError` if there is no store, or it cannot be read.
    """
    records: list[dict[str, Any]] = []
    with _opened(path) as server:
        cursor: str | None = ""
        while cursor is not None:
            page = server.promises.search({"state": "pending", "cursor": cursor, "limit": 1000})
            records += page["promises"]
            cursor = page["cursor"]
    return describe_pending(records, _now_ms(), external=external)


def answer_promise(path: str | os.PathLike[str], promise_id: str, value: Any) -> None:
    """Resolve a pending promise with ``value``, plain JSON data; it is durable when this returns.

    Raises :class:`InputRefused` if there is no such promise or it is settled,
    :class:`NotPlainData` for a value that JSON has no form for, :class:`StoreError` if the store
    cannot be used.
    """
    answer, now = encode_answer(value), _now_ms()
    with _opened(path) as server, server.transaction():
        server.promises.expire(now)
        found = server.promises.find(promise_id)
        if found is None or found["state"] != "pending":
            raise refusal(promise_id, None if found is None else found["state"], os.fspath(path))
        server.promises.settle(now, promise_id, "resolved", answer)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[StoreServer]:
    with closing(connect(Path(path))) as db:
        try:
            yield StoreServer(db)
        except sqlite3.Error as error:
            raise StoreError(f"the durable store {os.fspath(path)} cannot be used: {error}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

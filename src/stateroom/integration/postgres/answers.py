"""Looking at the pending promises of a database, and answering them, from any process."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from ...errors import StoreError
from ..pending import PendingPromise, describe_pending, encode_answer, refusal
from .driver import describe, psycopg

__all__ = ["answer_promise", "pending_promises"]

_MARK = "stateroom-answer"
"""The header of an answer that tells it from another one given at the same moment."""


def pending_promises(dsn: str, *, external: bool = True) -> list[PendingPromise]:
    """The pending promises of the database ``dsn``, oldest first.

    With ``external`` only those that are tagged to be settled from outside. Raises
    :class:`StoreError` if they cannot be read: that takes the right to read ``resonate.promises``.
    """
    try:
        with psycopg.connect(dsn) as db:
            rows = db.execute(
                "SELECT id, param_data, tags, created_at, timeout_at FROM resonate.promises "
                "WHERE state = 'pending'"
            ).fetchall()
    except psycopg.Error as error:
        raise StoreError(f"the promises of {describe(dsn)} cannot be read: {error}") from error
    names = ("id", "param", "tags", "createdAt", "timeoutAt")
    records = [dict(zip(names, (row[0], {"data": row[1]}, *row[2:]), strict=True)) for row in rows]
    return describe_pending(records, time.time_ns() // 1_000_000, external=external)


def answer_promise(dsn: str, promise_id: str, value: Any) -> None:
    """Resolve a pending promise with ``value``, plain JSON data; it is durable when this returns.

    Raises :class:`InputRefused` if there is no such promise or it is settled,
    :class:`NotPlainData` for a value that JSON has no form for, :class:`StoreError` if the database
    cannot be used.
    """
    mark = uuid.uuid4().hex
    answer = {**encode_answer(value), "headers": {_MARK: mark}}
    status, data = _ask(dsn, "promise.settle", {"id": promise_id, "state": "resolved", "value": answer})
    if status == 404:
        raise refusal(promise_id, None, describe(dsn))
    if status != 200:
        raise StoreError(f"the database {describe(dsn)} refused the answer: {data}")
    promise = data["promise"]
    if (promise["value"].get("headers") or {}).get(_MARK) != mark:
        raise refusal(promise_id, promise["state"], describe(dsn))


def _ask(dsn: str, kind: str, data: dict[str, Any]) -> tuple[int, Any]:
    request = {"kind": kind, "head": {"corrId": "1", "version": "2026-04-01"}, "data": data}
    try:
        with psycopg.connect(dsn) as db:
            row: Any = db.execute(
                "SELECT resonate.resonate_rpc(%s::text::jsonb)::text",
                (msgspec.json.encode(request).decode(),),
            ).fetchone()
    except psycopg.Error as error:
        raise StoreError(f"the database {describe(dsn)} cannot be used: {error}") from error
    response = msgspec.json.decode(row[0])
    return response["head"]["status"], response["data"]

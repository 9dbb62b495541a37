"""Promises on the tables of a durable store: each method is part of a transaction of its caller.

Records go out in the shape of the protocol. Time is in milliseconds since the epoch, and given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["DELAY", "NO_TIMEOUT_MS", "SETTLED_BY_CLIENTS", "TARGET", "Promises", "Refused"]

TARGET = "resonate:target"
TIMER = "resonate:timer"
DELAY = "resonate:delay"
NO_TIMEOUT_MS = (1 << 63) - 1
SETTLED_BY_CLIENTS = ("resolved", "rejected", "rejected_canceled")

_COLUMNS = "id, state, param, value, tags, timeout_at, created_at, settled_at"


class Refused(Exception):
    """A request that is not granted, with the status that the protocol has for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Promises:
    """The promises of the store behind ``db``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, promise_id: str) -> dict[str, Any] | None:
        """The record of a promise, or None."""
        row = self._db.execute(f"SELECT {_COLUMNS} FROM promises WHERE id = ?", (promise_id,)).fetchone()
        return None if row is None else _record(row)

    def get(self, promise_id: str) -> dict[str, Any]:
        """The record of a promise. Raises :class:`Refused` if there is none."""
        record = self.find(promise_id)
        if record is None:
            raise Refused(404, f"promise {promise_id} not found")
        return record

    def create(self, now: int, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A new promise as ``asked`` for, which must not exist; born settled if its time is up."""
        timeout_at = asked.get("timeoutAt", NO_TIMEOUT_MS)
        if not isinstance(timeout_at, int) or not -(1 << 63) <= timeout_at <= NO_TIMEOUT_MS:
            raise Refused(400, "timeoutAt must be a number of milliseconds")
        tags = asked.get("tags") or {}
        expired = now >= timeout_at
        self._db.execute(
            f"INSERT INTO promises ({_COLUMNS}) VALUES (?, ?, ?, 'null', ?, ?, ?, ?)",
            (
                asked["id"],
                state_after_timeout(tags) if expired else "pending",
                _to_json(asked.get("param")),
                _to_json(tags),
                timeout_at,
                timeout_at if expired else now,
                timeout_at if expired else None,
            ),
        )
        return self.get(asked["id"])

    def settle(self, now: int, promise_id: str, state: str, value: Any) -> dict[str, Any]:
        """Settle a pending promise; a settled one stays as it is.

        With it its own task is done, tasks that wait for it go on, and listeners are to be told.
        """
        changed = self._db.execute(
            "UPDATE promises SET state = ?, value = ?, settled_at = ? WHERE id = ? AND state = 'pending'",
            (state, _to_json(value), now, promise_id),
        ).rowcount
        if changed:
            self._fulfil_task(promise_id)
            self._resume_awaiters(now, promise_id)
            self._db.execute("UPDATE listeners SET settled = 1 WHERE awaited = ?", (promise_id,))
        return self.get(promise_id)

    def expire(self, now: int) -> None:
        """Settle what is out of time."""
        due = self._db.execute(
            "SELECT id, tags, timeout_at FROM promises WHERE state = 'pending' AND timeout_at <= ?", (now,)
        ).fetchall()
        for promise_id, tags, timeout_at in due:
            self.settle(timeout_at, promise_id, state_after_timeout(msgspec.json.decode(tags)), None)

    def next_timeout(self) -> int | None:
        """When the next pending promise is out of time."""
        found = self._db.execute("SELECT min(timeout_at) FROM promises WHERE state = 'pending'").fetchone()
        return None if found[0] is None else int(found[0])

    def search(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A page of promises by state and tags, in the order of their ids; ``cursor`` is the last id."""
        limit = min(max(int(asked.get("limit") or 100), 1), 1000)
        wanted_tags = (asked.get("tags") or {}).items()
        found: list[dict[str, Any]] = []
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM promises WHERE id > ? AND state = coalesce(?, state) ORDER BY id",
            (asked.get("cursor") or "", asked.get("state")),
        )
        for record in map(_record, rows):
            if wanted_tags <= record["tags"].items():
                found.append(record)
            if len(found) == limit:
                return {"promises": found, "cursor": record["id"]}
        return {"promises": found, "cursor": None}

    def _fulfil_task(self, task_id: str) -> None:
        self._db.execute(
            "UPDATE tasks SET state = 'fulfilled', pid = NULL, ttl = NULL, resumed = 0, due_at = NULL "
            "WHERE id = ?",
            (task_id,),
        )
        self._db.execute("DELETE FROM callbacks WHERE awaiter = ?", (task_id,))

    def _resume_awaiters(self, now: int, awaited: str) -> None:
        awaiters = self._db.execute("DELETE FROM callbacks WHERE awaited = ? RETURNING awaiter", (awaited,))
        for (awaiter,) in awaiters.fetchall():
            self._db.execute(
                "UPDATE tasks SET resumed = 1, state = iif(state = 'suspended', 'pending', state), "
                "due_at = iif(state = 'suspended', ?, due_at) WHERE id = ? AND state != 'fulfilled'",
                (now, awaiter),
            )


def state_after_timeout(tags: Mapping[str, str]) -> str:
    """What a promise becomes when its time is up: for a timer that is what was waited for."""
    return "resolved" if tags.get(TIMER) == "true" else "rejected_timedout"


def _record(row: tuple[Any, ...]) -> dict[str, Any]:
    promise_id, state, param, value, tags, timeout_at, created_at, settled_at = row
    record = {
        "id": promise_id,
        "state": state,
        "param": msgspec.json.decode(param),
        "value": msgspec.json.decode(value),
        "tags": msgspec.json.decode(tags),
        "timeoutAt": timeout_at,
        "createdAt": created_at,
    }
    if settled_at is not None:
        record["settledAt"] = settled_at
    return record


def _to_json(data: Any) -> str:
    return msgspec.json.encode(data).decode()

"""Tasks on the tables of a durable store: who runs the function behind a promise, and when.

The version of a task grows each time it is acquired, so a request of an earlier holder is told from
one of the holder. A task is held until its holder gives it back or the owner of the store is gone:
there is one owner, so no lease needs to run out while it lives, however long a cell blocks it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from .promises import DELAY, TARGET, Promises, Refused

__all__ = ["REDELIVERY_MS", "Tasks"]

REDELIVERY_MS = 30_000
"""After this a message about a task that nobody has acquired is sent again."""
RELEASE_DELAY_MS = 1_000
"""A task that could not be run is offered again after this, so that it cannot spin."""


class Tasks:
    """The tasks of the store behind ``db``."""

    def __init__(self, db: sqlite3.Connection, promises: Promises) -> None:
        self._db = db
        self._promises = promises

    def create_for(self, now: int, promise: Mapping[str, Any]) -> None:
        """The task of a new promise with a target: to be offered at once, or when its delay is over."""
        tags = promise["tags"]
        if TARGET not in tags:
            return
        due_at = max(now, _to_int(tags.get(DELAY), default=now)) if promise["state"] == "pending" else None
        state = "pending" if promise["state"] == "pending" else "fulfilled"
        self._db.execute(
            "INSERT INTO tasks (id, state, version, due_at) VALUES (?, ?, 0, ?)",
            (promise["id"], state, due_at),
        )

    def create(self, now: int, pid: str, ttl: int, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Take the task of a promise, which is made if need be; it may be done already."""
        promise = self._promises.find(asked["id"])
        if promise is None:
            promise = self._promises.create(now, asked)
            state = "pending" if promise["state"] == "pending" else "fulfilled"
            self._db.execute("INSERT INTO tasks (id, state, version) VALUES (?, ?, 0)", (asked["id"], state))
        task = self._find(asked["id"])
        if task is None or task["state"] not in ("pending", "fulfilled"):
            raise Refused(409, "Already exists")
        if task["state"] == "pending":
            task = self._take(asked["id"], pid, ttl)
        return {"task": task, "promise": promise, "preload": []}

    def acquire(self, task_id: str, version: int, pid: str, ttl: int) -> dict[str, Any]:
        """Take a task that is offered."""
        task = self._get(task_id)
        if task["state"] != "pending" or task["version"] != version:
            raise Refused(409, f"task {task_id} is {task['state']} at version {task['version']}")
        return {
            "task": self._take(task_id, pid, ttl),
            "promise": self._promises.get(task_id),
            "preload": [],
        }

    def hold(self, task_id: str, version: int) -> None:
        """Make sure that the one who asks holds the task."""
        task = self._get(task_id)
        if task["state"] != "acquired" or task["version"] != version:
            raise Refused(409, f"task {task_id} is {task['state']} at version {task['version']}")

    def release(self, now: int, task_id: str, version: int) -> None:
        """Give a task back, to be offered again."""
        self.hold(task_id, version)
        self._db.execute(
            "UPDATE tasks SET state = 'pending', pid = NULL, ttl = NULL, due_at = ? WHERE id = ?",
            (now + RELEASE_DELAY_MS, task_id),
        )

    def suspend(self, task_id: str, version: int, awaited: Iterable[str]) -> bool:
        """Give a task back until one of ``awaited`` is settled; False if one is already."""
        self.hold(task_id, version)
        states = [self._promises.get(promise_id)["state"] for promise_id in awaited]
        resumed = self._db.execute(
            "UPDATE tasks SET resumed = 0 WHERE id = ? AND resumed RETURNING id", (task_id,)
        )
        if resumed.fetchall() or any(state != "pending" for state in states):
            return False
        self._db.executemany(
            "INSERT OR IGNORE INTO callbacks (awaited, awaiter) VALUES (?, ?)",
            [(promise_id, task_id) for promise_id in awaited],
        )
        self._db.execute(
            "UPDATE tasks SET state = 'suspended', pid = NULL, ttl = NULL WHERE id = ?", (task_id,)
        )
        return True

    def take_back_all(self, now: int) -> None:
        """Offer all tasks again that the last owner of the store held or was offered."""
        self._db.execute(
            "UPDATE tasks SET state = 'pending', pid = NULL, ttl = NULL WHERE state = 'acquired'"
        )
        self.offer_again(now)

    def offer_again(self, now: int) -> None:
        """Offer all tasks that nobody holds now, or when their delay is over, whenever that was to be."""
        self._db.execute(
            "UPDATE tasks SET due_at = max(?, coalesce((SELECT "
            f"CAST(json_extract(tags, '$.\"{DELAY}\"') AS INTEGER) FROM promises p "
            "WHERE p.id = tasks.id), 0)) WHERE state = 'pending'",
            (now,),
        )

    def take_due(self, now: int) -> list[tuple[str, int]]:
        """The tasks to offer now, by id and version; they come up again if nobody takes them."""
        due = self._db.execute("SELECT id, version FROM tasks WHERE due_at <= ?", (now,)).fetchall()
        if due:
            self._db.execute("UPDATE tasks SET due_at = ? WHERE due_at <= ?", (now + REDELIVERY_MS, now))
        return due

    def next_due(self) -> int | None:
        """When the next task is to be offered."""
        found = self._db.execute("SELECT min(due_at) FROM tasks WHERE due_at IS NOT NULL").fetchone()
        return None if found[0] is None else int(found[0])

    def _take(self, task_id: str, pid: str, ttl: int) -> dict[str, Any]:
        self._db.execute(
            "UPDATE tasks SET state = 'acquired', version = version + 1, pid = ?, ttl = ?, resumed = 0, "
            "due_at = NULL WHERE id = ?",
            (pid, ttl, task_id),
        )
        return self._get(task_id)

    def _find(self, task_id: str) -> dict[str, Any] | None:
        row = self._db.execute(
            "SELECT state, version, pid, ttl FROM tasks WHERE id = ?", (task_id,)
        ).fetchone()
        if row is None:
            return None
        return {"id": task_id, "state": row[0], "version": row[1], "pid": row[2], "ttl": row[3]}

    def _get(self, task_id: str) -> dict[str, Any]:
        task = self._find(task_id)
        if task is None:
            raise Refused(404, f"task {task_id} not found")
        return task


def _to_int(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(text)
    except ValueError:
        return default

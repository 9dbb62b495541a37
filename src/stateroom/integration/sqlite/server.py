"""The promise server of a durable store: requests of the protocol, each one transaction on the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .promises import SETTLED_BY_CLIENTS, Promises, Refused
from .schedules import Schedules
from .tasks import Tasks

__all__ = ["StoreServer"]

PROTOCOL_VERSION = "2026-04-01"

Data = Mapping[str, Any]


class StoreServer:
    """Answers requests from the store behind ``db``; nothing of it is kept in memory.

    Any process may have one on the same file; only the owner's delivers messages.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.promises = Promises(db)
        self.tasks = Tasks(db, self.promises)
        self.schedules = Schedules(db, self.promises, self.tasks)
        self._handlers: dict[str, Callable[[int, Data], dict[str, Any]]] = {
            "promise.get": self._promise_get,
            "promise.create": self._promise_create,
            "promise.settle": self._promise_settle,
            "promise.register_listener": self._promise_register_listener,
            "promise.search": lambda _now, data: self.promises.search(data),
            "task.create": self._task_create,
            "task.acquire": self._task_acquire,
            "task.release": self._task_release,
            "task.fulfill": self._task_fulfill,
            "task.fence": self._task_fence,
            "task.suspend": self._task_suspend,
            "task.heartbeat": lambda _now, _data: {},
            "schedule.create": lambda now, data: {"schedule": self.schedules.create(now, data)},
            "schedule.get": lambda _now, data: {"schedule": self.schedules.get(_id(data))},
            "schedule.delete": self._schedule_delete,
            "schedule.search": lambda _now, _data: {"schedules": self.schedules.search(), "cursor": None},
        }

    def __repr__(self) -> str:
        return f"<StoreServer next_due_ms={self.next_due()}>"

    def answer(self, now: int, request: Data) -> dict[str, Any]:
        """The response to a request, both as envelopes; call it in a transaction.

        What is not granted changes nothing, and is a response with a status of 400 and more.
        """
        kind, head = request.get("kind"), request.get("head") or {}
        status = 200
        self.promises.expire(now)
        try:
            self._db.execute("SAVEPOINT request")
            data = self._handler(kind)(now, request.get("data") or {})
            status = data.pop("status", 200)
        except Refused as refused:
            self._db.execute("ROLLBACK TO request")
            status, data = refused.status, {"error": str(refused)}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self._db.execute("ROLLBACK TO request")
            status, data = 400, {"error": f"malformed request {kind!r}: {error!r}"}
        self._db.execute("RELEASE request")
        return {
            "kind": kind,
            "head": {"corrId": head.get("corrId", ""), "status": status, "version": PROTOCOL_VERSION},
            "data": data,
        }

    def open(self, now: int) -> None:
        """For a new owner: nobody runs or waits any more, whatever the last one left."""
        with self.transaction():
            self._db.execute("DELETE FROM listeners")
            self.tasks.take_back_all(now)

    def offer_again(self, now: int) -> None:
        """Offer the tasks that nobody holds now, whenever that was to be."""
        with self.transaction():
            self.tasks.offer_again(now)

    def take_messages(self, now: int) -> list[dict[str, Any]]:
        """What is to be told now, after making happen what is due; call it in a transaction."""
        self.promises.expire(now)
        self.schedules.run_due(now)
        messages: list[dict[str, Any]] = [
            {"kind": "execute", "head": {}, "data": {"task": {"id": task_id, "version": version}}}
            for task_id, version in self.tasks.take_due(now)
        ]
        settled = self._db.execute("SELECT awaited FROM listeners WHERE settled").fetchall()
        if settled:
            self._db.execute("DELETE FROM listeners WHERE settled")
        for (promise_id,) in settled:
            promise = self.promises.get(promise_id)
            messages.append({"kind": "unblock", "head": {}, "data": {"promise": promise}})
        return messages

    def foreign_version(self) -> int:
        """A number that changes when another connection has written to the store."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def next_due(self) -> int | None:
        """When something happens by itself next."""
        times = (self.promises.next_timeout(), self.tasks.next_due(), self.schedules.next_due())
        return min((time for time in times if time is not None), default=None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and durable when left."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._db.rollback()
            raise

    def _handler(self, kind: Any) -> Callable[[int, Data], dict[str, Any]]:
        try:
            return self._handlers[kind]
        except (KeyError, TypeError):
            raise Refused(400, f"unknown request kind: {kind!r}") from None

    def _promise_get(self, _now: int, data: Data) -> dict[str, Any]:
        return {"promise": self.promises.get(_id(data))}

    def _promise_create(self, now: int, data: Data) -> dict[str, Any]:
        found = self.promises.find(_id(data))
        if found is not None:
            return {"promise": found}
        promise = self.promises.create(now, data)
        self.tasks.create_for(now, promise)
        return {"promise": promise, "status": 201}

    def _promise_settle(self, now: int, data: Data) -> dict[str, Any]:
        if data["state"] not in SETTLED_BY_CLIENTS:
            raise Refused(400, f"a promise cannot be settled as {data['state']!r}")
        self.promises.get(_id(data))
        return {"promise": self.promises.settle(now, data["id"], data["state"], data.get("value"))}

    def _promise_register_listener(self, _now: int, data: Data) -> dict[str, Any]:
        promise = self.promises.get(_id(data, "awaited"))
        if promise["state"] == "pending":
            self._db.execute("INSERT OR IGNORE INTO listeners (awaited) VALUES (?)", (promise["id"],))
        return {"promise": promise}

    def _task_create(self, now: int, data: Data) -> dict[str, Any]:
        asked = data["action"]["data"]
        _id(asked)
        return self.tasks.create(now, _id(data, "pid"), data["ttl"], asked)

    def _task_acquire(self, _now: int, data: Data) -> dict[str, Any]:
        return self.tasks.acquire(_id(data), data["version"], _id(data, "pid"), data["ttl"])

    def _task_release(self, now: int, data: Data) -> dict[str, Any]:
        self.tasks.release(now, _id(data), data["version"])
        return {}

    def _task_fulfill(self, now: int, data: Data) -> dict[str, Any]:
        self.tasks.hold(_id(data), data["version"])
        return self._promise_settle(now, {**data["action"]["data"], "id": data["id"]})

    def _task_fence(self, now: int, data: Data) -> dict[str, Any]:
        self.tasks.hold(_id(data), data["version"])
        action = data["action"]
        if action["kind"] not in ("promise.create", "promise.settle") or action["data"]["id"] == data["id"]:
            raise Refused(400, f"a task cannot fence {action['kind']!r} of {action['data'].get('id')!r}")
        inner = self._handlers[action["kind"]](now, action["data"])
        return {"action": {"data": {"promise": inner["promise"]}}, "preload": []}

    def _task_suspend(self, _now: int, data: Data) -> dict[str, Any]:
        awaited = [action["data"]["awaited"] for action in data["actions"]]
        if not awaited or data["id"] in awaited:
            raise Refused(400, "a task must wait for something, and not for itself")
        suspended = self.tasks.suspend(_id(data), data["version"], awaited)
        return {"preload": [], "status": 200 if suspended else 300}

    def _schedule_delete(self, _now: int, data: Data) -> dict[str, Any]:
        self.schedules.delete(_id(data))
        return {}


def _id(data: Data, field: str = "id") -> str:
    """A field that must hold some text."""
    found = data.get(field)
    if not isinstance(found, str) or not found:
        raise Refused(400, f"missing or empty required field: {field}")
    return found

"""Schedules on the tables of a durable store: promises that are made again and again, by cron.

Cron expressions have five fields and are read in UTC. What fell into a time in which nobody had the
store open is made up for once, not once for each time missed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from .promises import NO_TIMEOUT_MS, TARGET, Promises, Refused
from .tasks import Tasks

__all__ = ["Schedules"]

_COLUMNS = (
    "id, cron, promise_id, promise_timeout, promise_param, promise_tags, created_at, next_run_at, last_run_at"
)


class Schedules:
    """The schedules of the store behind ``db``."""

    def __init__(self, db: sqlite3.Connection, promises: Promises, tasks: Tasks) -> None:
        self._db = db
        self._promises = promises
        self._tasks = tasks

    def create(self, now: int, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A new schedule, or the one that has this id already."""
        if TARGET not in (asked.get("promiseTags") or {}):
            raise Refused(400, f"promiseTags must include a {TARGET} tag")
        if self._find(asked["id"]) is None:
            self._db.execute(
                f"INSERT INTO schedules ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    asked["id"],
                    asked["cron"],
                    asked["promiseId"],
                    asked["promiseTimeout"],
                    msgspec.json.encode(asked.get("promiseParam")).decode(),
                    msgspec.json.encode(asked["promiseTags"]).decode(),
                    now,
                    next_run(asked["cron"], now),
                ),
            )
        return self.get(asked["id"])

    def get(self, schedule_id: str) -> dict[str, Any]:
        """The record of a schedule. Raises :class:`Refused` if there is none."""
        record = self._find(schedule_id)
        if record is None:
            raise Refused(404, f"schedule {schedule_id} not found")
        return record

    def delete(self, schedule_id: str) -> None:
        """Make no more promises by this schedule."""
        if not self._db.execute("DELETE FROM schedules WHERE id = ?", (schedule_id,)).rowcount:
            raise Refused(404, f"schedule {schedule_id} not found")

    def search(self) -> list[dict[str, Any]]:
        """All schedules."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM schedules ORDER BY id")
        return [_record(row) for row in rows]

    def run_due(self, now: int) -> None:
        """Make the promises whose time has come."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM schedules WHERE next_run_at <= ?", (now,))
        for schedule in map(_record, rows.fetchall()):
            self._make_promise(now, schedule)
            self._db.execute(
                "UPDATE schedules SET last_run_at = next_run_at, next_run_at = ? WHERE id = ?",
                (next_run(schedule["cron"], now), schedule["id"]),
            )

    def next_due(self) -> int | None:
        """When the next promise is to be made."""
        found = self._db.execute("SELECT min(next_run_at) FROM schedules").fetchone()
        return None if found[0] is None else int(found[0])

    def _make_promise(self, now: int, schedule: Mapping[str, Any]) -> None:
        template: str = schedule["promiseId"]
        name = template.replace("{{.timestamp}}", str(schedule["nextRunAt"]))
        promise_id = name.replace("{{.id}}", schedule["id"])
        if self._promises.find(promise_id) is not None:
            return
        asked = {
            "id": promise_id,
            "timeoutAt": min(now + schedule["promiseTimeout"], NO_TIMEOUT_MS),
            "param": schedule["promiseParam"],
            "tags": {**schedule["promiseTags"], "resonate:schedule": schedule["id"]},
        }
        self._tasks.create_for(now, self._promises.create(now, asked))

    def _find(self, schedule_id: str) -> dict[str, Any] | None:
        found = self._db.execute(f"SELECT {_COLUMNS} FROM schedules WHERE id = ?", (schedule_id,)).fetchone()
        return None if found is None else _record(found)


def next_run(cron: str, after: int) -> int:
    """The next time that ``cron`` names. Raises :class:`Refused` if it can name none."""
    from cronsim import CronSim, CronSimError

    try:
        return int(next(CronSim(cron, datetime.fromtimestamp(after / 1000, UTC))).timestamp() * 1000)
    except (CronSimError, StopIteration) as error:
        raise Refused(400, f"{cron!r} is no cron expression: {error}") from None


def _record(row: tuple[Any, ...]) -> dict[str, Any]:
    schedule_id, cron, promise_id, timeout, param, tags, created_at, next_run_at, last_run_at = row
    return {
        "id": schedule_id,
        "cron": cron,
        "promiseId": promise_id,
        "promiseTimeout": timeout,
        "promiseParam": msgspec.json.decode(param),
        "promiseTags": msgspec.json.decode(tags),
        "createdAt": created_at,
        "nextRunAt": next_run_at,
        "lastRunAt": last_run_at,
    }

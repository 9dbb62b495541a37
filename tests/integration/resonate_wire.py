"""Requests of the Resonate protocol, by hand."""

from __future__ import annotations

import itertools
import json
from typing import Any

_numbers = itertools.count()


async def send(connection: Any, kind: str, **data: Any) -> tuple[int, Any]:
    """The status and the data of a response, whose envelope is looked at on the way."""
    corr_id = f"c{next(_numbers)}"
    request = {"kind": kind, "head": {"corrId": corr_id, "version": "2026-04-01"}, "data": data}
    response = json.loads(await connection.send(json.dumps(request), {"resonate:origin": "default"}))
    assert (response["kind"], response["head"]["corrId"]) == (kind, corr_id)
    return response["head"]["status"], response["data"]


async def ask(connection: Any, kind: str, **data: Any) -> Any:
    """The data of a response to a request that must be granted."""
    status, answer = await send(connection, kind, **data)
    assert status < 400, (status, answer)
    return answer


def action(kind: str, **data: Any) -> dict[str, Any]:
    """A request inside of a request."""
    return {"kind": kind, "head": {"corrId": "inner", "version": "2026-04-01"}, "data": data}


async def create_task(connection: Any, task_id: str, **data: Any) -> int:
    """A promise whose task this process holds; the version of that."""
    asked = {"id": task_id, "timeoutAt": 1 << 60, "param": {}, "tags": {"resonate:target": "sqlite://any@g"}}
    answer = await ask(
        connection, "task.create", pid="p", ttl=60_000, action=action("promise.create", **{**asked, **data})
    )
    return int(answer["task"]["version"])

"""The durable store opened again: after a close, after kill -9, and by a second process meanwhile."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate_wire import action, ask, create_task

from stateroom.errors import InputRefused, NotPlainData, StoreError
from stateroom.integration.sqlite_store import SqliteConnection, answer_promise, pending_promises

FAR = 1 << 60
CHILD = Path(__file__).with_name("sqlite_child.py")
EXTERNAL = {"resonate:external": "true"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


async def settled_by_listener(connection: SqliteConnection, promise_id: str) -> str:
    """Wait as a Resonate does until a promise is settled."""
    import asyncio
    import json

    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def receive(text: str) -> None:
        message = json.loads(text)
        if message["kind"] == "unblock" and not told.done():
            told.set_result(message["data"]["promise"]["state"])

    connection.recv(receive)
    await connection.start()
    answer = await ask(connection, "promise.register_listener", awaited=promise_id, address="x")
    state = answer["promise"]["state"]
    return state if state != "pending" else await told


async def test_everything_is_there_when_opened_again(path):
    async with SqliteConnection(path) as connection:
        await ask(
            connection, "promise.create", id="p", timeoutAt=FAR, param={"data": "MQ=="}, tags={"a": "b"}
        )
        await ask(connection, "promise.create", id="q", timeoutAt=FAR)
        await ask(connection, "promise.settle", id="q", state="rejected", value={"data": "Mg=="})
        before = await ask(connection, "promise.search")
    async with SqliteConnection(path) as connection:
        assert await ask(connection, "promise.search") == before


async def test_tasks_that_were_held_or_waiting_are_offered_to_the_next_owner(path):
    async with SqliteConnection(path) as connection:
        for task_id in ("held", "suspended", "done", "delayed"):
            await create_task(connection, task_id)
        await ask(connection, "promise.create", id="a", timeoutAt=FAR)
        waits = [action("promise.register_callback", awaited="a", awaiter="suspended")]
        await ask(connection, "task.suspend", id="suspended", version=1, actions=waits)
        settle = action("promise.settle", id="done", state="resolved")
        await ask(connection, "task.fulfill", id="done", version=1, action=settle)
    import asyncio
    import json

    offered: asyncio.Queue[str] = asyncio.Queue()
    async with SqliteConnection(path) as connection:
        connection.recv(lambda text: offered.put_nowait(json.loads(text)["data"]["task"]["id"]))
        await connection.start()
        assert {await offered.get(), await offered.get()} == {"held", "delayed"}
        await ask(connection, "promise.settle", id="a", state="resolved")
        assert await offered.get() == "suspended"
        assert offered.empty()


def run_child_until_killed(path: Path, prefix: str, lines: int) -> list[str]:
    """What a process acknowledged before it was killed, at some moment after ``lines`` of that."""
    with subprocess.Popen([sys.executable, CHILD, path, prefix], stdout=subprocess.PIPE, text=True) as child:
        acknowledged = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().splitlines(keepends=True)
        assert child.wait() == -signal.SIGKILL
    return [line.rstrip("\n") for line in acknowledged if line.endswith("\n")]


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
async def test_kill_9_loses_nothing_that_was_acknowledged(path, rounds):
    acknowledged: list[str] = []
    for number in range(rounds):
        acknowledged += run_child_until_killed(path, f"r{number}", random.randint(1, 400))
    states = {"created": set(), "settled": set()}
    for line in acknowledged:
        what, promise_id = line.split()
        states[what].add(promise_id)
    assert states["settled"] < states["created"]
    async with SqliteConnection(path) as connection:
        for promise_id in states["created"]:
            promise = (await ask(connection, "promise.get", id=promise_id))["promise"]
            if promise_id in states["settled"]:
                assert (promise["state"], promise["value"]) == ("resolved", {"data": promise_id})
        found = {promise.id for promise in pending_promises(path, external=False)}
    unanswered = states["created"] - states["settled"]
    assert len(unanswered - found) <= rounds  # settled, and killed before that was said
    assert len(found - unanswered) <= rounds  # created, and killed before that was said


def test_a_second_process_is_refused_while_the_first_lives_and_not_after(path):
    with subprocess.Popen([sys.executable, CHILD, path, "x"], stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        with pytest.raises(StoreError, match=rf"{path}.* is open in process {child.pid};.*can be listed"):
            SqliteConnection(path)
        child.kill()
        child.communicate()
    SqliteConnection(path).close()


def test_a_second_connection_of_the_same_process_is_refused_too(path):
    with closing(SqliteConnection(path)), pytest.raises(StoreError, match="is open in this process"):
        SqliteConnection(path)


def answer_elsewhere(path: Path, promise_id: str, value: str) -> None:
    code = (
        "import json, sys; from stateroom.integration.sqlite_store import answer_promise; "
        "answer_promise(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))"
    )
    subprocess.run([sys.executable, "-c", code, path, promise_id, value], check=True)


async def test_another_process_answers_while_the_owner_waits(path):
    import asyncio

    async with SqliteConnection(path) as connection:
        await ask(connection, "promise.create", id="e:input:1", timeoutAt=FAR, tags=EXTERNAL)
        waiting = asyncio.create_task(settled_by_listener(connection, "e:input:1"))
        await asyncio.to_thread(answer_elsewhere, path, "e:input:1", '{"a": [1, null]}')
        assert await waiting == "resolved"
        promise = (await ask(connection, "promise.get", id="e:input:1"))["promise"]
    import base64
    import json

    assert json.loads(base64.b64decode(promise["value"]["data"])) == {"a": [1, None]}


async def test_an_answer_that_came_while_nobody_ran_is_there_at_the_next_opening(path):
    async with SqliteConnection(path) as connection:
        await create_task(connection, "task")
        await ask(connection, "promise.create", id="q", timeoutAt=FAR, tags=EXTERNAL)
        waits = [action("promise.register_callback", awaited="q", awaiter="task")]
        await ask(connection, "task.suspend", id="task", version=1, actions=waits)
    answer_promise(path, "q", "blue")
    async with SqliteConnection(path) as connection:
        assert await settled_by_listener(connection, "q") == "resolved"
        taken = await ask(connection, "task.acquire", id="task", version=1, pid="me", ttl=1)
        assert taken["task"]["version"] == 2


async def test_pending_promises_are_listed_oldest_first(path):
    now = [1_000]
    async with SqliteConnection(path, clock=lambda: now[0]) as connection:
        data = "eyJwcm9tcHQiOiAiTmFtZT8ifQ=="
        for promise_id in ("b", "a"):
            await ask(
                connection,
                "promise.create",
                id=promise_id,
                timeoutAt=FAR,
                param={"data": data},
                tags=EXTERNAL,
            )
            now[0] += 1_000
        await ask(connection, "promise.create", id="internal", timeoutAt=FAR, param={"data": "not base64"})
        await ask(connection, "promise.create", id="late", timeoutAt=50_000, tags=EXTERNAL)
        await ask(connection, "promise.create", id="done", timeoutAt=FAR, tags=EXTERNAL)
        await ask(connection, "promise.settle", id="done", state="resolved")
        first, second = pending_promises(path)
        assert (first.id, first.data, first.tags, first.created_at) == (
            "b",
            {"prompt": "Name?"},
            EXTERNAL,
            1.0,
        )
        assert second.id == "a"
        everything = pending_promises(path, external=False)
        assert [(promise.id, promise.data) for promise in everything if promise.id == "internal"] == [
            ("internal", "not base64")
        ]


async def test_what_cannot_be_answered_is_refused_with_the_reason(path):
    async with SqliteConnection(path, clock=lambda: 1_000) as connection:
        for promise_id, timeout in (("open", FAR), ("late", 2_000), ("done", FAR)):
            await ask(connection, "promise.create", id=promise_id, timeoutAt=timeout, tags=EXTERNAL)
        answer_promise(path, "done", None)
        with pytest.raises(InputRefused, match="'done' is answered already"):
            answer_promise(path, "done", 2)
        with pytest.raises(InputRefused, match="'late' is out of time"):
            answer_promise(path, "late", 1)
        with pytest.raises(InputRefused, match="no promise 'other'"):
            answer_promise(path, "other", 1)
        with pytest.raises(NotPlainData, match="JSON"):
            answer_promise(path, "open", object())
        assert [promise.id for promise in pending_promises(path)] == ["open"]
        promise = (await ask(connection, "promise.get", id="done"))["promise"]
        assert (promise["state"], promise["value"]) == ("resolved", {})


def test_looking_for_promises_makes_no_store(path):
    with pytest.raises(StoreError, match="there is no durable store"):
        pending_promises(path)
    with pytest.raises(StoreError, match="there is no durable store"):
        answer_promise(path, "p", 1)
    assert not list(path.parent.iterdir())

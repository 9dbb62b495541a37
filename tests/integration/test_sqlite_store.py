"""The durable store as a server: every request of the protocol, time, messages."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate_base import ConnectorError, Network, Source
from resonate_wire import action, ask, create_task, send

from stateroom.integration.sqlite_store import SqliteConnection

FAR = 1 << 60
TARGET = {"resonate:target": "sqlite://any@g"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(tmp_path, clock):
    async with SqliteConnection(tmp_path / "state.db", clock=clock, poll_s=0.01) as connection:
        yield connection


class Inbox:
    """What a connection delivers, in order."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        connection.recv(lambda text: self._messages.put_nowait(json.loads(text)))

    async def next(self) -> Any:
        message = await self._messages.get()
        return message["kind"], message["data"].get("task") or message["data"]["promise"]["id"]

    def is_empty(self) -> bool:
        return self._messages.empty()


def test_it_has_both_roles_of_a_connection(tmp_path):
    connection = SqliteConnection(tmp_path / "state.db")
    assert isinstance(connection, Network)
    assert isinstance(connection, Source)
    assert "open" in repr(connection)
    connection.close()
    connection.close()
    assert "closed" in repr(connection)


async def test_a_promise_is_created_once_and_read_back_whole(store):
    asked = {
        "id": "p",
        "timeoutAt": FAR,
        "param": {"data": "eA==", "headers": {"h": "1"}},
        "tags": {"a": "b"},
    }
    status, answer = await send(store, "promise.create", **asked)
    record = {**asked, "state": "pending", "value": None, "createdAt": 1_000}
    assert (status, answer["promise"]) == (201, record)
    assert await send(store, "promise.create", **{**asked, "param": {"data": "other"}}) == (
        200,
        {"promise": record},
    )
    assert await ask(store, "promise.get", id="p") == {"promise": record}


@pytest.mark.parametrize("state", ["resolved", "rejected", "rejected_canceled"])
async def test_a_promise_is_settled_once(store, state):
    await ask(store, "promise.create", id="p", timeoutAt=FAR)
    settled = await ask(store, "promise.settle", id="p", state=state, value={"data": "MQ=="})
    assert settled["promise"] | {"param": None} == {
        "id": "p", "state": state, "value": {"data": "MQ=="}, "param": None, "tags": {},
        "timeoutAt": FAR, "createdAt": 1_000, "settledAt": 1_000,
    }  # fmt: skip
    assert await ask(store, "promise.settle", id="p", state="rejected", value={"data": "Mg=="}) == settled


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("promise.get", {"id": "none"}, 404),
        ("promise.get", {}, 400),
        ("promise.get", {"id": ""}, 400),
        ("promise.create", {"id": 7}, 400),
        ("promise.create", {"id": "p", "timeoutAt": "soon"}, 400),
        ("promise.create", {"id": "p", "timeoutAt": 1 << 70}, 400),
        ("promise.settle", {"id": "none", "state": "resolved"}, 404),
        ("promise.settle", {"id": "none", "state": "pending"}, 400),
        ("promise.settle", {"id": "none", "state": "rejected_timedout"}, 400),
        ("promise.settle", {"id": "none"}, 400),
        ("promise.register_listener", {"awaited": "none", "address": "x"}, 404),
        ("task.create", {"pid": "p", "ttl": 1}, 400),
        ("task.acquire", {"id": "none", "version": 0, "pid": "p", "ttl": 1}, 404),
        ("task.release", {"id": "none", "version": 0}, 404),
        ("task.fulfill", {"id": "none", "version": 0, "action": action("promise.settle", id="none", state="resolved")}, 404),
        ("task.fence", {"id": "none", "version": 0, "action": action("promise.create", id="x")}, 404),
        ("task.suspend", {"id": "none", "version": 0, "actions": []}, 400),
        ("task.suspend", {"id": "none", "version": 0, "actions": [action("promise.register_callback", awaited="x", awaiter="none")]}, 404),
        ("schedule.get", {"id": "none"}, 404),
        ("schedule.delete", {"id": "none"}, 404),
        ("schedule.create", {"id": "s", "cron": "* * * * *", "promiseId": "p", "promiseTimeout": 1, "promiseTags": {}}, 400),
        ("schedule.create", {"id": "s", "cron": "at noon", "promiseId": "p", "promiseTimeout": 1, "promiseTags": TARGET}, 400),
        ("make.coffee", {}, 400),
    ],
)  # fmt: skip
async def test_what_cannot_be_granted_is_refused_and_changes_nothing(store, kind, data, status):
    found, answer = await send(store, kind, **data)
    assert (found, bool(answer["error"])) == (status, True)
    assert (await ask(store, "promise.search"))["promises"] == []
    assert (await ask(store, "schedule.search"))["schedules"] == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": 1, "data": 2}', '{"data": {"id": "x"}}'])
async def test_what_is_no_request_is_refused(store, text):
    try:
        response = json.loads(await store.send(text))
    except ConnectorError:
        return
    assert response["head"]["status"] == 400


async def test_promises_are_found_by_state_and_tags_page_by_page(store):
    for number in range(7):
        await ask(store, "promise.create", id=f"p{number}", timeoutAt=FAR, tags={"odd": str(number % 2)})
    await ask(store, "promise.settle", id="p1", state="resolved")
    first = await ask(store, "promise.search", state="pending", tags={"odd": "1"}, limit=1)
    assert [promise["id"] for promise in first["promises"]] == ["p3"]
    rest = await ask(store, "promise.search", state="pending", tags={"odd": "1"}, cursor=first["cursor"])
    assert [promise["id"] for promise in rest["promises"]] == ["p5"]
    assert rest["cursor"] is None


async def test_a_promise_without_a_target_is_timed_out_too(store, clock):
    inbox = Inbox(store)
    await store.start()
    await ask(store, "promise.create", id="p", timeoutAt=2_000)
    await ask(store, "promise.register_listener", awaited="p", address=store.unicast())
    clock.now = 2_000
    assert await inbox.next() == ("unblock", "p")
    promise = (await ask(store, "promise.get", id="p"))["promise"]
    assert (promise["state"], promise["settledAt"]) == ("rejected_timedout", 2_000)


async def test_a_timer_is_resolved_when_its_time_is_up(store, clock):
    await ask(store, "promise.create", id="t", timeoutAt=2_000, tags={"resonate:timer": "true"})
    clock.now = 2_500
    promise = (await ask(store, "promise.get", id="t"))["promise"]
    assert (promise["state"], promise["settledAt"]) == ("resolved", 2_000)


async def test_a_promise_that_is_late_from_the_start_is_born_settled(store):
    promise = (await ask(store, "promise.create", id="p", timeoutAt=500, tags=TARGET))["promise"]
    assert (promise["state"], promise["createdAt"], promise["settledAt"]) == ("rejected_timedout", 500, 500)
    status, _ = await send(store, "task.acquire", id="p", version=0, pid="p", ttl=1)
    assert status == 409


async def test_an_answer_that_comes_too_late_changes_nothing(store, clock):
    await ask(store, "promise.create", id="p", timeoutAt=2_000)
    clock.now = 2_001
    settled = await ask(store, "promise.settle", id="p", state="resolved", value={"data": "MQ=="})
    assert settled["promise"]["state"] == "rejected_timedout"


async def test_listeners_are_told_once(store):
    inbox = Inbox(store)
    await store.start()
    for promise_id in ("p", "q"):
        await ask(store, "promise.create", id=promise_id, timeoutAt=FAR)
        await ask(store, "promise.register_listener", awaited=promise_id, address=store.unicast())
    await ask(store, "promise.settle", id="p", state="resolved")
    await ask(store, "promise.settle", id="p", state="resolved")
    await ask(store, "promise.settle", id="q", state="resolved")
    assert [await inbox.next(), await inbox.next()] == [("unblock", "p"), ("unblock", "q")]
    answer = await ask(store, "promise.register_listener", awaited="p", address=store.unicast())
    assert answer["promise"]["state"] == "resolved"
    assert inbox.is_empty()


async def test_the_task_of_a_promise_is_offered_until_it_is_taken(store, clock):
    inbox = Inbox(store)
    await store.start()
    await ask(store, "promise.create", id="p", timeoutAt=FAR, tags=TARGET)
    assert await inbox.next() == ("execute", {"id": "p", "version": 0})
    clock.now += 31_000
    assert await inbox.next() == ("execute", {"id": "p", "version": 0})
    taken = await ask(store, "task.acquire", id="p", version=0, pid="me", ttl=5)
    assert (taken["task"]["state"], taken["task"]["version"], taken["promise"]["id"]) == ("acquired", 1, "p")
    status, _ = await send(store, "task.acquire", id="p", version=0, pid="you", ttl=5)
    assert status == 409
    clock.now += 100_000  # a lease of 5 ms does not run out while its owner lives
    await ask(
        store, "task.fulfill", id="p", version=1, action=action("promise.settle", id="p", state="resolved")
    )
    assert inbox.is_empty()


async def test_a_delayed_task_is_offered_when_its_delay_is_over(store, clock):
    inbox = Inbox(store)
    await store.start()
    await ask(store, "promise.create", id="p", timeoutAt=FAR, tags={**TARGET, "resonate:delay": "5000"})
    await ask(store, "promise.create", id="q", timeoutAt=FAR, tags=TARGET)
    assert await inbox.next() == ("execute", {"id": "q", "version": 0})
    assert inbox.is_empty()
    clock.now = 5_000
    assert await inbox.next() == ("execute", {"id": "p", "version": 0})


async def test_a_task_that_is_given_back_is_offered_again(store, clock):
    inbox = Inbox(store)
    await store.start()
    version = await create_task(store, "p")
    await ask(store, "task.release", id="p", version=version)
    clock.now += 1_000
    assert await inbox.next() == ("execute", {"id": "p", "version": version})


async def test_a_task_is_offered_in_time_though_the_clock_is_set_back(store, clock):
    inbox = Inbox(store)
    await store.start()
    await create_task(store, "soon")
    await create_task(store, "later", tags={**TARGET, "resonate:delay": "9000000000"})
    await ask(store, "task.release", id="soon", version=1)  # to be offered in a second
    await ask(store, "task.release", id="later", version=1)
    clock.now = 900
    assert await inbox.next() == ("execute", {"id": "soon", "version": 1})
    assert inbox.is_empty()


@pytest.mark.parametrize("kind", ["task.release", "task.fulfill", "task.fence", "task.suspend"])
async def test_who_does_not_hold_a_task_changes_nothing(store, kind):
    await create_task(store, "p")
    await ask(store, "promise.create", id="q", timeoutAt=FAR)
    rest = {
        "task.fulfill": {"action": action("promise.settle", id="p", state="resolved")},
        "task.fence": {"action": action("promise.settle", id="q", state="resolved")},
        "task.suspend": {"actions": [action("promise.register_callback", awaited="q", awaiter="p")]},
    }
    status, _ = await send(store, kind, id="p", version=0, **rest.get(kind, {}))
    assert status == 409
    pending = (await ask(store, "promise.search", state="pending"))["promises"]
    assert [promise["id"] for promise in pending] == ["p", "q"]


async def test_the_holder_of_a_task_creates_and_settles_promises(store):
    version = await create_task(store, "p")
    for asked in (
        action("promise.create", id="p:1", timeoutAt=FAR, tags={}),
        action("promise.settle", id="p:1", state="resolved", value={"data": "MQ=="}),
    ):
        answer = await ask(store, "task.fence", id="p", version=version, action=asked)
    assert answer["action"]["data"]["promise"]["value"] == {"data": "MQ=="}
    for bad in (action("promise.settle", id="p", state="resolved"), action("promise.get", id="p:1")):
        status, _ = await send(store, "task.fence", id="p", version=version, action=bad)
        assert status == 400


async def test_a_suspended_task_is_offered_when_what_it_waits_for_is_settled(store):
    inbox = Inbox(store)
    await store.start()
    version = await create_task(store, "p")
    for promise_id in ("a", "b"):
        await ask(store, "promise.create", id=promise_id, timeoutAt=FAR)
    waits = [action("promise.register_callback", awaited=awaited, awaiter="p") for awaited in ("a", "b")]
    status, _ = await send(store, "task.suspend", id="p", version=version, actions=waits)
    assert status == 200
    await ask(store, "promise.settle", id="b", state="resolved")
    await ask(store, "promise.settle", id="a", state="resolved")
    assert await inbox.next() == ("execute", {"id": "p", "version": version})
    assert inbox.is_empty()


async def test_a_task_is_not_suspended_if_what_it_waits_for_is_settled(store):
    version = await create_task(store, "p")
    await ask(store, "promise.create", id="a", timeoutAt=FAR)
    await ask(store, "promise.settle", id="a", state="rejected")
    waits = [action("promise.register_callback", awaited="a", awaiter="p")]
    status, _ = await send(store, "task.suspend", id="p", version=version, actions=waits)
    assert status == 300
    unknown = [action("promise.register_callback", awaited="nobody", awaiter="p")]
    assert (await send(store, "task.suspend", id="p", version=version, actions=unknown))[0] == 404


async def test_a_task_created_again_is_a_conflict_while_it_is_held_and_its_result_after(store):
    version = await create_task(store, "p")
    asked = action("promise.create", id="p", timeoutAt=FAR, tags=TARGET)
    assert (await send(store, "task.create", pid="p", ttl=1, action=asked))[0] == 409
    done = action("promise.settle", id="p", state="resolved", value={"data": "MQ=="})
    await ask(store, "task.fulfill", id="p", version=version, action=done)
    answer = await ask(store, "task.create", pid="p", ttl=1, action=asked)
    assert (answer["task"]["state"], answer["promise"]["value"]) == ("fulfilled", {"data": "MQ=="})


async def test_schedules_make_promises_and_make_up_for_missed_times_once(store, clock):
    inbox = Inbox(store)
    await store.start()
    asked = {"id": "s", "cron": "*/5 * * * *", "promiseId": "{{.id}}-{{.timestamp}}", "promiseTimeout": 60_000,
             "promiseParam": {"data": "MQ=="}, "promiseTags": TARGET}  # fmt: skip
    made = (await ask(store, "schedule.create", **asked))["schedule"]
    assert (made["nextRunAt"], made["lastRunAt"]) == (300_000, None)
    assert (await ask(store, "schedule.create", **asked))["schedule"] == made
    clock.now = 300_000
    assert await inbox.next() == ("execute", {"id": "s-300000", "version": 0})
    clock.now = 1_500_001
    assert await inbox.next() == ("execute", {"id": "s-600000", "version": 0})
    found = (await ask(store, "schedule.get", id="s"))["schedule"]
    assert (found["nextRunAt"], found["lastRunAt"]) == (1_800_000, 600_000)
    promise = (await ask(store, "promise.get", id="s-600000"))["promise"]
    assert (promise["timeoutAt"], promise["param"]) == (1_560_001, {"data": "MQ=="})
    await ask(store, "schedule.delete", id="s")
    assert (await ask(store, "schedule.search"))["schedules"] == []


async def test_requests_are_answered_after_stop_and_refused_after_close(store):
    await store.stop()
    await ask(store, "promise.create", id="p", timeoutAt=FAR)
    store.close()
    with pytest.raises(ConnectorError, match="was closed"):
        await ask(store, "promise.get", id="p")

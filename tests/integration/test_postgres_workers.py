"""Durable sessions on PostgreSQL: real workers, killed, stopped, cut off and full."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")

import psutil
import psycopg
from postgres_workers import GROUP, Workers, appears, dsn_to_url, hang_while, note, the_question
from tap import Gate

import stateroom
from stateroom.errors import CheckpointError, InputRefused, WorkerStartError
from stateroom.integration import retries
from stateroom.integration.durable_worker import DurableWorker
from stateroom.integration.inputs import answer_input, open_inputs
from stateroom.integration.postgres.cell_store import PostgresCellStore
from stateroom.integration.postgres.connection import PostgresResonate
from stateroom.integration.postgres.leased_cells import LeasedCells
from stateroom.integration.postgres.slots import Slots


@pytest.fixture(params=["database", "directory"])
def store(request, tmp_path):
    return None if request.param == "database" else tmp_path / "store"


@pytest.fixture
async def workers(resonate_dsn, store):
    workers = Workers(resonate_dsn, store=store)
    yield workers
    await workers.end_all()


async def test_kill_9_amid_a_cell_another_worker_runs_that_cell_again_and_none_before(
    client, workers, tmp_path
):
    await workers.start()
    await workers.start()
    await client.execute("s", note(tmp_path, "one") + "values = [1]")
    await client.execute("s", note(tmp_path, "two") + "values.append(2)")
    (tmp_path / "hang").touch()
    code = note(tmp_path, "three") + hang_while(tmp_path, "hang") + "values.append(3)\nvalues"
    third = await client.submit("s", code)
    dead = int(await appears(tmp_path / "running"))
    assert await workers.end(dead) == -signal.SIGKILL
    (tmp_path / "hang").unlink()
    result = await client.result(third)
    assert (result.value, result.error) == ([1, 2, 3], None)
    assert (tmp_path / "trace").read_text().split() == ["one", "two", "three", "three"]


async def test_the_process_of_a_cell_ends_with_its_worker(client, resonate_dsn, tmp_path):
    workers = Workers(resonate_dsn)
    try:
        await workers.start()
        cell = (await client.execute("s", "import os; os.getpid()")).value
        (tmp_path / "hang").touch()
        await client.submit("s", hang_while(tmp_path, "hang"))
        dead = int(await appears(tmp_path / "running"))
        await workers.end(dead)
        while psutil.pid_exists(cell):
            await asyncio.sleep(0.01)
    finally:
        await workers.end_all()


async def test_a_step_is_not_repeated_when_its_cell_is_taken_over(client, resonate_dsn, tmp_path):
    workers = Workers(resonate_dsn, ttl_s=1)
    try:
        await workers.start()
        (tmp_path / "hang").touch()
        code = (
            "import stateroom\n"
            f"def pay(amount):\n    {note(tmp_path, 'paid').rstrip()}\n    return amount + 1\n"
            "receipt = await stateroom.step('pay', pay, 40)\n" + hang_while(tmp_path, "hang") + "receipt"
        )
        submitted = await client.submit("s", code)
        dead = int(await appears(tmp_path / "running"))
        await workers.start()
        await workers.end(dead)
        (tmp_path / "hang").unlink()
        assert (await client.result(submitted)).value == 41
        assert (tmp_path / "trace").read_text() == "paid\n"
    finally:
        await workers.end_all()


async def test_sigterm_gives_the_cell_back_at_once(client, resonate_dsn, tmp_path):
    workers = Workers(resonate_dsn, ttl_s=3600)  # so it is not taken over because a lease ran out
    try:
        first = await workers.start()
        await client.execute("s", "values = [1]")
        (tmp_path / "hang").touch()
        submitted = await client.submit("s", hang_while(tmp_path, "hang") + "values.append(2)\nvalues")
        await appears(tmp_path / "running")
        await workers.start()
        assert await workers.end(first, signal.SIGTERM) == 0
        (tmp_path / "hang").unlink()
        assert (await client.result(submitted)).value == [1, 2]
    finally:
        await workers.end_all()


async def test_what_was_submitted_while_no_worker_ran_is_run_by_the_first_that_comes(client, workers):
    submitted = await client.submit("s", "6 * 7")
    await workers.start()
    assert (await client.result(submitted)).value == 42


async def test_one_session_runs_one_cell_at_a_time_whoever_runs_it(client, workers, tmp_path):
    await workers.start()
    await workers.start()
    await client.execute("s", "count = 0")
    codes = [
        note(tmp_path, "begin")
        + "import asyncio\nawait asyncio.sleep(0.01)\ncount += 1\n"
        + note(tmp_path, "end")
        for _ in range(8)
    ]
    submitted = [await client.submit("s", code) for code in codes]
    results = [await client.result(execution_id) for execution_id in submitted]
    assert [result.error for result in results] == [None] * 8
    assert (await client.execute("s", "count")).value == 8
    assert (tmp_path / "trace").read_text() == "begin\nend\n" * 8


async def test_a_worker_that_lost_its_lease_stops_the_cell_and_it_is_run_again(
    client, worker, resonate_dsn, tmp_path, monkeypatch
):
    """However often: it is no fault of the cell."""
    monkeypatch.setattr(retries, "MAX_ATTEMPTS", 1)
    await client.execute("s", "values = [1]")
    (tmp_path / "hang").touch()
    submitted = await client.submit(
        "s", note(tmp_path, "ran") + hang_while(tmp_path, "hang") + "values.append(2)\nvalues"
    )
    await appears(tmp_path / "running")
    (tmp_path / "hang").unlink()
    with psycopg.connect(resonate_dsn, autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stateroom lease s'"
        )
    result = await client.result(submitted)
    assert result.value == [1, 2]


async def test_a_database_that_cuts_all_connections_delays_and_loses_nothing(
    client, worker, resonate_dsn, tmp_path
):
    await client.execute("s", "values = []")
    for number in range(2):
        (tmp_path / "hang").touch()
        code = hang_while(tmp_path, "hang") + f"values.append({number})\nvalues"
        submitted = await client.submit("s", code)
        await appears(tmp_path / "running")
        with psycopg.connect(resonate_dsn, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
        (tmp_path / "hang").unlink()
        assert (await client.result(submitted)).value == list(range(number + 1))
        (tmp_path / "running").unlink()


async def test_idle_sessions_make_room_and_come_back_with_their_state(client, resonate_dsn):
    async with DurableWorker(resonate_dsn, GROUP, max_sessions=2, env={}) as worker:
        for number in range(5):
            await client.execute(f"s{number}", f"x = {number}")
        assert "sessions=2 busy=0" in repr(worker)
        values = [(await client.execute(f"s{number}", "x")).value for number in range(5)]
    assert values == list(range(5))
    assert "sessions=0" in repr(worker)


@pytest.fixture
def gate(monkeypatch):
    """Holds up the closing of each session."""
    gate = Gate()
    close = LeasedCells.close

    async def slow(cells):
        await gate.pass_through()
        await close(cells)

    monkeypatch.setattr(LeasedCells, "close", slow)
    return gate


async def test_a_worker_closed_while_it_makes_room_leaves_no_process(client, resonate_dsn, gate):
    async with DurableWorker(resonate_dsn, GROUP, max_sessions=1, env={}) as worker:
        pid = (await client.execute("s", "import os; os.getpid()")).value
        await client.submit("t", "1")
        await gate.reached.wait()
        closing = asyncio.create_task(worker.close())
        await asyncio.wait([closing], timeout=0)
        gate.open()
        await closing
    assert not psutil.pid_exists(pid)


async def test_a_session_that_is_slow_to_close_holds_up_no_other_one(client, resonate_dsn, gate):
    async with DurableWorker(resonate_dsn, GROUP, max_sessions=2, env={}):
        await client.execute("slow", "1")
        await client.execute("s", "x = 1")
        waiting = await client.submit("t", "2")
        await gate.reached.wait()
        assert (await client.execute("s", "x")).value == 1
        gate.open()
        assert (await client.result(waiting)).value == 2


async def test_a_worker_whose_close_is_cancelled_ends_all_the_same(client, resonate_dsn, gate, monkeypatch):
    stop, is_stopped = PostgresResonate.close, asyncio.Event()

    async def stopping(connection):
        await stop(connection)
        is_stopped.set()

    monkeypatch.setattr(PostgresResonate, "close", stopping)
    worker = DurableWorker(resonate_dsn, GROUP, env={})
    await worker.start()
    pid = (await client.execute("s", "import os; os.getpid()")).value
    closing = asyncio.create_task(worker.close())
    await gate.reached.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    gate.open()
    await is_stopped.wait()
    assert not psutil.pid_exists(pid)
    await worker.close()


async def test_a_session_that_cannot_be_started_is_closed(client, resonate_dsn, tmp_path, monkeypatch):
    """It would keep its name locked."""
    monkeypatch.setattr(retries, "RETRY_PAUSE_S", 0)
    started = []

    async def fail(session):
        started.append(session)
        raise WorkerStartError("not today")

    monkeypatch.setattr(stateroom.Session, "start", fail)
    async with DurableWorker(resonate_dsn, GROUP, env={}):
        assert (await client.execute("s", "1")).error.type == "WorkerStartError"
    assert {session.state for session in started} == {"closed"}


async def test_more_executions_than_sessions_take_turns(client, resonate_dsn):
    async with DurableWorker(resonate_dsn, GROUP, max_sessions=1, env={}):
        submitted = [await client.submit(f"s{number}", f"{number}") for number in range(4)]
        assert [(await client.result(execution_id)).value for execution_id in submitted] == list(range(4))


class RefusingStore(PostgresCellStore):
    """Saves nothing, for a reason that does not go away."""

    def save(self, *_: object, **__: object):
        raise CheckpointError("too large")


async def test_a_cell_that_can_never_be_stored_fails_in_the_end(client, resonate_dsn, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "RETRY_PAUSE_S", 0)
    async with DurableWorker(resonate_dsn, GROUP, store=RefusingStore(resonate_dsn), env={}):
        result = await client.execute("s", note(tmp_path, "ran"))
    assert (result.error.type, "cannot be stored: too large" in result.error.message) == (
        "DurableError",
        True,
    )
    assert (tmp_path / "trace").read_text() == "ran\n"


async def test_a_worker_that_is_full_leaves_the_rest_to_others(client, resonate_dsn):
    url = dsn_to_url(resonate_dsn)
    async with DurableWorker(resonate_dsn, GROUP, max_sessions=1, env={}):
        waiting = await client.submit("s0", "input('Go? ')")
        question = await the_question(url)
        async with DurableWorker(resonate_dsn, GROUP, env={}):
            submitted = [await client.submit(f"s{number}", f"{number}") for number in range(1, 6)]
            assert [(await client.result(each)).value for each in submitted] == [1, 2, 3, 4, 5]
            await answer(url, question.id, "on")
            assert (await client.result(waiting)).value == "on"


async def test_a_worker_that_is_stopped_leaves_no_process(client, resonate_dsn):
    async with DurableWorker(resonate_dsn, GROUP, env={}):
        pid = (await client.execute("s", "import os; os.getpid()")).value
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_question_waits_for_its_answer_while_workers_come_and_go(client, resonate_dsn, tmp_path):
    workers = Workers(resonate_dsn, ttl_s=1)
    url = dsn_to_url(resonate_dsn)
    try:
        first = await workers.start()
        await client.execute("s", note(tmp_path, "before") + "x = 1")
        asking = await client.submit("s", "name = input('Name? ')\nage = int(input('Age? '))\n(name, age, x)")
        question = await the_question(url)
        assert (question.prompt, question.execution_id) == ("Name? ", asking)
        await workers.end(first)
        await answer(url, question.id, "Ann")
        with pytest.raises(InputRefused, match="is answered already"):
            await answer(url, question.id, "Bob")
        await workers.start()
        second = await the_question(url)
        assert second.prompt == "Age? "
        await answer(url, second.id, "7")
        assert (await client.result(asking)).value == ("Ann", 7, 1)
        with pytest.raises(InputRefused, match="there is no promise 'e:input:9'"):
            await answer(url, "e:input:9", "x")
        assert open_inputs(url) == []
    finally:
        await workers.end_all()
    assert (tmp_path / "trace").read_text() == "before\n"


async def answer(url, input_id, text):
    """In a thread: it may have to wait for a transaction of this loop."""
    await asyncio.to_thread(answer_input, url, input_id, text)


def test_slots_are_taken_by_what_runs_and_what_is_about_to():
    now = [0.0]
    slots = Slots(3, clock=lambda: now[0])
    slots.expect(2)
    assert slots.free == 1
    with slots.used():
        assert slots.free == 1
        now[0] = 3.0  # the other one was somebody else's
        assert slots.free == 2
        slots.expect(5)
        assert slots.free == 0
    assert repr(slots) == "<Slots 0 of 3 free, running=0>"

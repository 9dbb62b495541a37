"""Durable sessions on PostgreSQL: real workers, killed amid their work."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import re
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")

import psutil
import psycopg

import stateroom
from stateroom.errors import (
    CheckpointError,
    ConfigError,
    DurableError,
    DurableRejected,
    InputRefused,
    StoreError,
)
from stateroom.integration import retries
from stateroom.integration.durable_client import DurableClient
from stateroom.integration.durable_worker import DurableWorker
from stateroom.integration.inputs import answer_input, open_inputs
from stateroom.integration.outcome import outcome_to_data
from stateroom.integration.postgres.cell_store import PostgresCellStore
from stateroom.integration.postgres.slots import Slots
from stateroom.integration.resonate_functions import FUNCTION_NAME
from stateroom.integration.resonate_init import initialize_resonate_postgres
from stateroom.integration.sdk import Value
from stateroom.session.execution import ExecutionResult

GROUP = "cabin"
CLIENT = Path(__file__).with_name("postgres_client_child.py")
CLI = "import sys; from stateroom.frontends.cli import main; sys.exit(main())"


class Workers:
    """Worker processes of the command line, by pid."""

    def __init__(self, dsn: str, *, store: Path | None = None, ttl_s: float = 2.0) -> None:
        pytest.importorskip("typer", reason="needs the command line: install stateroom[cli]")
        self._options = ["--dsn", dsn, "--group", GROUP, "--ttl", str(ttl_s)]
        if store is not None:
            self._options += ["--store", str(store)]
        self.by_pid: dict[int, asyncio.subprocess.Process] = {}

    async def start(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLI, "worker", *self._options, stderr=asyncio.subprocess.PIPE
        )
        while b"ready" not in (line := await process.stderr.readline()):
            assert line, "the worker ended before it was ready"
        self.by_pid[process.pid] = process
        return process.pid

    async def end(self, pid: int, how: signal.Signals = signal.SIGKILL) -> int:
        process = self.by_pid.pop(pid)
        process.send_signal(how)
        await process.communicate()
        return process.returncode

    async def end_all(self) -> None:
        await asyncio.gather(*(self.end(pid) for pid in list(self.by_pid)))


@pytest.fixture(params=["database", "directory"])
def store(request, tmp_path):
    return None if request.param == "database" else tmp_path / "store"


@pytest.fixture
async def workers(resonate_dsn, store):
    workers = Workers(resonate_dsn, store=store)
    yield workers
    await workers.end_all()


@pytest.fixture
async def client(resonate_dsn):
    async with DurableClient(resonate_dsn, GROUP, env={}) as client:
        yield client


@pytest.fixture
async def worker(resonate_dsn):
    """A worker in this process."""
    async with DurableWorker(resonate_dsn, GROUP, ttl_s=2, env={}) as worker:
        yield worker


async def appears(path: Path) -> str:
    """Wait for a file that a cell makes, and read it."""
    while not path.exists() or not (text := path.read_text()):
        await asyncio.sleep(0.01)
    return text


def note(folder: Path, what: str) -> str:
    """Code of a cell that leaves a trace each time it runs."""
    return f"with open({str(folder / 'trace')!r}, 'a') as file: file.write({what + chr(10)!r})\n"


def hang_while(folder: Path, name: str) -> str:
    """Code of a cell that tells the pid of the worker it runs on, then waits while a file is there."""
    return (
        f"import os, time, pathlib\n"
        f"part = pathlib.Path({str(folder / 'part')!r}); part.write_text(str(os.getppid())); part.rename({str(folder / 'running')!r})\n"
        f"while os.path.exists({str(folder / name)!r}): time.sleep(0.01)\n"
    )


async def test_cells_of_a_session_share_its_names_and_results_come_back_whole(client, worker):
    assert (await client.execute("s", "x = [1]\nprint('hi')\nx")).stdout == "hi\n"
    result = await client.execute("s", "x.append(2)\nx", execution_id="second")
    assert (result.value, result.ok, result.execution_id) == ([1, 2], True, "second")
    failed = await client.execute("s", "1/0")
    assert (failed.ok, failed.error.type) == (False, "ZeroDivisionError")
    assert (await client.execute("s", "len(x)")).value == 2
    other = await client.execute("t", "x")
    assert other.error.type == "NameError"


async def test_the_same_id_again_returns_the_result_and_runs_nothing(client, worker, resonate_dsn, tmp_path):
    code = note(tmp_path, "ran") + "41 + 1"
    assert (await client.execute("s", code, execution_id="once")).value == 42
    assert (await client.execute("s", code, execution_id="once")).value == 42
    async with DurableClient(resonate_dsn, GROUP, env={}) as another:
        assert (await another.result("once")).value == 42
    assert (tmp_path / "trace").read_text() == "ran\n"
    for session, other in (("s", "41 + 2"), ("t", code)):
        with pytest.raises(DurableError, match="'once' belongs to another cell"):
            await client.execute(session, other, execution_id="once")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"execution_id": "a:b"}, "execution_id='a:b': give printable text"),
        ({"execution_id": ""}, "execution_id=''"),
        ({"execution_id": "x" * 301}, "at most 300 characters"),
        ({"session": "s\0"}, "session='s"),
        ({"session": ""}, "session=''"),
        ({"code": "'\ud800'"}, "give text that can be encoded"),
        ({"code": None}, "code=None"),
        ({"timeout_s": float("nan")}, "timeout_s=nan: give seconds"),
        ({"timeout_s": -1}, "timeout_s=-1"),
    ],
)
async def test_what_cannot_be_a_cell_is_not_submitted(client, what, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        await client.submit(**{"session": "s", "code": "1", **what})


async def test_what_others_submit_that_is_no_cell_is_told_as_its_outcome(client, worker):
    workers = client._resonate.options(target=GROUP)
    for number, request in enumerate([{"code": 3}, {"session": "s\0", "code": "1"}, {"timeout_s": "x"}]):
        await workers.rpc(f"e{number}", FUNCTION_NAME, request).id()
        assert (await client.result(f"e{number}")).error.type == "ConfigError"


async def test_results_that_nobody_can_have(client):
    with pytest.raises(DurableError, match="no promise 'never-submitted'"):
        await client.result("never-submitted")
    with pytest.raises(ConfigError, match="execution_id"):
        await client.result("a:b")
    submitted = await client.submit("s", "1")
    await client._resonate.promises.reject(submitted, Value(data={"message": "not today"}))
    with pytest.raises(DurableRejected, match="not today"):
        await client.result(submitted)


async def test_an_execution_that_was_stored_but_not_answered_is_answered_and_not_run(
    client, resonate_dsn, tmp_path
):
    stored = outcome_to_data(ExecutionResult(execution_id="e1", value=7, has_value=True, repr_text="7"))
    import msgspec

    async with DurableWorker(resonate_dsn, GROUP, env={}) as first:
        await client.execute("s", "kept = 1", execution_id="e0")
        latest = first.store.latest("s")
        state = b"".join(first.store.checkpoint(latest))
        first.store.save("s", "e1", msgspec.json.encode(stored), [state], after=1)
    async with DurableWorker(resonate_dsn, GROUP, env={}):
        assert (await client.execute("s", note(tmp_path, "ran"), execution_id="e1")).value == 7
        assert (await client.execute("s", "kept")).value == 1
    assert not (tmp_path / "trace").exists()


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
    client, worker, resonate_dsn, tmp_path
):
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
            answer_input(url, question.id, "on")
            assert (await client.result(waiting)).value == "on"


async def test_a_worker_that_is_stopped_leaves_no_process(client, resonate_dsn):
    async with DurableWorker(resonate_dsn, GROUP, env={}):
        pid = (await client.execute("s", "import os; os.getpid()")).value
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cell_has_its_time_limit(client, worker):
    result = await client.execute("s", "import time; time.sleep(3600)", timeout_s=0.5)
    assert (result.ok, result.error.type) == (False, "DurableRejected")


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
        answer_input(url, question.id, "Ann")
        with pytest.raises(InputRefused, match="is answered already"):
            answer_input(url, question.id, "Bob")
        await workers.start()
        second = await the_question(url)
        assert second.prompt == "Age? "
        answer_input(url, second.id, "7")
        assert (await client.result(asking)).value == ("Ann", 7, 1)
        with pytest.raises(InputRefused, match="there is no promise 'e:input:9'"):
            answer_input(url, "e:input:9", "x")
        assert open_inputs(url) == []
    finally:
        await workers.end_all()
    assert (tmp_path / "trace").read_text() == "before\n"


def dsn_to_url(dsn: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return "postgresql://{user}@{host}:{port}/{dbname}".format(**parts)


async def the_question(url: str):
    """Wait until something is asked."""
    while not (found := await asyncio.to_thread(open_inputs, url)):
        await asyncio.sleep(0.02)
    (question,) = found
    return question


async def test_inputs_of_a_database_that_cannot_be_used(postgres_dsn):
    for url in ("postgresql://nobody@127.0.0.1:1/none", dsn_to_url(postgres_dsn)):
        with pytest.raises(StoreError, match="cannot be read"):
            open_inputs(url)
        with pytest.raises(StoreError, match="cannot be used"):
            answer_input(url, "e:input:1", "x")


async def test_one_session_of_this_process_on_a_database(resonate_dsn, tmp_path):
    for expected in (1, 2):
        async with stateroom.Session() as session:
            runtime = await initialize_resonate_postgres(
                resonate_dsn, GROUP, session, session_name="s", env={}
            )
            async with runtime:
                first = await runtime.run("one", note(tmp_path, "one") + "x = 1\nx")
                again = await runtime.cells.execute(f"again-{expected}", "x += 1\nx")
        assert (first["value"], again["value"]) == (1, expected + 1)
    assert (tmp_path / "trace").read_text() == "one\n"


async def test_a_database_without_the_schema_is_refused(postgres_dsn):
    with pytest.raises(StoreError, match=r"has no Resonate schema: apply resonate\.sql"):
        await DurableWorker(postgres_dsn, env={}).start()
    with pytest.raises(StoreError, match="has no Resonate schema"):
        async with DurableClient(postgres_dsn, env={}):
            pass


@pytest.mark.parametrize(
    ("options", "message"), [({"ttl_s": 0}, "ttl_s=0"), ({"max_sessions": 0}, "max_sessions=0")]
)
def test_settings_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        DurableWorker("host=127.0.0.1", **options)


async def test_the_command_says_what_is_wrong_with_the_database():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLI, "worker", "--dsn", "host=127.0.0.1 port=1 dbname=none",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"stateroom worker: the database 'none' at 127.0.0.1:1 cannot be used" in said


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
async def test_kill_9_of_clients_and_workers_changes_no_result_and_repeats_no_finished_cell(
    resonate_dsn, tmp_path, kills
):
    workers = Workers(resonate_dsn, ttl_s=1)
    answering = asyncio.create_task(answer_all(dsn_to_url(resonate_dsn)))
    try:
        for _ in range(2):
            await workers.start()
        done = 0
        while done < kills:
            script = Script(resonate_dsn, f"s{done}", tmp_path / f"trace{done}")
            done += max(1, await script.run_while_killing(workers, min(10, kills - done)))
            assert script.values == EXPECTED
            assert script.runs_now() == script.runs_when_finished
    finally:
        answering.cancel()
        await workers.end_all()


EXPECTED = {1: 1, 2: 3, 3: 6, 4: 10, 5: 15, 6: 21, 7: 28, 8: 36, 9: 45, 10: 55}


async def answer_all(url: str) -> None:
    """Answer ``cell N?`` with N, as soon as it is asked."""
    while True:
        for question in await asyncio.to_thread(open_inputs, url):
            with contextlib.suppress(InputRefused):
                await asyncio.to_thread(answer_input, url, question.id, question.prompt[5:-2])
        await asyncio.sleep(0.02)


class Script:
    """Ten cells that a client executes, begun again as often as that is killed."""

    def __init__(self, dsn: str, session: str, trace: Path) -> None:
        self.arguments = [dsn, GROUP, session, str(trace)]
        self.trace = trace
        self.values: dict[int, int] = {}
        self.runs_when_finished: dict[int, int] = {}

    def runs_now(self) -> dict[int, int]:
        counted = collections.Counter(map(int, self.trace.read_text().split()))
        return {number: counted[number] for number in self.runs_when_finished}

    async def run_while_killing(self, workers: Workers, kills: int) -> int:
        """Run to the end, killing a client, a worker or both up to ``kills`` times; how often it was."""
        killed = 0
        client = await self._start()
        reading = asyncio.create_task(self._read(client))
        while True:
            pause_s = random.uniform(0.05, 0.9) if killed < kills else None
            if (await asyncio.wait([reading], timeout=pause_s))[0]:
                await reading
                assert await client.wait() == 0
                return killed
            whom = random.choice(["client", "worker", "both"])
            killed += 1
            if whom != "client":
                await workers.end(random.choice(list(workers.by_pid)))
            if whom != "worker":
                with contextlib.suppress(ProcessLookupError):
                    client.kill()
                await reading
                await client.wait()
                client = await self._start()
                reading = asyncio.create_task(self._read(client))
            if whom != "client":
                await workers.start()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(CLIENT), *self.arguments, stdout=asyncio.subprocess.PIPE
        )

    async def _read(self, client: asyncio.subprocess.Process) -> None:
        """Note what the client says: each cell has the same value, and the same number of runs, each time."""
        while (line := await client.stdout.readline()).endswith(b"\n"):
            number, value, runs = map(int, line.split())
            assert self.values.setdefault(number, value) == value
            assert self.runs_when_finished.setdefault(number, runs) == runs


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


def test_a_cell_store_says_which_database_it_means_and_not_its_password():
    store = PostgresCellStore("postgresql://me:secret@db.example/rooms")
    assert repr(store) == "<PostgresCellStore 'rooms' at db.example:5432 keep=3>"

"""Executions that are submitted to PostgreSQL: what comes back, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")

import psycopg
from postgres_workers import CLI, GROUP, dsn_to_url, note

import stateroom
from stateroom.errors import ConfigError, DurableError, DurableRejected, StoreError
from stateroom.integration.durable_client import DurableClient
from stateroom.integration.durable_worker import DurableWorker
from stateroom.integration.inputs import answer_input, open_inputs
from stateroom.integration.outcome import outcome_to_data
from stateroom.integration.postgres.cell_store import PostgresCellStore
from stateroom.integration.resonate_functions import FUNCTION_NAME
from stateroom.integration.resonate_init import initialize_resonate_postgres
from stateroom.integration.sdk import Value
from stateroom.session.execution import ExecutionResult


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


async def test_a_cell_has_its_time_limit(client, worker):
    result = await client.execute("s", "import time; time.sleep(3600)", timeout_s=0.5)
    assert (result.ok, result.error.type) == (False, "DurableRejected")


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


def test_a_worker_takes_the_settings_of_sessions_and_their_engines_and_no_others():
    DurableWorker("host=127.0.0.1", env={}, close_grace_s=1, max_output_bytes=1_000)
    with pytest.raises(ConfigError, match="is 'max_output_bytes' meant"):
        DurableWorker("host=127.0.0.1", env={}, max_output_byte=1_000)


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


def test_a_cell_store_says_which_database_it_means_and_not_its_password():
    store = PostgresCellStore("postgresql://me:secret@db.example/rooms")
    assert repr(store) == "<PostgresCellStore 'rooms' at db.example:5432 keep=3>"


async def test_a_user_needs_no_more_rights_than_the_guide_says(resonate_dsn):
    with psycopg.connect(resonate_dsn, autocommit=True) as db:
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            db.execute("CREATE ROLE rooms LOGIN")
        db.execute("GRANT resonate_worker TO rooms")
        db.execute(f"GRANT CREATE ON DATABASE {db.info.dbname} TO rooms")
        dsn = resonate_dsn.replace("user=tester", "user=rooms")
        async with DurableClient(dsn, GROUP, env={}) as client, DurableWorker(dsn, GROUP, env={}):
            assert (await client.execute("s", "x = 20")).ok
            assert (await client.execute("s", "x + 1")).value == 21
        with pytest.raises(StoreError, match="permission denied for table promises"):
            open_inputs(dsn_to_url(dsn))
        db.execute("GRANT SELECT ON resonate.promises TO rooms")
        assert open_inputs(dsn_to_url(dsn)) == []

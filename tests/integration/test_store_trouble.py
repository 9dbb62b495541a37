"""Stores that fail, or hold what somebody has put there: nothing is lost, run again, or unpickled."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import threading

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate_base import ConnectorError

import stateroom
from stateroom.errors import CheckpointError, DurableError, DurableRejected, StoreError
from stateroom.integration import resonate_init, retries, sqlite_store
from stateroom.integration.directory_store import DirectoryCellStore
from stateroom.integration.pickle_free import PickleFree
from stateroom.integration.resonate_init import initialize_resonate_local
from stateroom.integration.sdk import FAR_FUTURE_MS, Value
from stateroom.integration.sqlite_store import SqliteCellStore, SqliteConnection

DOWN = ConnectorError(RuntimeError("the network is down"))


def counting(path, rest=""):
    """Code that counts its runs in a file, and then does the rest."""
    return f"with open({str(path)!r}, 'a') as file: file.write('x')\n{rest}"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(retries, "RETRY_PAUSE_S", 0)


# The store of promises


async def test_a_promise_that_cannot_be_settled_at_once_is_settled_by_the_next_attempt(
    durable, tap, new_id, tmp_path
):
    execution_id = new_id()
    tap.fail_once("promise.settle", f"exec:{execution_id}", DOWN)
    outcome = await durable.run(execution_id, counting(tmp_path / "runs", "41 + 1"))
    assert (outcome["value"], outcome["error"]) == (42, None)
    assert (tmp_path / "runs").read_text() == "x"


async def test_an_answer_from_elsewhere_is_noticed_after_the_store_was_away(durable, tap, new_id):
    execution_id = new_id()
    question = f"{execution_id}:input:1"
    tap.fail_once("promise.register_listener", question, DOWN)
    running = asyncio.create_task(durable.cells.execute(execution_id, "input('who? ')"))
    await tap.failed("promise.register_listener", question)
    await durable.resonate.promises.resolve(question, Value(data={"text": "Ada"}))
    assert (await running)["value"] == "Ada"


async def test_a_time_limit_holds_though_the_store_is_away_when_it_ends(durable, tap, new_id):
    execution_id = new_id()
    tap.fail_once("promise.settle", f"exec:{execution_id}", DOWN)
    with pytest.raises(DurableRejected, match="not settled within"):
        await durable.cells.execute(execution_id, "import asyncio; await asyncio.Event().wait()", timeout_s=0)
    assert durable.bridge.info()["timed_out"] == 1


async def test_a_time_limit_that_ends_while_a_result_cannot_be_settled_holds(bridge, tap, new_id):
    execution_id = new_id()
    gate = tap.gate("promise.settle", f"exec:{execution_id}")
    tap.fail_once("promise.settle", f"exec:{execution_id}", DOWN)
    await bridge.expect(execution_id, timeout_s=0, hold=True)
    settling = asyncio.create_task(bridge.resolve(execution_id, {"ok": True}))
    await gate.reached.wait()
    gate.open()
    with pytest.raises(StoreError, match="the network is down"):
        await settling
    with pytest.raises(DurableRejected, match="not settled within"):
        await bridge.result(execution_id)


async def test_a_result_is_told_when_the_store_is_back(session, bridge, tap, new_id):
    execution_id = new_id()
    tap.fail_once("promise.settle", f"exec:{execution_id}", DOWN)
    await bridge.expect(execution_id)
    await session.run("6 * 7", execution_id=execution_id)
    await tap.failed("promise.settle", f"exec:{execution_id}")
    assert (await bridge.result(execution_id))["value"] == 42


@pytest.mark.parametrize("kind", ["promise.create", "promise.settle"])
async def test_a_question_waits_until_the_store_is_back(durable, tap, new_id, kind):
    execution_id = new_id()
    tap.fail_once(kind, f"{execution_id}:input:1", DOWN)
    outcome = await durable.cells.execute(execution_id, "input('who? ')", on_input=lambda _: "Ada")
    assert (outcome["value"], outcome["error"]) == ("Ada", None)
    await tap.failed(kind, f"{execution_id}:input:1")


async def test_a_question_answered_while_the_store_is_away_has_that_answer(durable, tap, new_id):
    """It was open when the cell asked, and settled when the cell came to wait for it."""
    execution_id = new_id()
    question = f"{execution_id}:input:1"
    down = asyncio.create_task(tap.failed("promise.get", question))
    tap.fail_once("promise.get", question, DOWN)
    running = asyncio.create_task(durable.cells.execute(execution_id, "input('who? ')"))
    await tap.answered("promise.register_listener", question)
    await durable.resonate.promises.resolve(question, Value(data={"text": "Ada"}))
    assert (await running)["value"] == "Ada"
    await down


@pytest.mark.parametrize("kind", ["promise.create", "promise.settle"])
async def test_a_step_waits_until_the_store_is_back(durable, tap, new_id, tmp_path, kind):
    execution_id = new_id()
    code = f"import stateroom\ndef f():\n    {counting(tmp_path / 'runs').rstrip()}\n    return 7\nawait stateroom.step('f', f)"
    tap.fail_once(kind, f"{execution_id}:step:f:1", DOWN)
    assert (await durable.cells.execute(execution_id, code))["value"] == 7
    await tap.failed(kind, f"{execution_id}:step:f:1")
    assert (tmp_path / "runs").read_text() == "x"


async def test_trouble_with_promises_is_a_store_error(durable, tap, new_id, tmp_path):
    execution_id, code = new_id(), counting(tmp_path / "runs", "x = 1")
    tap.fail_once("promise.create", f"exec:{execution_id}", DOWN)
    with pytest.raises(StoreError, match="the network is down"):
        await durable.cells.execute(execution_id, code)
    tap.fail_once("promise.settle", f"exec:{execution_id}", DOWN)
    with pytest.raises(StoreError, match="the network is down"):
        await durable.cells.execute(execution_id, code)
    assert (await durable.cells.execute(execution_id, code))["ok"]
    assert (tmp_path / "runs").read_text() == "x"


async def test_an_execution_of_other_code_is_not_waited_for(durable, bridge_of_another, new_id):
    execution_id = new_id()
    await bridge_of_another.expect(execution_id, param={"digest": "of other code"}, hold=True)
    with pytest.raises(DurableError, match="other code"):
        await durable.cells.execute(execution_id, "1", timeout_s=60)
    assert durable.bridge.pending == 0


@pytest.fixture
async def bridge_of_another(durable):
    """Somebody else who uses the same promises."""
    from stateroom.integration.resonate_bridge import ResonateProtocolBridge

    async with stateroom.Session() as session:
        bridge = ResonateProtocolBridge(durable.resonate, session)
        yield bridge
        await bridge.close(reject=False)


# The store of cells


async def test_a_cell_whose_state_is_refused_runs_once_and_fails(session, tmp_path, new_id):
    class Full(SqliteCellStore):
        def save(self, *_, **__):
            raise CheckpointError("too large for this store")

    path = tmp_path / "state.db"
    async with await initialize_resonate_local(session, path=path, store=Full(path), env={}) as runtime:
        outcome = await runtime.run(new_id(), counting(tmp_path / "runs"))
    assert outcome["error"]["type"] == "DurableError"
    assert "too large for this store" in outcome["error"]["message"]
    assert (tmp_path / "runs").read_text() == "x"


async def test_a_cell_is_stored_when_the_store_is_back_and_not_run_again(session, tmp_path, new_id):
    folder = tmp_path / "cells"
    store = DirectoryCellStore(folder)
    execution_id, code = new_id(), counting(tmp_path / "runs", "kept = 1")
    async with await initialize_resonate_local(
        session, path=tmp_path / "state.db", store=store, env={}
    ) as runtime:
        # The cell itself takes the store away.
        code += f"\nimport os; os.rename({str(folder)!r}, {str(tmp_path / 'away')!r})"
        with pytest.raises(StoreError, match="cells cannot be used"):
            await runtime.cells.execute(execution_id, code)
        (tmp_path / "away").rename(folder)
        assert (await runtime.cells.execute(execution_id, code))["ok"]
        assert (await runtime.cells.execute(new_id(), "kept"))["value"] == 1
    assert (tmp_path / "runs").read_text() == "x"
    assert store.find("default", execution_id) is not None


async def test_what_was_not_stored_is_not_stored_after_another_cell(session, tmp_path, new_id):
    class Once(SqliteCellStore):
        failed = False

        def save(self, *args, **how):
            if not self.failed:
                self.failed = True
                raise StoreError("the disk is full")
            return super().save(*args, **how)

    path, first, code = tmp_path / "state.db", new_id(), counting(tmp_path / "runs", "x = 1")
    async with await initialize_resonate_local(session, path=path, store=Once(path), env={}) as runtime:
        with pytest.raises(StoreError, match="the disk is full"):
            await runtime.cells.execute(first, code)
        assert (await runtime.cells.execute(new_id(), "'x' in globals()"))["value"] is False
        assert (await runtime.cells.execute(first, code))["ok"]
        assert (await runtime.cells.execute(new_id(), "x"))["value"] == 1
    assert (tmp_path / "runs").read_text() == "xx"


class InDoubt(SqliteCellStore):
    """Takes the first cell, and cannot say so."""

    has_failed = False

    def save(self, *args, **how):
        finished = super().save(*args, **how)
        if not self.has_failed:
            self.has_failed = True
            raise StoreError("the connection broke")
        return finished


async def test_a_store_that_took_a_cell_and_could_not_say_so_has_the_state_for_the_next_one(
    session, tmp_path, new_id
):
    path, first, code = tmp_path / "state.db", new_id(), counting(tmp_path / "runs", "x = 1")
    async with await initialize_resonate_local(session, path=path, store=InDoubt(path), env={}) as runtime:
        with pytest.raises(StoreError, match="the connection broke"):
            await runtime.cells.execute(first, code)
        assert (await runtime.cells.execute(new_id(), "x = x + 1; x"))["value"] == 2
        assert (await runtime.cells.execute(first, code))["ok"]
        assert (await runtime.cells.execute(new_id(), "x"))["value"] == 2
        assert await runtime.cells.finished() == 3
    assert (tmp_path / "runs").read_text() == "x"


async def test_a_caller_cancelled_while_its_cell_is_stored_leaves_the_state_for_the_next_one(
    session, tmp_path, new_id
):
    saving, may_save = threading.Event(), threading.Event()

    class Slow(SqliteCellStore):
        def save(self, *args, **how):
            saving.set()
            assert may_save.wait(30)
            return super().save(*args, **how)

    path, first, code = tmp_path / "state.db", new_id(), counting(tmp_path / "runs", "x = 1")
    async with await initialize_resonate_local(session, path=path, store=Slow(path), env={}) as runtime:
        running = asyncio.create_task(runtime.cells.execute(first, code))
        assert await asyncio.to_thread(saving.wait, 30)
        pid = session.pid
        for _ in range(2):  # one who insists
            running.cancel()
            await asyncio.sleep(0)
        may_save.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await runtime.cells.finished() == 1
        assert (await runtime.cells.execute(new_id(), "x"))["value"] == 1
        assert session.pid == pid
        assert (await runtime.cells.execute(first, code))["ok"]
    assert (tmp_path / "runs").read_text() == "x"


async def test_a_cell_that_was_stored_all_the_same_is_not_kept_to_be_stored(session, tmp_path, new_id):
    path, first = tmp_path / "state.db", new_id()
    async with await initialize_resonate_local(session, path=path, store=InDoubt(path), env={}) as runtime:
        with pytest.raises(StoreError, match="the connection broke"):
            await runtime.cells.execute(first, "1")
        assert runtime.cells._unstored.execution_id == first
        assert (await runtime.cells.execute(first, "1"))["value"] == 1
        assert runtime.cells._unstored is None


def test_sessions_in_one_file_leave_each_other_alone(tmp_path):
    SqliteConnection(tmp_path / "state.db").close()
    store = SqliteCellStore(tmp_path / "state.db")
    other_is_done = threading.Event()

    def slow():
        yield b"a" * 3_000_000
        assert other_is_done.wait(30)
        yield b"b"

    def save_other():
        for number in range(5):
            store.save("other", f"other-{number}", b"{}", [b"x"], after=number)
        store.delete("other")
        other_is_done.set()

    other = threading.Thread(target=save_other)
    other.start()
    cell = store.save("slow", "slow-1", b"{}", slow(), after=0)
    other.join()
    assert b"".join(store.checkpoint(cell)) == b"a" * 3_000_000 + b"b"


async def test_without_a_store_a_timeout_leaves_the_namespace(durable, new_id):
    await durable.cells.execute(new_id(), "x = 1")
    with pytest.raises(DurableRejected, match="not settled within"):
        await durable.cells.execute(
            new_id(), "y = 2\nimport asyncio; await asyncio.Event().wait()", timeout_s=0.05
        )
    assert (await durable.cells.execute(new_id(), "x, y"))["value"] is not None


# Pickles


class Evil(Exception):
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def pickled(path):
    return {
        "__type": "error",
        "message": "sorry",
        "__py_pickle": base64.b64encode(pickle.dumps(Evil(path))).decode(),
    }


@pytest.mark.parametrize("which", ["the execution", "its child"])
async def test_a_rejection_is_never_unpickled(durable, new_id, tmp_path, which):
    execution_id, promises = new_id(), durable.resonate.promises
    promise_id = execution_id if which == "the execution" else f"{execution_id}:1"
    task = {"func": "stateroom.execute", "args": [{"code": "1"}], "version": 1}
    await promises.create(promise_id, FAR_FUTURE_MS, Value(data=task), {})
    await promises.reject(promise_id, Value(data=pickled(tmp_path / "made")))
    with pytest.raises(DurableRejected, match="sorry"):
        await asyncio.wait_for(durable.run(execution_id, "1"), 30)
    assert not (tmp_path / "made").exists()


def test_pickles_are_taken_out_however_they_are_written(tmp_path):
    text = json.dumps(pickled(tmp_path / "made"))
    for data in (text, text.replace("__py_pickle", "\\u005f_py_pickle")):
        assert json.loads(PickleFree().decrypt(data.encode())) == {"__type": "error", "message": "sorry"}
        assert b"pickle" not in PickleFree().encrypt(data.encode())


@pytest.mark.parametrize("data", [b'{"a": "\\u00e9"}', b'["__py_pickle"]', b"no json __py_pickle", b""])
def test_everything_else_stays_as_it_is(data):
    assert PickleFree().decrypt(data) == PickleFree().encrypt(data) == data


async def test_attempts_are_counted_until_the_execution_is_rejected():
    attempts = [DurableError("not yet"), DurableRejected("by somebody")]
    counted = retries.Retries()

    async def attempt():
        raise attempts.pop(0)

    for error in list(attempts):
        with pytest.raises(type(error)):
            await counted.outcome("e", attempt)
    assert repr(counted) == "<Retries failed={}>"


# Runtimes that cannot be made


@pytest.mark.parametrize("what", ["make_resonate", "DurableCells", "register"])
async def test_what_cannot_be_made_leaves_its_file_and_its_session_to_others(
    what, session, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise StoreError("not today")

    path = tmp_path / "state.db"
    with monkeypatch.context() as patched:
        patched.setattr(resonate_init, what, refuse)
        with pytest.raises(StoreError, match="not today") as kept:
            await initialize_resonate_local(session, path=path, env={})
    async with await initialize_resonate_local(session, path=path, env={}) as runtime:
        assert (await runtime.run("e", "1"))["value"] == 1
    assert kept.tb is not None  # it was held meanwhile, and so was all that it refers to


async def test_a_file_without_a_store_of_cells_is_left_to_others(session, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise StoreError("not today")

    path = tmp_path / "state.db"
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_store, "SqliteCellStore", refuse)
        with pytest.raises(StoreError, match="not today") as kept:
            await initialize_resonate_local(session, path=path, env={})
    SqliteConnection(path).close()
    assert kept.tb is not None

"""Rows K1 to K4 through real sessions, and what a crash leaves."""

import asyncio

import pytest
from watching import begun

import stateroom
from stateroom import CancelOutcome
from stateroom.errors import CheckpointError
from stateroom.session.checkpoint import Checkpoint
from stateroom.session.checkpoint_store import CheckpointStore


@pytest.fixture
async def session():
    async with stateroom.Session() as session:
        yield session


async def test_K1_functions_stay_bound_to_the_live_namespace(session):
    await session.run("x = 1\ndef f(): return x\nl = []; d = {'l': l}")
    saved = await session.checkpoint()
    await session.run("del x, f, d, l")
    await session.restore(saved)
    assert (await session.run("x = 2\nf()")).value == 2
    assert (await session.run("d['l'] is l")).value is True


async def test_K2_what_cannot_be_saved_is_listed_with_its_reason(session):
    await session.run(
        "import asyncio, socket, threading\nkept = [1]\nlock = threading.Lock()\ngen = (i for i in [])\n"
        "file = open('/dev/null')\nsock = socket.socket()\ntask = asyncio.create_task(asyncio.sleep(100))"
    )
    saved = await session.checkpoint()
    assert "kept" in saved.names
    assert {"lock", "gen", "file", "sock", "task"} <= saved.skipped.keys()
    assert all(saved.skipped.values())
    await session.run("sock.close(); file.close()")


async def test_K3_restore_mutates_the_same_dict_and_honours_clear_existing(session):
    namespace = (await session.run("import math as m\nkept = 1\nid(globals())")).value
    saved = await session.checkpoint()
    await session.run("other = 2; kept = 5")
    await session.restore(saved, clear_existing=False)
    assert (await session.run("other, kept, m.pi > 3, id(globals())")).value == (2, 1, True, namespace)
    report = await session.restore(saved)
    assert set(report.restored) == {"m", "kept"}
    assert (await session.run("other")).error.type == "NameError"
    assert (await session.run("print('engine alive'); __name__")).value == "__main__"


ADD_PATH = {
    "first": ("import sys; sys.path.insert(0, {folder!r})", 0),
    "last": ("import sys; sys.path.append({folder!r})", -1),
    "working folder": ("import os; os.chdir({folder!r})", 0),
}


@pytest.mark.parametrize(("add", "place"), ADD_PATH.values(), ids=ADD_PATH)
async def test_K3_modules_are_found_where_the_cells_have_found_them(tmp_path, add, place):
    (tmp_path / "own_module.py").write_text("class C:\n    value = 7\ndef f(): return C.value\n")
    async with stateroom.Session() as first:
        await first.run(add.format(folder=str(tmp_path)), check=True)
        await first.run("import own_module\nfrom own_module import f\nobj = own_module.C()", check=True)
        (await first.checkpoint()).save(tmp_path / "saved")
    async with stateroom.Session() as second:
        path = (await second.run("import sys; sys.path")).value
        report = await second.restore(Checkpoint.load(tmp_path / "saved"))
        assert report.failed == {}
        assert (await second.run("f(), obj.value, type(obj) is own_module.C")).value == (7, 7, True)
        now = (await second.run("import sys; sys.path")).value
        assert now[place] == str(tmp_path)
        assert [folder for folder in now if folder != str(tmp_path)] == path
        await second.restore(Checkpoint.load(tmp_path / "saved"))
        assert (await second.run("import sys; sys.path")).value == now


async def test_K3_a_path_that_a_cell_has_destroyed_is_left_alone(tmp_path):
    session = stateroom.Session(cwd=str(tmp_path))
    await session.start()
    await session.checkpoint()  # loads what it takes to make one
    await session.run("import sys, os; x = 1; path = sys.path; sys.path = None")
    await session.restore(await session.checkpoint())
    assert (await session.run("sys.path, x")).value == (None, 1)
    await session.run(
        "import sys, os; sys.path = path; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
    )
    assert (await session.restore(await session.checkpoint())).failed == {}
    await session.close()


@pytest.mark.parametrize("damage", ["cut", "altered", "garbage", "empty", "missing"])
async def test_K4_a_damaged_checkpoint_is_refused_and_the_namespace_untouched(session, tmp_path, damage):
    await session.run("x = 1")
    (await session.checkpoint()).save(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    bad = {
        "cut": good[:-10],
        "altered": good[:-80] + bytes([good[-80] ^ 1]) + good[-79:],
        "garbage": b"hello",
        "empty": b"",
        "missing": None,
    }[damage]
    if bad is not None:
        (tmp_path / "bad").write_bytes(bad)
    with pytest.raises(CheckpointError, match=r"^cannot read the checkpoint '.*bad': "):
        Checkpoint.load(tmp_path / "bad")
    saved = Checkpoint.load(tmp_path / "good")
    saved.path = tmp_path / "bad"  # what the worker sees, if the file changes under it
    await session.run("x = 2")
    with pytest.raises(CheckpointError, match="checkpoint"):
        await session.restore(saved)
    assert (await session.run("x")).value == 2


async def test_a_checkpoint_outlives_its_session(tmp_path):
    async with stateroom.Session() as first:
        await first.run("x = {'a': [1, 2]}\nclass C:\n    v = 7")
        (await first.checkpoint()).save(tmp_path / "saved")
    async with stateroom.Session() as second:
        await second.restore(Checkpoint.load(tmp_path / "saved"))
        assert (await second.run("x['a'] + [C().v]")).value == [1, 2, 7]


async def test_a_named_session_opens_the_same_state_again(tmp_path):
    async with stateroom.Session(store=str(tmp_path), name="work") as session:
        await session.run("x = 41")
        with pytest.raises(CheckpointError, match="'work' is open"):
            await stateroom.Session(store=str(tmp_path), name="work").start()
    async with stateroom.Session(store=str(tmp_path), name="work") as session:
        assert session.recovery.restored == ["x"]
        assert (await session.run("x + 1")).value == 42
    async with stateroom.Session(store=str(tmp_path), name="other") as session:
        assert (await session.run("x")).error.type == "NameError"


async def test_X3_hard_stop_restores_the_last_checkpoint_and_says_what_was_lost():
    async with stateroom.Session(cancel_grace_s=0.1, insist_grace_s=0.1) as session:
        await session.run("import threading\nx = 1\nlock = threading.Lock()")
        await session.checkpoint()
        await session.run("y = 2")
        code = "while True:\n    try: print('on'); sum(range(10**12))\n    except BaseException: pass"
        running = await begun(session, code)
        assert await session.cancel(hard_stop=True) is CancelOutcome.STOPPED
        assert "1 cell ended since" in (await running).error.message
        assert (await session.run("x")).value == 1
        assert (await session.run("y")).error.type == "NameError"
        assert session.recovery.restored
        assert list(session.recovery.lost) == ["lock"]


async def test_X9_a_restart_brings_the_last_checkpoint_back(session):
    await session.run("x = 1")
    await session.checkpoint()
    result = await session.run("import os; os._exit(3)")
    assert (result.error.type, result.error.exit_status) == ("WorkerDied", 3)
    assert result.error.message.endswith("exited with status 3 while e3 ran")
    await session.restart()
    assert (await session.run("x")).value == 1
    await session.restart(restore=False)
    assert (await session.run("x")).error.type == "NameError"


async def test_auto_restart_with_automatic_checkpoints():
    async with stateroom.Session(auto_restart=True, checkpoint_every_cells=2) as session:
        for index in range(5):
            await session.run(f"x = {index}")
        result = await session.run("import os; os._exit(3)")
        assert result.error.type == "WorkerDied"
        what = "the namespace comes back from the last checkpoint; 1 cell ended since"
        assert result.error.message.endswith(f"ran; {what}")
        assert (await session.run("x")).value == 3  # the checkpoint after the fourth cell
        assert session.recovery.cells_since == 1


async def test_auto_restart_gives_up_on_a_crash_loop():
    async with stateroom.Session(auto_restart=True, max_restarts_in_a_row=2) as session:
        ends = [(await session.run("import os; os._exit(3)")).error for _ in range(3)]
        assert [error.type for error in ends] == ["WorkerDied"] * 3
        empty = "; there was no checkpoint, so the namespace is empty"
        assert [error.message.endswith(f"ran{empty}") for error in ends] == [True, True, False]
        assert ends[2].message.endswith(
            "exited with status 3 while e3 ran"
        )  # nothing comes by itself any more
        with pytest.raises(stateroom.SessionBroken):
            await session.run("1")


async def test_checkpoint_waits_its_turn_and_can_be_cancelled(session):
    await session.run(
        "class Slow:\n    def __reduce__(self):\n        print('on')\n        while True: pass\ns = Slow()\nx = 1"
    )
    started = asyncio.Event()
    session.on_late_output = lambda _: started.set()
    saving = asyncio.create_task(session.checkpoint())
    await started.wait()
    assert await session.cancel() is CancelOutcome.CANCELLED
    with pytest.raises(CheckpointError):
        await saving
    assert (await session.run("x")).value == 1


SWALLOWS = (
    "\n        while True:\n            try:\n                while True: pass\n            except {}: pass"
)
HANGS = {
    "sleep": "def __reduce__(self): __import__('time').sleep(1000)",
    "loop": "def __reduce__(self):\n        while True: pass",
    "loop in __getstate__": "def __getstate__(self):\n        while True: pass",
    "lock": "def __reduce__(self): __import__('threading').Event().wait()",
    "swallows": "def __reduce__(self):" + SWALLOWS.format("Exception"),
    "swallows all": "def __reduce__(self):" + SWALLOWS.format("BaseException"),
    "text of its error": "def __reduce__(self): raise Hangs\nclass Hangs(Exception):\n"
    "    def __str__(self):\n        while True: pass",
    "its type is hashed": "class Meta(type):\n        def __hash__(cls):\n            while True: pass\n"
    "class E(metaclass=type('Other', (E.Meta,), {})): pass",
    "its type is asked": "class Meta(type):\n        def __getattribute__(cls, name):\n"
    "            while True: pass\nclass E(metaclass=E.Meta): pass",
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
async def test_K2_a_variable_that_never_ends_to_be_saved_is_left_out(hang):
    """And so is each one of its kind, in its own time; what comes behind them is saved."""
    async with stateroom.Session(checkpoint_timeout_s=0.2) as session:
        await session.run(f"a = [1]\nclass E:\n    {hang}\ne, f, z = E(), E(), [2]", check=True)
        saved = await session.checkpoint()
        assert {"a", "z"} <= set(saved.names)
        assert {"e", "f"} <= saved.skipped.keys()
        if "Hangs" not in hang:
            assert "it takes longer than 0.2 s to pickle" in saved.skipped["e"]
        assert (await session.run("a, z")).value == ([1], [2])
        assert session.info.restarts == 0


@pytest.mark.parametrize("limit_s", [0.02, 60])
async def test_a_checkpoint_that_goes_on_all_the_same_can_be_cancelled(limit_s):
    """Whatever the limit of a variable ends meanwhile."""
    async with stateroom.Session(checkpoint_timeout_s=limit_s, cancel_grace_s=0.2) as session:
        body = "print('on', flush=True)" + SWALLOWS.format("BaseException")
        await session.run(f"class E:\n    def __reduce__(self):\n        {body}", check=True)
        await session.run(
            "all = [E() for _ in range(1000)]\nglobals().update((f'e{i}', e) for i, e in enumerate(all))"
        )
        started = asyncio.Event()
        session.on_late_output = lambda _: started.set()
        saving = asyncio.create_task(session.checkpoint())
        await started.wait()
        if await session.cancel() is CancelOutcome.IGNORED:  # swallowed
            assert await session.cancel() is CancelOutcome.CANCELLED
        with pytest.raises(CheckpointError):
            await saving
        assert (await session.run("len(all)")).value == 1000


async def test_what_ends_one_variable_does_not_end_the_next():
    """The lines of code that goes on all the same are made to raise, those of ``f`` too; but only for ``e``."""
    async with stateroom.Session(checkpoint_timeout_s=0.2) as session:
        body = SWALLOWS.format("BaseException").replace("while True", "while self.bad", 1)
        await session.run(
            f"class E:\n    def __reduce__(self):{body}\n        return E, ()\n"
            "e, f = E(), E()\ne.bad, f.bad = True, False",
            check=True,
        )
        saved = await session.checkpoint()
        assert list(saved.skipped) == ["e"]
        assert "f" in saved.names


async def test_a_variable_that_never_ends_to_be_saved_holds_up_neither_the_next_cell_nor_the_end(tmp_path):
    settings = {"store": str(tmp_path), "checkpoint_every_cells": 1, "checkpoint_timeout_s": 0.2}
    async with stateroom.Session(**settings) as session:
        await session.run(f"x = 1\nclass E:\n    {HANGS['loop']}\ne = E()", check=True)
        assert (await session.run("x")).value == 1
    async with stateroom.Session(**settings) as session:
        assert (await session.run("x")).value == 1
        assert list(session.recovery.lost) == ["e"]


async def test_giving_up_a_checkpoint_that_cannot_be_interrupted_loses_nothing():
    async with stateroom.Session(cancel_grace_s=0.05, insist_grace_s=0.05) as session:
        await session.run(
            "class Slow:\n    def __getstate__(self):\n        print('on')\n        sum(range(3 * 10**7))\n"
            "        return {}\nslow = Slow()\nprecious = 42"
        )
        started = asyncio.Event()
        session.on_late_output = lambda _: started.set()
        saving = asyncio.create_task(session.checkpoint())
        await started.wait()
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert (await session.run("precious")).value == 42
        assert session.info.restarts == 0


HANGS_WHEN_RESTORED = (
    "import time\nclass Hangs:\n    def __init__(self): self.x = 1\n"
    "    def __setstate__(self, state):\n        {hang}\nhangs = Hangs()\nkept = 1"
)
SHORT = {"cancel_grace_s": 0.5, "insist_grace_s": 0.5, "restore_timeout_s": 0.5}


@pytest.mark.parametrize("hang", ["time.sleep(600)", "sum(range(10**12))"])
async def test_a_restart_goes_on_without_a_state_that_does_not_come_back_in_time(hang):
    async with stateroom.Session(**SHORT) as session:
        await session.run(HANGS_WHEN_RESTORED.format(hang=hang), check=True)
        await session.checkpoint()
        await session.restart()
        assert "did not end within restore_timeout_s (0.5 s)" in session.recovery.error
        assert session.state == "idle"
        assert session.info.restarts == 1 + ("sum" in hang)
        assert (await session.run("kept")).error.type == "NameError"
        assert (await session.run("6 * 7")).value == 42


@pytest.mark.parametrize("hang", ["time.sleep(5)", "sum(range(10**8))"])
async def test_a_session_is_not_opened_without_a_state_that_does_not_come_back_in_time(tmp_path, hang):
    settings = {"store": str(tmp_path), "name": "work"}
    async with stateroom.Session(**settings) as session:
        await session.run(HANGS_WHEN_RESTORED.format(hang="kept_time = 1"), check=True)
        await session.run(f"def load(self, state):\n    {hang}\nHangs.__setstate__ = load", check=True)
    for _ in range(3):
        with pytest.raises(
            CheckpointError, match=r"did not come back: .*\(0.2 s\); set a longer restore_timeout"
        ):
            async with stateroom.Session(**settings, **SHORT | {"restore_timeout_s": 0.2}):
                pass
    async with stateroom.Session(**settings) as session:
        assert (await session.run("kept")).value == 1


async def test_what_is_lost_for_want_of_a_module_is_there_when_the_module_is(tmp_path):
    settings = {"store": str(tmp_path / "store"), "name": "work", "store_keep": 1}
    module = tmp_path / "own_module.py"
    module.write_text("class C:\n    value = 7\n")
    async with stateroom.Session(**settings) as session:
        await session.run(f"import sys; sys.path.append({str(tmp_path)!r})", check=True)
        await session.run("import own_module; obj = own_module.C(); x = 1", check=True)
    module.rename(tmp_path / "gone")
    for index in range(4):
        async with stateroom.Session(**settings) as session:
            assert ("obj" in session.recovery.lost) == (index == 0)
            await session.run("x += 1", check=True)
    (tmp_path / "gone").rename(module)
    store = CheckpointStore(tmp_path / "store", keep=1)
    assert (store.generations("work"), store.kept_back("work")) == ((1, 5), (1,))
    store.bring_back("work", 1)
    async with stateroom.Session(**settings) as session:
        assert (await session.run("obj.value, x")).value == (7, 1)
    assert store.kept_back("work") == ()

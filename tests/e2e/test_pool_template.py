"""The warm template: what a forked session must not inherit, and what becomes of it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import structlog
from watching import is_gone, until

import stateroom
from stateroom.session import template_launcher
from stateroom.session.pool import SessionPool
from stateroom.session.template_process import can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="no fork from a template here")


def modules(tmp_path, **sources):
    """Settings for a pool whose workers find these modules."""
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    return {"cwd": str(tmp_path), "preload": tuple(sources)}


async def test_sessions_are_forked_from_the_template_and_find_its_modules(tmp_path):
    settings = modules(tmp_path, heavy="import os\nloaded_by = os.getpid()")
    async with SessionPool(size=1, **settings) as pool, pool.session() as session:
        assert (await session.run("import heavy; heavy.loaded_by")).value == pool.info.template_pid
        assert psutil.Process(session.pid).ppid() == pool.info.template_pid
        assert (await session.run("sorted(n for n in globals() if n[0] != '_')")).value == [
            "In",
            "Out",
            "heavy",
        ]
        assert pool.info.spawns_instead is None


async def test_a_forked_session_tells_failures_of_subprocesses(tmp_path):
    settings = modules(tmp_path, ignorant="import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    async with SessionPool(size=1, **settings) as pool, pool.session() as session:
        code = "import subprocess, signal\nsubprocess.run(['false']).returncode, signal.getsignal(signal.SIGCHLD)"
        result = await session.run(code + " == signal.SIG_DFL", check=True)
        assert result.value == (1, True)


@pytest.mark.parametrize("draw", ["random.random()", "numpy.random.rand()"])
async def test_random_numbers_differ_between_sessions(draw):
    pytest.importorskip("numpy")
    pool = SessionPool(size=2, preload=["random", "numpy.random"])
    async with pool, pool.session() as one, pool.session() as other:
        code = f"import random, numpy\n{draw}"
        values = [(await session.run(code, check=True)).value for session in (one, other)]
    assert values[0] != values[1]


async def test_exit_handlers_of_the_template_run_in_the_template_only(tmp_path):
    settings = modules(
        tmp_path,
        leaver="""
            import atexit, os, tempfile, weakref
            def note(what):
                with open("notes", "a") as file:
                    print(what, os.getpid(), file=file)
            class Thing: pass
            thing = Thing()
            atexit.register(note, "atexit")
            weakref.finalize(thing, note, "finalize")
            folder = tempfile.TemporaryDirectory()
        """,
    )
    async with SessionPool(size=1, **settings) as pool:
        template = pool.info.template_pid
        async with pool.session() as session:
            folder = (await session.run("import leaver; leaver.folder.name", check=True)).value
            code = "import atexit; atexit.register(leaver.note, 'own')\nfile = open('kept', 'w'); file.write('written')"
            await session.run(code, check=True)
            worker = session.pid
        await until(lambda: session.state == "closed")
        assert Path(folder).is_dir()
        assert (tmp_path / "notes").read_text() == f"own {worker}\n"
        assert (tmp_path / "kept").read_text() == "written"
    notes = (tmp_path / "notes").read_text().splitlines()[1:]
    assert sorted(notes) == [f"atexit {template}", f"finalize {template}"]
    assert not Path(folder).exists()


async def test_a_preloaded_module_keeps_its_logging_and_its_finalizers_in_a_session(tmp_path):
    settings = modules(tmp_path, logs="import logging, weakref, multiprocessing.util\n")
    async with SessionPool(size=1, **settings) as pool, pool.session() as session:
        code = """
            import logging, logging.handlers, weakref
            file = logging.FileHandler("log")
            logging.getLogger().addHandler(logging.handlers.MemoryHandler(100, target=file))
            logging.getLogger().error("kept in memory")
            class Thing: pass
            thing = Thing()
            weakref.finalize(thing, open("finalized", "w").close)
        """
        await session.run(textwrap.dedent(code), check=True)
        await session.close()
    assert "kept in memory" in (tmp_path / "log").read_text()
    assert (tmp_path / "finalized").exists()


async def test_what_the_template_printed_is_not_printed_again(tmp_path):
    settings = modules(
        tmp_path, chatty="import sys\nsys.stdout.write('no end of line')\nsys.stderr.write('none')"
    )
    heard = []
    async with SessionPool(size=1, **settings) as pool, pool.session() as session:
        session.on_late_output = heard.append
        result = await session.run("import chatty, os\nprint('mine'); os.system('echo low')", check=True)
    assert (result.stdout, result.stderr, heard) == ("mine\nlow\n", "", [])


async def test_a_module_that_starts_a_thread_is_warned_about(tmp_path):
    source = "import threading\nthreading.Thread(target=threading.Event().wait, name='eternal', daemon=True).start()"
    settings = modules(tmp_path, threaded=source)
    with structlog.testing.capture_logs() as logs:
        async with SessionPool(size=1, **settings) as pool, pool.session() as session:
            assert (await session.run("6 * 7")).value == 42
    (warning,) = [log for log in logs if log["event"] == "template_has_threads"]
    assert warning["threads"] == ["eternal"]


async def test_numpy_is_not_warned_about_and_computes_in_a_session():
    pytest.importorskip("numpy")
    with structlog.testing.capture_logs() as logs:
        async with SessionPool(size=1, preload=["numpy"]) as pool, pool.session() as session:
            code = "import numpy as np\nfloat((np.ones((300, 300)) @ np.ones((300, 300)))[0, 0])"
            assert (await session.run(code, check=True)).value == 300
    assert logs == []


async def test_a_forked_worker_is_like_a_spawned_one(tmp_path):
    code = """
        import gc, os, signal, sys, threading
        (
            os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getcwd(), sys.path, sys.argv,
            sys.flags.safe_path, sys.stdin.read(), sorted({t.name for t in threading.enumerate()} - {"stateroom-companion"}), gc.isenabled(),
            str(sys.modules["__main__"].__dict__ is globals()), __name__,
            sorted(os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in os.listdir("/proc/self/fd") if int(n) < 100 and os.path.exists(f"/proc/self/fd/{n}")),
            signal.pthread_sigmask(signal.SIG_BLOCK, []) == set(),
            [str(signal.getsignal(n)).partition(" at ")[0] for n in sorted(signal.valid_signals())],
            str(__import__("warnings").filters),
        )
    """
    found = []
    pool, spawned = SessionPool(size=1, cwd=str(tmp_path)), stateroom.Session(cwd=str(tmp_path))
    async with pool, pool.session() as forked, spawned:
        for session in (forked, spawned):
            result = await session.run(textwrap.dedent(code), check=True, on_input=lambda _: None)
            found.append(list(result.value))
    for value in found:
        value[4] = value[4][0]  # which descriptors there are is told by the rest
    assert found[0] == found[1]


async def test_the_engine_works_in_a_forked_session():
    async with SessionPool(size=1) as pool, pool.session() as session:
        code = "import asyncio, sys\nprint('a'); print('b', file=sys.stderr); await asyncio.sleep(0)\ninput('? ')"
        result = await session.run(code, on_input=lambda _: "answer")
        assert (result.value, result.stdout, result.stderr) == ("answer", "a\n", "b\n")
        waiting = asyncio.create_task(session.run("import time\nprint('up')\nwhile True: pass"))
        await until(lambda: session.state == "busy")
        assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
        assert (await waiting).cancelled


# The life of the template


async def test_the_death_of_the_template_takes_no_session_with_it():
    with structlog.testing.capture_logs() as logs:
        async with SessionPool(size=2) as pool, pool.session() as session:
            template = pool.info.template_pid
            os.kill(template, signal.SIGKILL)
            await until(lambda: pool.info.template_pid is None)
            assert (await session.run("6 * 7")).value == 42
            async with pool.session() as another:  # was ready
                await another.run("import os; os._exit(3)")
            async with pool.session() as third:  # is forked from a new template
                assert psutil.Process(third.pid).ppid() == pool.info.template_pid != template
            assert pool.info.templates_started == 2
            assert pool.info.spawns_instead is None
    assert {log["event"] for log in logs} <= {"template_lost", "worker_lost"}


async def test_a_worker_whose_template_is_dead_is_still_heard_to_die():
    async with SessionPool(size=1) as pool, pool.session() as session:
        os.kill(pool.info.template_pid, signal.SIGKILL)
        await until(lambda: pool.info.template_pid is None)
        result = await session.run("import os; os._exit(3)")
        assert result.error.type == "WorkerDied"
        assert (result.error.exit_status, result.error.signal) == (None, None)


async def test_a_template_that_hangs_is_replaced():
    async with SessionPool(size=1, start_timeout_s=10) as pool:
        launcher = pool._launcher
        hung = launcher.template
        os.kill(hung.pid, signal.SIGSTOP)
        short = stateroom.SessionConfig(start_timeout_s=0.2)
        process = await launcher(short)
        assert launcher.template is not hung
        assert is_gone(hung.pid)
        process.kill()
        process.close()


async def test_templates_that_keep_dying_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(template_launcher, "MAX_LOSSES", 2)
    settings = modules(
        tmp_path,
        dies="import os, atexit\nos.register_at_fork(after_in_parent=lambda: os._exit(9) if 0 else None)",
    )
    with structlog.testing.capture_logs() as logs:
        async with SessionPool(size=1, **settings) as pool:
            launcher = pool._launcher
            (tmp_path / "dies.py").write_text("import os; os._exit(9)")
            os.kill(launcher.template.pid, signal.SIGKILL)
            for _ in range(2):
                async with pool.session() as session:
                    assert (await session.run("6 * 7")).value == 42
            assert "status 9" in pool.info.spawns_instead
    assert [log["event"] for log in logs].count("pool_spawns_workers") == 1


async def test_a_template_that_never_comes_up_is_done_without(tmp_path):
    settings = modules(tmp_path, dies="import os\nos.write(2, b'last words')\nos._exit(9)")
    with structlog.testing.capture_logs() as logs:
        async with SessionPool(size=1, **settings) as pool, pool.session() as session:
            assert (await session.run("6 * 7")).value == 42
            assert "last words" in pool.info.spawns_instead
    assert [log["event"] for log in logs] == ["pool_spawns_workers"]


async def test_without_fork_workers_are_spawned(monkeypatch):
    monkeypatch.setattr(template_launcher, "can_fork", lambda: False)
    with structlog.testing.capture_logs() as logs:
        async with SessionPool(size=2, preload=["json"]) as pool:
            for _ in range(3):
                async with pool.session() as session:
                    assert psutil.Process(session.pid).ppid() == os.getpid()
            assert (pool.info.template_pid, pool.info.templates_started) == (None, 0)
    assert [log["event"] for log in logs] == ["pool_spawns_workers"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("1/0", "ZeroDivisionError"),
        ("exit(3)", "SystemExit"),
    ],
)
async def test_a_module_that_cannot_be_loaded_is_a_config_error(tmp_path, source, said):
    pool = SessionPool(size=1, **modules(tmp_path, broken=source))
    with pytest.raises(stateroom.errors.ConfigError, match=f"(?s)'broken' cannot be imported.*{said}"):
        await pool.start()
    assert pool.info.state == "closed"


async def test_an_interpreter_that_cannot_run_fails_the_start():
    pool = SessionPool(size=2, python="/no/such/python")
    with pytest.raises(stateroom.WorkerStartError, match="/no/such/python"):
        await pool.start()
    assert (pool.info.state, pool.info.starting) == ("closed", 0)


async def test_a_start_that_fails_is_told_to_the_caller_who_waits_and_tried_again():
    async def fail(_config):
        raise stateroom.WorkerStartError("no more processes")

    async def take(pool):
        async with pool.session():
            pass

    async with SessionPool(size=1) as pool:
        launch, pool._launch = pool._launch, fail
        with structlog.testing.capture_logs() as logs:
            async with pool.session():
                waiting = asyncio.create_task(take(pool))
                await until(lambda: pool.info.waiting == 1)
            with pytest.raises(stateroom.WorkerStartError, match="no more processes"):
                await waiting
        assert logs[0]["event"] == "session_did_not_start"
        pool._launch = launch
        await until(lambda: pool.info.idle == 1)  # nobody asks; tried again after a pause
        assert pool.info.start_failures >= 1


def test_everything_ends_with_the_process_of_the_pool(tmp_path):
    code = """
        import asyncio, os, stateroom
        async def main():
            async with stateroom.SessionPool(size=2) as pool, pool.session() as session:
                pids = [pool.info.template_pid, session.pid, *[member.session.pid for member in pool._roster.idle]]
                print(*pids, flush=True)
                os.kill(os.getpid(), 9)
        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 3, done.stderr
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(10)

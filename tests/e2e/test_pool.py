"""Pools of real sessions: what a tenant gets, the queue, health, the end."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest
from watching import is_gone, until

import stateroom
from stateroom.session.pool import SessionPool
from stateroom.session.template_process import can_fork

forks = pytest.mark.skipif(not can_fork(), reason="no fork from a template here")


async def pid_of(session):
    return (await session.run("import os; os.getpid()", check=True)).value


# What a tenant gets


async def test_a_session_is_never_one_that_somebody_used():
    async with SessionPool(size=1) as pool:
        pids = []
        for _ in range(3):
            async with pool.session() as session:
                result = await session.run("'secret' in globals(), 'secret' in __import__('sys').modules")
                assert result.value == (False, False)
                await session.run("secret = 1; import sys; sys.modules['secret'] = sys", check=True)
                pids.append(await pid_of(session))
        assert len(set(pids)) == 3
        await until(lambda: pool.info.idle == 1)
        assert pool.info.recycled == {"used": 3}
        assert (pool.info.created, pool.info.acquired) == (4, 3)
    assert all(map(is_gone, pids))


async def test_a_used_session_is_closed_after_the_block():
    async with SessionPool(size=1) as pool:
        async with pool.session() as session:
            pass
        await until(lambda: session.state == "closed")
        with pytest.raises(stateroom.SessionClosed):
            await session.run("1")


async def test_a_tenant_gets_its_own_session_back_and_nobody_else_does():
    async with SessionPool(size=3, max_uses=3) as pool:
        async with pool.session(tenant="alice") as session:
            await session.run("x = 1", check=True)
            first = await pid_of(session)
        assert pool.info.kept == 1
        for tenant in ("bob", None):
            async with pool.session(tenant=tenant) as session:
                assert (await session.run("x")).error.type == "NameError"
        for _ in range(2):
            async with pool.session(tenant="alice") as session:
                assert (await session.run("x", check=True)).value == 1
                assert await pid_of(session) == first
        async with pool.session(tenant="alice") as session:
            assert (await session.run("x")).error.type == "NameError"
        assert pool.info.recycled["uses"] == 1


async def test_a_kept_session_makes_room_for_those_who_wait():
    async with SessionPool(size=1, max_uses=9) as pool:
        async with pool.session(tenant="alice") as session:
            await session.run("x = 1")
        async with pool.session(tenant="bob") as session:
            assert (await session.run("x")).error.type == "NameError"
        assert pool.info.recycled == {"room": 1}


async def test_a_session_with_a_running_cell_is_not_kept():
    async with SessionPool(size=1, max_uses=9) as pool:
        async with pool.session(tenant="alice") as session:
            running = asyncio.create_task(session.run("import time; time.sleep(100)"))
            await until(lambda: session.state == "busy")
        assert pool.info.recycled == {"busy": 1}
        assert not (await running).ok


async def test_a_session_that_holds_too_much_is_not_kept():
    async with SessionPool(size=1, max_uses=9, max_memory_bytes=150_000_000) as pool:
        async with pool.session(tenant="alice") as session:
            await session.run("x = b'x' * 200_000_000", check=True)
        assert pool.info.recycled == {"memory": 1}


async def test_idle_sessions_that_are_too_old_are_replaced():
    async with SessionPool(size=1, max_age_s=0.2) as pool:
        await until(lambda: pool.info.recycled.get("age", 0) >= 2 and pool.info.idle == 1)


async def test_sessions_over_min_size_end_when_nobody_needs_them():
    async with SessionPool(min_size=0, max_size=2, idle_timeout_s=0.2, max_uses=9) as pool:
        assert pool.info.idle == 0
        async with pool.session(tenant="alice"):
            pass
        assert pool.info.kept == 1
        await until(lambda: pool.info.recycled == {"idle": 1} and pool.info.closing == 0)


# The queue


async def test_callers_are_served_in_order():
    served = []

    async def take(number):
        async with pool.session():
            served.append(number)

    async with SessionPool(size=1) as pool, asyncio.TaskGroup() as group, pool.session():
        for number in range(6):
            group.create_task(take(number))
        await until(lambda: pool.info.waiting == 6)
    assert served == list(range(6))
    assert pool.info.waits.count == 7


async def test_a_caller_that_waits_too_long_is_told():
    async with SessionPool(size=1, acquire_timeout_s=0.05) as pool, pool.session() as session:
        with pytest.raises(stateroom.PoolTimeout, match=r"no session came free within 0\.05 s"):
            async with pool.session():
                pass
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            async with pool.session(acquire_timeout_s=0.01):
                pass
        assert (pool.info.timeouts, pool.info.waiting) == (2, 0)
        assert (await session.run("1")).value == 1


async def test_a_cancelled_caller_costs_nobody_a_session():
    async with SessionPool(size=1) as pool:

        async def take():
            async with pool.session():
                await asyncio.Event().wait()

        async with pool.session():
            waiting = [asyncio.create_task(take()) for _ in range(3)]
            await until(lambda: pool.info.waiting == 3)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        async with pool.session() as session:
            assert (await session.run("1")).value == 1
        assert pool.info.waiting == 0


async def test_a_caller_cancelled_as_it_is_served_passes_the_session_on():
    async with SessionPool(size=1, max_uses=3) as pool:
        async with pool.session(tenant="alice") as session:
            acquiring = asyncio.create_task(pool._acquire("alice", None))
            await until(lambda: pool.info.waiting == 1)
        assert pool.info.busy == 1  # the session is the other caller's already
        acquiring.cancel()
        await asyncio.wait([acquiring])
        assert acquiring.cancelled()
        assert (pool.info.busy, pool.info.kept, pool.info.recycled) == (0, 1, {})
        async with pool.session(tenant="alice") as again:
            assert again is session


# Health


async def test_a_dead_idle_session_is_replaced():
    async with SessionPool(size=1) as pool:
        (member,) = pool._roster.idle
        os.kill(member.session.pid, signal.SIGKILL)
        await until(lambda: pool.info.recycled == {"died": 1} and pool.info.idle == 1)
        async with pool.session() as session:
            assert (await session.run("1")).value == 1


async def test_a_silent_idle_session_is_replaced():
    async with SessionPool(size=1, heartbeat_interval_s=0.05, max_age_s=100, close_grace_s=0.1) as pool:
        pool._housekeeper.cancel()  # the test keeps the house
        (member,) = pool._roster.idle
        await until(lambda: member.session.info.heartbeat_age_s is not None)
        os.kill(member.session.pid, signal.SIGSTOP)
        await until(lambda: pool._health.is_silent(member))
        pool._look_after()
        await until(lambda: pool.info.recycled == {"silent": 1} and pool.info.idle == 1)
        async with pool.session() as session:
            assert session.pid != member.session.pid


@pytest.mark.parametrize(
    ("code", "status", "signal_number"),
    [("import os; os._exit(7)", 7, None), ("import os; os.kill(os.getpid(), 11)", None, 11)],
)
@forks
async def test_a_worker_that_dies_is_reported_with_its_status(code, status, signal_number):
    async with SessionPool(size=1) as pool:
        async with pool.session() as session:
            result = await session.run(code)
            assert result.error.type == "WorkerDied"
            assert (result.error.exit_status, result.error.signal) == (status, signal_number)
        assert pool.info.recycled == {"died": 1}


@forks
async def test_a_session_can_be_restarted_and_hard_stopped():
    async with SessionPool(size=1, cancel_grace_s=0.1, insist_grace_s=0.1) as pool, pool.session() as session:
        first = await pid_of(session)
        await session.run("x = 1")
        await session.restart()
        assert (await session.run("x")).error.type == "NameError"
        result = await session.run("sum(range(10**12))", timeout=0.1)
        assert result.error.type == "TimeoutError"
        second = await pid_of(session)
        assert first != second
        assert psutil.Process(second).ppid() == pool.info.template_pid


# The end of a pool


async def test_closing_ends_those_who_wait_and_those_who_work():
    outcomes = []

    async def work(pool):
        try:
            async with pool.session() as session:
                result = await session.run("import time; time.sleep(100)")
                outcomes.append(result.ok)
        except stateroom.SessionClosed as error:
            outcomes.append(str(error))

    pool = SessionPool(size=1)
    await pool.start()
    tasks = [asyncio.create_task(work(pool)) for _ in range(2)]
    await until(lambda: pool.info.busy == 1 and pool.info.waiting == 1)
    await asyncio.gather(pool.close(), pool.close())
    await asyncio.wait(tasks)
    assert sorted(outcomes, key=str) == [False, "the pool was closed before a session came free"]
    info = pool.info
    assert (info.state, info.idle, info.busy, info.starting, info.closing, info.waiting) == (
        "closed",
        0,
        0,
        0,
        0,
        0,
    )
    with pytest.raises(stateroom.SessionClosed, match="the pool is closed"):
        async with pool.session():
            pass
    with pytest.raises(stateroom.SessionClosed):
        await pool.start()


async def test_closing_while_sessions_start_leaves_nothing():
    before = set(psutil.Process().children(recursive=True))
    pool = SessionPool(size=3)
    starting = asyncio.create_task(pool.start())
    await until(lambda: pool.info.starting)
    starting.cancel()
    await asyncio.wait([starting])
    assert pool.info.state == "closed"
    left = set(psutil.Process().children(recursive=True)) - before
    assert psutil.wait_procs(left, timeout=10)[1] == []


async def test_no_descriptor_and_no_task_is_left():
    async with SessionPool(size=1) as pool, pool.session():
        pass
    before = psutil.Process().num_fds()
    for _ in range(2):
        async with SessionPool(size=2, max_uses=2) as pool:
            for tenant in ("a", None):
                async with pool.session(tenant=tenant) as session:
                    await session.run("1")
    assert psutil.Process().num_fds() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}

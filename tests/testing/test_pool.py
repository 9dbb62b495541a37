"""Pools whose sessions have scripted workers."""

import asyncio

import pytest

import stateroom
from stateroom.errors import WorkerStartError
from stateroom.testing import ScriptedLauncher, each_cell, virtual_time


@virtual_time
async def test_a_pool_takes_its_workers_from_the_launcher():
    launcher = ScriptedLauncher(each_cell(lambda cell: cell.worker.ordinal))
    async with stateroom.SessionPool(size=2, launcher=launcher) as pool:
        assert len(launcher.workers) == 2
        assert pool.info.template_pid is None
        async with pool.session() as first, pool.session() as second:
            values = [(await session.run("")).value for session in (first, second)]
            assert sorted(values) == [1, 2]
        async with pool.session() as third:
            assert (await third.run("")).value > 2
    assert all(worker.returncode is not None for worker in launcher.workers)


@virtual_time
async def test_a_caller_that_waits_too_long_for_a_session_is_told():
    launcher = ScriptedLauncher(each_cell(lambda _: None))
    async with stateroom.SessionPool(size=1, launcher=launcher) as pool, pool.session():
        with pytest.raises(stateroom.PoolTimeout):
            async with pool.session(acquire_timeout_s=60):
                pytest.fail("there was a second one")
        assert asyncio.get_running_loop().time() == 60


@virtual_time
async def test_a_tenant_does_not_get_a_session_back_that_is_too_old():
    launcher = ScriptedLauncher(each_cell(lambda cell: cell.worker.ordinal))
    async with stateroom.SessionPool(size=1, launcher=launcher, max_uses=9, max_age_s=10.5) as pool:
        for age_s, ordinal in [(0, 1), (10.4, 1), (10.6, 2)]:  # between two looks at what is ready
            await asyncio.sleep(age_s - asyncio.get_running_loop().time())
            async with pool.session(tenant="a") as session:
                assert (await session.run("")).value == ordinal
        assert pool.info.recycled == {"age": 1}


@virtual_time
async def test_a_pool_whose_workers_do_not_start_says_so_and_leaves_none():
    async def script(worker):
        worker.exit(1, stderr="no luck")

    launcher = ScriptedLauncher(script)
    with pytest.raises(WorkerStartError, match="no luck"):
        async with stateroom.SessionPool(size=2, launcher=launcher):
            pytest.fail("it started")
    assert all(worker.returncode is not None for worker in launcher.workers)

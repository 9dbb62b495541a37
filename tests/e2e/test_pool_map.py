"""``SessionPool.map`` over real sessions."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import stateroom
from stateroom.session.pool import SessionPool


async def collect(results):
    return {position: result async for position, result in results}


async def test_map_runs_code_for_each_input():
    async with SessionPool(size=2) as pool:
        results = await collect(pool.map("print(item)\nitem['n'] * 2", [{"n": n} for n in range(7)]))
    assert {n: result.value for n, result in results.items()} == {n: n * 2 for n in range(7)}
    assert results[3].stdout == "{'n': 3}\n"


@pytest.mark.parametrize("is_async", [False, True])
async def test_map_sends_a_function_with_what_it_needs(is_async):
    offset, helper = 10, lambda value: value + 1

    def plain(value):
        return helper(value) + offset

    async def awaiting(value):
        await asyncio.sleep(0)
        return plain(value)

    async with SessionPool(size=2) as pool:
        results = await collect(pool.map(awaiting if is_async else plain, range(5), concurrency=2))
    assert {n: result.value for n, result in results.items()} == {n: n + 11 for n in range(5)}


async def test_map_gives_errors_as_results_and_survives_dead_workers():
    code = "import os\nos._exit(3) if item == 2 else 10 // item"
    async with SessionPool(size=2) as pool:
        results = await collect(pool.map(code, range(5), concurrency=2))
    assert results[0].error.type == "ZeroDivisionError"
    assert results[2].error.type == "WorkerDied"
    assert [results[n].value for n in (1, 3, 4)] == [10, 3, 2]


async def test_map_of_a_function_that_cannot_be_loaded_fails_each_input(tmp_path, monkeypatch):
    (tmp_path / "vanishing.py").write_text("def work(item): return item")
    monkeypatch.syspath_prepend(str(tmp_path))
    import vanishing

    async with SessionPool(size=1) as pool:
        results = await collect(pool.map(vanishing.work, range(2)))
        assert [results[n].value for n in range(2)] == [0, 1]
        (tmp_path / "vanishing.py").unlink()
        results = await collect(pool.map(vanishing.work, range(2)))
    assert {result.error.type for result in results.values()} == {"ModuleNotFoundError"}


async def test_map_takes_inputs_as_they_are_needed_and_streams_results():
    taken = []

    async def endless():
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    async with SessionPool(size=2) as pool:
        async with contextlib.aclosing(pool.map("item", endless())) as results:
            got = [(await anext(results)).result.value for _ in range(5)]
        assert len(set(got)) == 5
        assert len(taken) < 20
        async with pool.session() as session:
            assert (await session.run("'item' in globals()")).value is False


async def test_map_passes_on_what_its_inputs_raise():
    def inputs():
        yield 1
        raise LookupError("no more")

    async with SessionPool(size=2) as pool:
        with pytest.raises(LookupError, match="no more"):
            await collect(pool.map("item", inputs()))
        assert await collect(pool.map("item", [])) == {}
        with pytest.raises(ValueError, match="concurrency=0"):
            pool.map("item", [], concurrency=0)


@pytest.mark.parametrize("slow", ["time.sleep(60)", "sum(range(10**12))"])
async def test_map_limits_the_time_of_one_input(slow):
    scope = {}
    exec(f"import time\ndef work(item):\n    return {slow} if item == 1 else item", scope)
    async with SessionPool(size=1, cancel_grace_s=0.2, insist_grace_s=0.2) as pool:
        results = await collect(pool.map(scope["work"], range(4), timeout=0.5))
    assert (results[1].cancelled, results[1].error.type) == (True, "TimeoutError")
    assert [results[n].value for n in (0, 2, 3)] == [0, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((3, [1]), "^work=3: give code, as a string, or a function of one argument$"),
        (("item", 3), "^inputs=3: give a list"),
    ],
)
async def test_map_refuses_at_the_call_what_it_cannot_do(arguments, reason):
    pool = SessionPool(size=1)
    with pytest.raises(TypeError, match=reason):
        pool.map(*arguments)
    with pytest.raises(TypeError, match=r"^timeout='1': give seconds, as a number$"):
        pool.map("item", [], timeout="1")


async def test_map_goes_on_with_the_sessions_it_can_get():
    async with SessionPool(size=2, acquire_timeout_s=0.05) as pool, pool.session():
        results = await collect(pool.map("import time; time.sleep(0.03); item", range(6), concurrency=2))
        assert sorted(result.value for result in results.values()) == list(range(6))
        async with pool.session(acquire_timeout_s=None):
            with pytest.raises(stateroom.PoolTimeout):
                await collect(pool.map("item", [1]))


async def test_map_refuses_a_function_for_another_python():
    async with SessionPool(size=1, min_size=0, python_version="any") as pool:
        with pytest.raises(stateroom.errors.ConfigError, match="give the work as code"):
            await collect(pool.map(abs, [1]))

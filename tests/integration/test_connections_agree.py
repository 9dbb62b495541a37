"""The SDK's own behaviour on each connection: in memory, in one file, in a database.

What a durable program sees must not depend on where its promises live.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate.connections import LocalConnection
from resonate.context import Context
from resonate.error import ApplicationError, ServerError
from resonate.resonate import Resonate
from resonate.retry import Never
from resonate.types import Value

from stateroom.integration.sqlite_store import SqliteConnection

FAR_MS = 253_402_300_799_000
EXTERNAL = {"resonate:external": "true"}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def resonate(request, tmp_path):
    if request.param == "memory":
        connection, ttl = LocalConnection(), timedelta(0)
    elif request.param == "sqlite":
        connection, ttl = SqliteConnection(tmp_path / "state.db"), timedelta(0)
    else:
        from resonate_pg import PostgresConnection

        dsn = request.getfixturevalue("resonate_dsn")
        connection, ttl = PostgresConnection(dsn), timedelta(seconds=15)
    resonate = Resonate(
        network=connection, ttl=ttl, retry_policy=Never(), subscription_refresh_secs=0.5, env={}
    )
    yield resonate
    await resonate.stop()
    if isinstance(connection, SqliteConnection):
        connection.close()


async def double(_ctx: Context, number: int):
    return number * 2


async def fail(_ctx: Context, text: str):
    raise ValueError(text)


async def add_up(ctx: Context, numbers: list[int]):
    total = 0
    for number in numbers:
        total += await ctx.run(double, number)
    return total


async def fan_out(ctx: Context, numbers: list[int]):
    spawned = [ctx.rpc("double", number) for number in numbers]
    return [await each for each in spawned]


async def nap(ctx: Context, seconds: float):
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


async def survive(ctx: Context):
    try:
        await ctx.run(fail, "no")
    except Exception as error:
        return f"saw {error}"
    return "saw nothing"


async def ask_somebody(ctx: Context):
    promise = ctx.promise(timeout=timedelta(seconds=60))
    return {"answer": await promise}


@pytest.fixture
def program(resonate):
    for function in (double, fail, add_up, fan_out, nap, survive, ask_somebody):
        resonate.register(function, name=function.__name__)
    return resonate


async def test_a_function_runs_its_steps(program):
    assert await program.run("r", add_up, [1, 2, 3]).result() == 12


async def test_the_same_id_again_has_the_same_result(program):
    assert await program.run("r", add_up, [1]).result() == 2
    assert await program.run("r", add_up, [5]).result() == 2
    assert await (await program.get("r")).result() == 2


async def test_calls_to_other_functions_suspend_and_come_back(program):
    assert await program.run("r", fan_out, [1, 2, 3, 4]).result() == [2, 4, 6, 8]


async def test_a_function_is_called_by_name(program):
    assert await program.rpc("r", "double", 21).result() == 42


async def test_sleep_is_durable_and_ends(program):
    assert await program.run("r", nap, 0.05).result() == "rested"


async def test_errors_travel(program):
    assert await program.run("r", survive).result() == "saw no"
    with pytest.raises((ValueError, ApplicationError), match="broken"):
        await program.run("e", fail, "broken").result()


async def test_a_promise_inside_of_a_function_is_settled_from_outside(program):
    handle = program.run("r", ask_somebody)
    await handle.id()
    while True:
        try:
            await program.promises.resolve("r:1", Value(data={"color": "blue"}))
        except ServerError:
            await asyncio.sleep(0.01)  # not made yet
        else:
            break
    assert await handle.result() == {"answer": {"color": "blue"}}


@pytest.mark.parametrize("data", [None, 1, "ü\0", [1, {"a": None}], {"deep": [[[]]]}, "x" * 300_000])
async def test_values_come_back_as_they_went(resonate, data):
    await resonate.promises.create("p", FAR_MS, Value(data=data), EXTERNAL)
    record = await resonate.promises.get("p")
    assert (record.state, record.param.data, record.tags) == ("pending", data, EXTERNAL)
    waiting = asyncio.create_task((await resonate.get("p")).result())
    await resonate.promises.resolve("p", Value(data=data))
    assert await waiting == data


async def test_the_first_answer_counts(resonate):
    await resonate.promises.create("p", FAR_MS, Value(), EXTERNAL)
    first = await resonate.promises.resolve("p", Value(data=1))
    second = await resonate.promises.reject("p", Value(data={"message": "too late"}))
    assert (first.value.data, second.state, second.settled_at) == (1, "resolved", first.settled_at)


async def test_a_promise_that_nobody_made_is_not_found(resonate):
    for asked in (resonate.promises.get("none"), resonate.promises.resolve("none", Value(data=1))):
        with pytest.raises(ServerError) as caught:
            await asked
        assert caught.value.code == 404


async def test_many_at_once(program):
    handles = [program.run(f"r{number}", fan_out, [number, number + 1]) for number in range(25)]
    assert [await handle.result() for handle in handles] == [
        [number * 2, number * 2 + 2] for number in range(25)
    ]

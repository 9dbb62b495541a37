"""The MIME bundle of a cell's value: which representations are asked for, and what becomes of bad ones."""

import pytest
from watching import THING, begun

import stateroom


async def test_V5_anything_but_plain_data_gives_repr_and_bundle_and_says_so(session):
    result = await session.run(THING + "thing", check=True)
    assert (result.has_value, result.value, result.repr) == (False, None, "a thing")
    assert result.mime == {"text/html": "<b>", "image/png": bytes(range(256)), "text/plain": "a thing"}
    assert result.metadata == {"text/html": {"isolated": True}}
    assert result.notes == ["no plain value: value is a __main__.Thing"]


@pytest.mark.parametrize("value", [None, True, 1 << 200, "text", b"bytes", [1, (2,)], {"a": {3}}])
async def test_V5_plain_data_has_no_bundle(session, value):
    result = await session.run(repr(value), check=True)
    assert (result.value, result.mime) == (value, {})


@pytest.mark.parametrize(
    ("code", "kind", "untouched"),
    [
        ("(print(n) for n in range(3))", "generator", "inspect.getgeneratorstate(it) == 'GEN_CREATED'"),
        ("asyncio.sleep(0)", "coroutine", "inspect.getcoroutinestate(it) == 'CORO_CREATED'"),
        ("asyncio.create_task(asyncio.sleep(100))", "Task", "not it.done()"),
    ],
)
async def test_V3_a_task_generator_or_coroutine_is_shown_and_left_alone(session, code, kind, untouched):
    result = await session.run(f"import asyncio, inspect\nit = {code}\nit", check=True)
    assert kind in result.repr
    assert result.mime == {"text/plain": result.repr}
    assert (await session.run(untouched)).value is True


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ("raise ValueError", "_repr_html_ of Bad raised ValueError"),
        ("raise SystemExit", "_repr_html_ of Bad raised SystemExit"),
        ("raise KeyboardInterrupt", "_repr_html_ of Bad raised KeyboardInterrupt"),
        ("return 'h' * (64 << 20)", "text/html of 67108864 bytes left out: over max_mime_bytes"),
        ("return self._repr_html_()", "_repr_html_ of Bad raised RecursionError"),
        ("return 5", "text/html left out: it is of type int, not a str"),
    ],
)
async def test_V4_a_bad_representation_becomes_a_note(session, body, note):
    code = f"class Bad:\n    def _repr_html_(self): {body}\n    def _repr_latex_(self): return 'l'\nBad()"
    result = await session.run(code, check=True)
    assert result.mime.keys() == {"text/latex", "text/plain"}
    assert note in result.notes
    assert (await session.run("'Bad' in globals()")).value is True


async def test_V4_a_representation_that_does_not_end_is_given_up():
    async with stateroom.Session(repr_timeout_s=0.2) as session:
        code = "class Bad:\n    def _repr_html_(self):\n        while True: pass\n    def _repr_latex_(self): return 'l'\nBad()"
        result = await session.run(code, check=True)
        assert result.mime.keys() == {"text/latex", "text/plain"}
        assert "_repr_html_ of Bad took longer than 0.2 s" in result.notes


async def test_a_representation_can_be_cancelled(session):
    code = "class Slow:\n    def _repr_html_(self):\n        print('on')\n        while True: pass\nSlow()"
    running = await begun(session, code)
    await session.cancel()
    assert (await running).cancelled
    assert (await session.run("1")).value == 1


async def test_mocks_have_no_representations(session):
    result = await session.run("from unittest.mock import MagicMock\nMagicMock()", check=True)
    assert result.mime.keys() == {"text/plain"}

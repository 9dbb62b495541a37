"""Sessions, and the ways in which their workers run a cell."""

import pytest

import stateroom

PREFIXES = {
    "sync": "",
    "async": "await asyncio.sleep(0)\n",
    "blocking": "time.sleep(0)\n",
    "stretch": "await asyncio.sleep(0)\ntime.sleep(0)\n",
    "fallback": "await asyncio.sleep(0)\n",
}
MODES = {"sync": "simple_sync", "blocking": "blocking_sync"}

REFUSE_AWAIT = """
import stateroom.engine.compiler as _compiler
exec(compile('''
def _refuse(tree, *args, _compile_tree=compile_tree):
    cell = _compile_tree(tree, *args)
    if cell.is_coroutine:
        raise SyntaxError("'await' outside function")
    return cell
compile_tree = _refuse
''', _compiler.__file__, "exec"), vars(_compiler))
del _compiler
"""
"""Makes the worker's compiler refuse top-level await, so that the wrapper has to take such cells."""


@pytest.fixture
def refuse_await():
    """A cell after which the wrapper has to take those that await."""
    return REFUSE_AWAIT


class Way:
    """Runs cells of one session in one way: synchronous, with an await, blocking, or wrapped."""

    def __init__(self, session, name):
        self.session = session
        self.name = name
        self.mode = MODES.get(name, "top_level_await")
        self.lines_before = PREFIXES[name].count("\n")

    async def run(self, code, *, any_mode=False, **how):
        """Run ``code`` behind a line that makes the worker go this way; the code may demand another."""
        result = await self.session.run(PREFIXES[self.name] + code, **how)
        assert any_mode or result.mode == self.mode or (result.mode, self.name) == ("async_def", "sync")
        return result


@pytest.fixture
async def session():
    async with stateroom.Session() as session:
        yield session


@pytest.fixture(params=PREFIXES)
async def way(session, request):
    await session.run("import asyncio, time", check=True)
    if request.param == "fallback":
        await session.run(REFUSE_AWAIT, check=True)
    return Way(session, request.param)


@pytest.fixture(params=["async", "fallback"])
async def awaiting(session, request):
    """A session with things to await, whose cells take the compiler's flag, or the wrapper."""
    await session.run(AWAITABLES, check=True)
    if request.param == "fallback":
        await session.run(REFUSE_AWAIT, check=True)
    return session


AWAITABLES = """
import asyncio
class It:
    def __init__(self, *items): self.items = items
    def __aiter__(self): return self._walk()
    async def _walk(self):
        for item in self.items:
            await asyncio.sleep(0)
            yield item
class Manager:
    async def __aenter__(self): return "entered"
    async def __aexit__(self, *error): pass
async def give(value):
    await asyncio.sleep(0)
    return value
"""

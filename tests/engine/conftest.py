"""A small driver for the compile side: compiles a cell and runs its parts, as an executor would."""

import asyncio
import builtins
from inspect import CO_COROUTINE

import pytest

from stateroom.engine import fallback
from stateroom.engine.cache import CodeCache
from stateroom.engine.compiler import Compiler
from stateroom.engine.namespace import NamespaceManager
from stateroom.engine.sources import SourceCache


class Cells:
    """Runs cells in one namespace; ``<cell 1>`` is the first."""

    def __init__(self, **compiler_options):
        self.manager = NamespaceManager()
        self.namespace = self.manager.namespace
        self.sources = SourceCache()
        self.cache = CodeCache(64)
        self.compiler = Compiler(cache=self.cache, sources=self.sources, **compiler_options)
        self.count = 0

    def compile(self, source):
        self.manager.prepare()
        self.count += 1
        return self.compiler.compile(source, f"<cell {self.count}>")

    def run(self, source):
        """Run a cell; return the value of its final expression."""
        cell = self.compile(source)
        self.manager.record_input(source)
        value = self._run(cell)
        self.manager.record_expression_result(value)
        return value

    def _run(self, cell):
        if cell.is_coroutine:
            return asyncio.run(self._run_coroutine(cell))
        if cell.body is not None:
            exec(cell.body, self.namespace)
        return None if cell.last is None else eval(cell.last, self.namespace)

    async def _run_coroutine(self, cell):
        if cell.is_wrapped:
            return await fallback.run(cell, self.manager)
        value = None
        for part in filter(None, (cell.body, cell.last)):
            value = eval(part, self.namespace)
            if part.co_flags & CO_COROUTINE:
                value = await value
        return value if cell.last is not None else None

    def fail(self, source):
        """Run a cell that has to fail; return what it raised."""
        try:
            self.run(source)
        except BaseException as error:
            return error
        raise AssertionError(f"no error came from {source!r}")


@pytest.fixture
def cells():
    made = Cells()
    yield made
    made.sources.clear()


@pytest.fixture
def make_cells():
    """For compilers with options."""
    made = []

    def make(**options):
        made.append(Cells(**options))
        return made[-1]

    yield make
    for each in made:
        each.sources.clear()


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
    async def __aexit__(self, *error): self.left = error
async def give(value):
    await asyncio.sleep(0)
    return value
"""


@pytest.fixture
def awaitables():
    """A cell that defines ``give(value)`` to await, ``It(*items)`` to iterate, ``Manager()`` to enter."""
    return AWAITABLES


@pytest.fixture
def awaiting(cells, awaitables):
    """Cells with what ``awaitables`` defines."""
    cells.run(awaitables)
    return cells


@pytest.fixture(autouse=True)
def _builtins_untouched():
    before = dict(vars(builtins))
    yield
    assert {name for name in before if vars(builtins).get(name) is not before[name]} == set()

"""State: checkpoints of mixed data and of one big array, and what durability adds to a cell."""

from __future__ import annotations

import importlib.util
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import floor

import stateroom

from .contestants import succeed
from .measuring import Comparison, Group, Plan, repeated
from .placement import move_children, own_core

MIXED = """
import collections, datetime, math
Point = collections.namedtuple("Point", "x y")
class Account:
    rate = 0.03
    def __init__(self, owner, cents): self.owner, self.cents = owner, cents
    def interest(self): return self.cents * self.rate
def total(accounts): return sum(account.cents for account in accounts)
rows = [{"id": i, "name": f"row {i}", "score": i / 7, "tags": ["a", str(i % 10)]} for i in range(20_000)]
table = {i: math.sqrt(i) for i in range(20_000)}
shared = [rows, rows[:10], table]
accounts = [Account(f"owner {i}", i * 100) for i in range(2_000)]
points = [Point(i, -i) for i in range(5_000)]
text, raw = "text " * 100_000, bytes(500_000)
when = datetime.datetime(2024, 2, 29)
"""
MIXED_NAMES = "Point Account total rows table shared accounts points text raw when"
ARRAY = "import numpy\narray = numpy.random.default_rng(0).random(32 * 1024 * 1024)"
SAVE = """
with open(path, "wb") as file:
    cloudpickle.dump({{name: globals()[name] for name in {names!r}.split()}}, file, protocol=5)
    file.flush()
    os.fsync(file.fileno())
"""
LOAD = """
with open(path, "rb") as file:
    globals().update(cloudpickle.load(file))
"""


async def pair(stack: AsyncExitStack, *, title: str, setup: str, names: str, rounds: int) -> list[Comparison]:
    """Writing and restoring one state, beside cloudpickle to a file in the floor's child, synced too."""
    session = await stack.enter_async_context(stateroom.Session())
    await session.run(setup, check=True)
    bare = floor.Session()
    await bare.start()
    stack.push_async_callback(bare.close)
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "state"
    await succeed(bare, f"import cloudpickle, os\npath = {str(path)!r}\n{setup}")
    saved = [await session.checkpoint()]
    assert set(names.split()) <= set(saved[0].names), saved[0].skipped
    save = SAVE.format(names=names)

    async def write() -> None:
        saved[:] = [await session.checkpoint()]

    return [
        Comparison(
            name=f"write {title}",
            contestants={
                "stateroom": repeated(write, 1),
                "cloudpickle": repeated(lambda: succeed(bare, save), 1),
            },
            base="cloudpickle",
            rounds=rounds,
        ),
        Comparison(
            name=f"restore {title}",
            contestants={
                "stateroom": repeated(lambda: session.restore(saved[0]), 1),
                "cloudpickle": repeated(lambda: succeed(bare, LOAD), 1),
            },
            base="cloudpickle",
            rounds=rounds,
        ),
    ]


async def checkpoint(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """Mixed data, and 256 MB in one array."""
    comparisons = await pair(stack, title="mixed data", setup=MIXED, names=MIXED_NAMES, rounds=7)
    if importlib.util.find_spec("numpy"):
        comparisons += await pair(stack, title="256 MB of numpy", setup=ARRAY, names="array", rounds=5)
    else:
        plan.note("numpy is not installed: checkpoints of an array are not measured")
    return comparisons


async def durable(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """A cell as a promise in memory, in SQLite, and with the state kept after each cell."""
    if not importlib.util.find_spec("resonate"):
        plan.note("resonate-sdk is not installed: durable executions are not measured")
        return []
    from durable import CODE, prepare

    folder = stack.enter_context(tempfile.TemporaryDirectory())
    core = stack.enter_context(own_core(plan))
    runs = await prepare(stack, folder)
    if core is not None:
        move_children(core)
    contestants = {name: repeated(run, plan.count(50)) for name, run in runs.items()}
    return [Comparison(name=f"{CODE} durably", contestants=contestants, base="session.run", rounds=5)]


GROUPS = [
    Group("checkpoint", "write and restore mixed data and a big array", checkpoint),
    Group("durable", "what a durable execution adds, in memory and SQLite", durable),
]

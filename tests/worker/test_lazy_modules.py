"""Modules that load themselves when they are used are what they would have been."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

import stateroom

USES = {
    "an attribute": "ssl.SSLContext",
    "from": "from ssl import CERT_NONE",
    "from all": "exec('from ssl import *', {})",
    "dir": "assert 'SSLContext' in dir(ssl)",
    "asyncio": "asyncio.sslproto.SSLProtocol",
    "hasattr": "assert hasattr(ssl, 'wrap_bio') is False and hasattr(ssl, 'SSLError')",
    "its dict": "assert 'PROTOCOL_TLS' in ssl.__dict__",
    "its doc": "assert ssl.__doc__.startswith('This module')",
    "setting": "ssl.create_default_context = 5; ssl.SSLContext; assert ssl.create_default_context == 5",
    "deleting": "del ssl.create_default_context; assert not hasattr(ssl, 'create_default_context')",
    "reloading": "import importlib; importlib.reload(ssl)",
    "two threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: assert len(set(pool.map(lambda _: ssl.SSLContext, range(64)))) == 1"
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_module_put_off_loads_when_it_is_used(use):
    async with stateroom.Session() as session:
        check = "import asyncio, ssl, sys\n'_ssl' in sys.modules"
        assert (await session.run(check, check=True)).value is False
        await session.run(use, check=True)
        loaded = await session.run("'_ssl' in sys.modules, ssl.__name__, type(ssl).__name__")
        assert loaded.value == (True, "ssl", "module")


FAILING = """
import ssl, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "base64":
            raise MemoryError("no room")
sys.modules.pop("base64", None)
sys.meta_path.insert(0, Blocked())
try:
    ssl.SSLContext
except MemoryError as error:
    print(error)
finally:
    del sys.meta_path[0]
"""


async def test_a_load_that_fails_is_tried_again():
    async with stateroom.Session() as session:
        assert (await session.run(FAILING, check=True)).stdout == "no room\n"
        assert (await session.run("ssl.create_default_context().__class__.__name__")).value == "SSLContext"


PLAIN = "import asyncio, ssl, json; print(json.dumps([sorted(dir(ssl)), sorted(dir(asyncio.sslproto))]))"


async def test_what_was_put_off_has_all_that_an_ordinary_import_has():
    plain = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", PLAIN], capture_output=True, check=True
    )
    async with stateroom.Session() as session:
        ours = await session.run(PLAIN, check=True)
    assert json.loads(ours.stdout) == json.loads(plain.stdout)


async def test_typing_extensions_is_left_to_cells():
    async with stateroom.Session() as session:
        loaded = await session.run(
            "import sys, typing\n'typing_extensions' in sys.modules, typing.get_type_hints.__module__"
        )
        assert loaded.value == (False, "typing")
        cell = """
import msgspec, typing_extensions
class Movie(typing_extensions.TypedDict):
    year: typing_extensions.NotRequired[int]
msgspec.convert({"year": "1936"}, Movie, strict=False)
"""
        assert (await session.run(cell, check=True)).value == {"year": 1936}


async def test_what_msgspec_says_of_types_is_loaded_when_it_is_used():
    async with stateroom.Session() as session:
        cell = "import msgspec, sys\ntype(sys.modules['msgspec.inspect']).__name__"
        assert (await session.run(cell, check=True)).value == "_PutOff"
        cell = "import msgspec.inspect\nrepr(msgspec.inspect.type_info(int))[:8], msgspec.json.schema(int)"
        assert (await session.run(cell, check=True)).value == ("IntType(", {"type": "integer"})


async def test_the_collector_is_on_and_spared_what_the_worker_has_loaded():
    cell = """
import gc, weakref
class Loop: pass
loop = Loop(); loop.self = loop
gone = weakref.ref(loop)
del loop
while gone() is not None: [[] for _ in range(10_000)]
gc.isenabled(), gc.get_freeze_count() > 1000, any(namespace is globals() for namespace in gc.get_referrers(gc))
"""
    async with stateroom.Session() as session:
        assert (await session.run(cell, check=True)).value == (True, True, True)
    async with stateroom.SessionPool(size=1) as pool, pool.session() as session:
        assert (await session.run(cell, check=True)).value == (True, True, True)

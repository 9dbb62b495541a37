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
        loaded = await session.run("'_ssl' in sys.modules, ssl.__name__, '__getattr__' in vars(ssl)")
        assert loaded.value == (True, "ssl", False)


PLAIN = "import asyncio, ssl, json; print(json.dumps([sorted(dir(ssl)), sorted(dir(asyncio.sslproto))]))"


async def test_what_was_put_off_has_all_that_an_ordinary_import_has():
    plain = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", PLAIN], capture_output=True, check=True
    )
    async with stateroom.Session() as session:
        ours = await session.run(PLAIN, check=True)
    assert json.loads(ours.stdout) == json.loads(plain.stdout)

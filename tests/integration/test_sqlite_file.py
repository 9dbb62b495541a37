"""Files that are no durable store, or none any more: told at once, and left as they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from resonate_base import ConnectorError
from resonate_wire import ask

from stateroom.errors import StoreError
from stateroom.integration import sqlite_store
from stateroom.integration.sqlite import file
from stateroom.integration.sqlite.file import FORMAT, connect
from stateroom.integration.sqlite_store import SqliteConnection, answer_promise, pending_promises


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
async def full(path):
    """A store with some hundred promises in it."""
    async with SqliteConnection(path) as connection:
        for number in range(300):
            data = "eHh4" * 50
            await ask(connection, "promise.create", id=f"p{number}", timeoutAt=1 << 60, param={"data": data})
    return path


def refused(path, message: str) -> None:
    """Both ways to open a store say ``message`` and leave the file alone."""
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        SqliteConnection(path)
    with pytest.raises(StoreError, match=message):
        pending_promises(path)
    assert path.read_bytes() == before


def test_a_new_store_is_readable_for_its_user_only_and_leaves_nothing_else(path):
    SqliteConnection(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(found.name for found in path.parent.iterdir()) == ["state.db", "state.db-owner"]


def test_an_empty_file_becomes_a_store(path):
    path.touch()
    SqliteConnection(path).close()
    assert pending_promises(path) == []


@pytest.mark.parametrize("content", [b"x", b"hello " * 1000, b"SQLite format 3\0"])
def test_a_file_of_something_else(path, content):
    path.write_bytes(content)
    refused(path, "is no durable store")


def test_opening_a_store_again_leaves_the_locks_of_this_process_alone(path):
    """To close a file drops all POSIX locks of the process on it: the last one out would clean up too early."""
    SqliteConnection(path).close()
    with closing(connect(path)) as held:
        held.execute("BEGIN IMMEDIATE")
        held.execute("CREATE TABLE mine (id)")
        held.execute("COMMIT")
        connect(path).close()
        code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM mine'); db.close()"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        assert path.with_name(path.name + "-wal").exists()


def test_an_sqlite_file_of_another_program(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE promises (id)")
    refused(path, "is no durable store, but a file of another program")


async def test_a_store_of_a_newer_format(full):
    with closing(sqlite3.connect(full)) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    refused(full, f"has format {FORMAT + 1}, .* up to {FORMAT}: use a newer one")


async def test_a_truncated_store(full):
    content = full.read_bytes()
    full.write_bytes(content[: len(content) // 2])
    before = full.read_bytes()
    with pytest.raises(StoreError, match="is damaged"):
        SqliteConnection(full)
    assert full.read_bytes() == before


@pytest.mark.parametrize("page", range(1, 12))
async def test_a_store_with_a_page_overwritten(full, page):
    content = bytearray(full.read_bytes())
    content[page * 4096 : page * 4096 + 600] = b"\x5a" * 600
    full.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        SqliteConnection(full)
    assert full.read_bytes() == bytes(content)


@contextlib.contextmanager
def unprivileged():
    """To root nothing is read-only: be somebody else meanwhile."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def read_only(tmp_path):
    """A store that cannot be written, in a folder that can be, or cannot."""
    place = Path(tempfile.mkdtemp(prefix="stateroom-read-only-"))  # others cannot look into tmp_path
    SqliteConnection(place / "state.db").close()
    for found in place.iterdir():
        found.chmod(0o444)
    yield place / "state.db"
    place.chmod(0o700)
    shutil.rmtree(place)


def test_a_store_that_is_read_only_is_told_as_that(read_only):
    read_only.parent.chmod(0o555)
    with unprivileged():
        with pytest.raises(StoreError, match=r"state\.db cannot be used: .*Permission denied"):
            SqliteConnection(read_only)
        for use in (pending_promises, lambda path: answer_promise(path, "p", 1)):
            with pytest.raises(StoreError, match=r"state\.db cannot be used: .*read-?only"):
                use(read_only)


@pytest.mark.parametrize(
    "name", ["with spaces.db", "ü→𝄞.db", "a?b#c%41&d=e.db", "file:x", "'q'\"\n.db", "-x"]
)
async def test_a_store_may_have_any_name(tmp_path, name):
    path = tmp_path / name
    async with SqliteConnection(path) as connection:
        await ask(connection, "promise.create", id="p", timeoutAt=1 << 60)
    answer_promise(path, "p", 1)
    assert pending_promises(path, external=False) == []
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([name, f"{name}-owner"])


def test_places_where_no_store_can_be(tmp_path):
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteConnection(tmp_path / "missing" / "state.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="folder"):
        SqliteConnection(tmp_path / "folder")


def test_a_refused_store_can_be_opened_once_it_is_mended(path):
    path.write_bytes(b"nonsense")
    with pytest.raises(StoreError):
        SqliteConnection(path)
    path.unlink()
    SqliteConnection(path).close()


@pytest.mark.parametrize(("power_safe", "level"), [(False, 1), (True, 2)])
def test_commits_wait_for_the_disk_if_wished(path, power_safe, level):
    SqliteConnection(path).close()
    with closing(connect(path, power_safe=power_safe)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (level,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_a_killed_maker_left_is_removed(path):
    (path.parent / ".state.db-abc.new").touch()
    SqliteConnection(path).close()
    assert sorted(found.name for found in path.parent.iterdir()) == ["state.db", "state.db-owner"]


async def test_a_full_disk_is_told_and_nothing_has_happened(path):
    async with SqliteConnection(path) as connection:
        connection._server._db.execute("PRAGMA max_page_count = 30")
        with pytest.raises(ConnectorError, match="full"):
            await ask(
                connection, "promise.create", id="big", timeoutAt=1 << 60, param={"data": "x" * 10_000_000}
            )
        await ask(connection, "promise.create", id="small", timeoutAt=1 << 60)
        assert [promise.id for promise in pending_promises(path, external=False)] == ["small"]


async def test_a_store_that_cannot_be_used_for_a_while_is_used_again(path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "RETRY_S", 0.01)
    async with SqliteConnection(path, poll_s=0.01) as connection:
        told = asyncio.Event()
        connection.recv(lambda _text: told.set())
        await ask(connection, "promise.create", id="p", timeoutAt=1 << 60)
        await ask(connection, "promise.register_listener", awaited="p", address="x")
        server = connection._server
        broken, mended = asyncio.Event(), server.next_due

        def breaks() -> int:
            broken.set()
            raise sqlite3.OperationalError("disk I/O error")

        server.next_due = breaks
        await connection.start()
        await broken.wait()
        answer_promise(path, "p", 1)
        assert not told.is_set()
        server.next_due = mended
        await told.wait()


async def test_a_caller_cancelled_amid_the_stop_is_cancelled_and_the_file_is_free(path):
    connection = SqliteConnection(path)
    connection.recv(lambda _text: None)
    await connection.start()
    await asyncio.sleep(0)  # it delivers
    stopping = asyncio.create_task(connection.__aexit__())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    SqliteConnection(path).close()


def test_a_store_that_cannot_be_written_is_refused(path):
    SqliteConnection(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file, "BUSY_TIMEOUT_S", 0.01)
            with pytest.raises(StoreError, match="cannot be written: database is locked"):
                SqliteConnection(path)
    SqliteConnection(path).close()

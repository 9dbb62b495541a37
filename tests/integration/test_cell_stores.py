"""Stores of finished cells: the same rules, whatever the store is made of."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from stateroom.errors import CheckpointError, ConfigError, StoreError
from stateroom.integration.cell_store import CHUNK_BYTES, StaleSave, in_chunks
from stateroom.integration.directory_store import DirectoryCellStore
from stateroom.integration.sqlite_store import SqliteCellStore, SqliteConnection

CHILD = Path(__file__).with_name("cells_child.py")


@pytest.fixture(params=["directory", "sqlite", "postgres"])
def where(request, tmp_path):
    """What tells ``open_store`` in any process which store is meant."""
    if request.param == "directory":
        return f"directory {tmp_path / 'cells'}"
    if request.param == "sqlite":
        SqliteConnection(tmp_path / "state.db").close()
        return f"sqlite {tmp_path / 'state.db'}"
    return f"postgres {request.getfixturevalue('postgres_dsn')}"


def open_store(where: str, **how):
    kind, _, place = where.partition(" ")
    if kind == "directory":
        return DirectoryCellStore(place, **how)
    if kind == "sqlite":
        return SqliteCellStore(place, **how)
    from stateroom.integration.postgres.cell_store import PostgresCellStore

    return PostgresCellStore(place, **how)


@pytest.fixture
def store(where):
    return open_store(where, keep=2)


def test_a_session_without_cells_is_empty(store):
    assert store.latest("s") is None
    assert store.find("s", "e") is None
    store.delete("s")


def test_a_finished_cell_is_found_by_its_execution_with_its_checkpoint(store):
    first = store.save("s", "e/1:ü", b'{"value": 1}', [b"one", b"", memoryview(b" more")], after=0)
    second = store.save("s", "e2", b"", [], after=1)
    assert (first.number, second.number) == (1, 2)
    assert store.find("s", "e/1:ü") == first
    assert store.latest("s") == second
    assert b"".join(store.checkpoint(first)) == b"one more"
    assert b"".join(store.checkpoint(second)) == b""
    assert store.find("t", "e2") is None
    assert repr(store.path if hasattr(store, "path") else "") in repr(store) or "keep=2" in repr(store)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7])
def test_checkpoints_of_all_sizes_come_back(store, size):
    data = random.Random(size).randbytes(size)
    pieces = [data[start : start + 700_000] for start in range(0, size, 700_000)]
    cell = store.save("s", "e", b"r", pieces, after=0)
    found = list(store.checkpoint(cell))
    assert b"".join(found) == data
    assert all(len(piece) <= CHUNK_BYTES for piece in found)


def test_results_are_kept_and_of_the_checkpoints_the_last_ones(store):
    cells = [store.save("s", f"e{n}", b"r%d" % n, [b"c%d" % n], after=n) for n in range(5)]
    assert [store.find("s", f"e{n}") for n in range(5)] == cells
    assert [b"".join(store.checkpoint(cell)) for cell in cells[3:]] == [b"c3", b"c4"]
    for cell in cells[:3]:
        with pytest.raises(CheckpointError, match=f"cell {cell.number}"):
            list(store.checkpoint(cell))


def test_sessions_do_not_meet(store):
    names = ["a", "a/b", ".", "ü", "A" * 60]
    for name in names:
        store.save(name, "e", name.encode(), [name.encode()], after=0)
    for name in names:
        assert store.latest(name).result == name.encode()
        assert b"".join(store.checkpoint(store.latest(name))) == name.encode()
    store.delete("a")
    assert store.latest("a") is None
    assert store.latest("a/b") is not None
    assert store.save("a", "e", b"again", [b"x"], after=0).number == 1


@pytest.mark.parametrize("after", [0, 2, 7])
def test_who_did_not_finish_the_cell_before_saves_nothing(store, after):
    cell = store.save("s", "e1", b"1", [b"c1"], after=0)
    with pytest.raises(StaleSave, match="has finished cell 1 meanwhile"):
        store.save("s", "e2", b"2", [b"c2"], after=after)
    assert store.latest("s") == cell
    assert store.find("s", "e2") is None


def test_an_execution_is_finished_once(store):
    cell = store.save("s", "e1", b"1", [b"c1"], after=0)
    with pytest.raises(StaleSave, match="'e1' of 's' was finished"):
        store.save("s", "e1", b"2", [b"c2"], after=1)
    assert store.latest("s") == cell


def test_of_two_that_save_the_same_cell_one_wins(where):
    one, two = open_store(where), open_store(where)

    def overtaken():
        yield b"slow"
        two.save("s", "e-two", b"2", [b"fast"], after=0)
        yield b"er"

    with pytest.raises(StaleSave):
        one.save("s", "e-one", b"1", overtaken(), after=0)
    latest = one.latest("s")
    assert (latest.execution_id, b"".join(one.checkpoint(latest))) == ("e-two", b"fast")
    assert one.find("s", "e-one") is None


def test_a_checkpoint_that_fails_on_its_way_leaves_nothing(store):
    def breaks():
        yield b"x" * CHUNK_BYTES * 2
        raise OSError("the worker died")

    cell = store.save("s", "e1", b"1", [b"c1"], after=0)
    with pytest.raises((OSError, StoreError), match="the worker died"):
        store.save("s", "e2", b"2", breaks(), after=1)
    assert store.latest("s") == cell
    assert store.save("s", "e2", b"2", [b"c2"], after=1).number == 2


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_kill_9_amid_saving_leaves_whole_cells_only(where, rounds):
    store = open_store(where)
    said = 0
    for _ in range(rounds):
        with subprocess.Popen([sys.executable, CHILD, where], stdout=subprocess.PIPE, text=True) as child:
            for _ in range(random.randint(1, 6)):
                said = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            numbers = child.stdout.read().split("\n")[:-1]
            said = max([said, *map(int, numbers)])
        latest = store.latest("s")
        assert latest.number in (said, said + 1)
        assert latest.execution_id == f"e{latest.number}"
        assert b"".join(store.checkpoint(latest)) == f"{latest.number} ".encode() * 300_000
    assert [store.find("s", f"e{n}").number for n in range(1, said + 1)] == list(range(1, said + 1))


@pytest.mark.parametrize("keep", [0, -1])
def test_at_least_one_checkpoint_is_kept(where, keep):
    with pytest.raises(ConfigError, match="1 or more"):
        open_store(where, keep=keep)


def test_cells_need_a_store_that_is_there(tmp_path):
    with pytest.raises(StoreError, match="there is no durable store"):
        SqliteCellStore(tmp_path / "none.db").latest("s")


def test_what_is_not_needed_any_more_leaves_the_disk(tmp_path):
    SqliteConnection(tmp_path / "state.db").close()
    for store in (
        SqliteCellStore(tmp_path / "state.db", keep=1),
        DirectoryCellStore(tmp_path / "cells", keep=1),
    ):
        for number in range(12):
            store.save("s", f"e{number}", b"r", [os.urandom(2_000_000)], after=number)
    size = sum(
        path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and "wal" not in path.name
    )
    assert size < 12_000_000


def test_chunks_are_cut_anew():
    pieces = [bytes([number]) * size for number, size in enumerate([3, 0, CHUNK_BYTES * 2, 5])]
    chunks = list(in_chunks(pieces))
    assert b"".join(chunks) == b"".join(pieces)
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 8]
    assert list(in_chunks(itertools.repeat(b"", 3))) == []


def test_a_database_that_lets_no_tables_be_made_is_left_at_once(postgres_dsn, monkeypatch):
    from stateroom.integration.postgres import cell_store

    made, connect = [], cell_store.psycopg.connect
    monkeypatch.setattr(
        cell_store.psycopg, "connect", lambda *args, **how: made.append(connect(*args, **how)) or made[-1]
    )
    monkeypatch.setattr(cell_store, "_SCHEMA", "SELECT 1 / 0")
    with pytest.raises(StoreError, match="division by zero"):
        cell_store.PostgresCellStore(postgres_dsn).prepare()
    assert [connection.closed for connection in made] == [True]


FORKED = """
import os, sys
from stateroom.integration.postgres.cell_store import PostgresCellStore

dsn, how = sys.argv[1:]
store = PostgresCellStore(dsn)
store.prepare()
before = store._spare[0].info.backend_pid
child = os.fork()
if not child:
    if how == "drops it":
        del store
    sys.exit()
os.waitpid(child, 0)
store.prepare()
print(store._spare[0].info.backend_pid == before)
"""


@pytest.mark.parametrize("how", ["drops it", "ends with it"])
def test_a_forked_child_leaves_its_parents_connections_alone(postgres_dsn, how):
    run = [sys.executable, "-W", "ignore", "-c", FORKED, postgres_dsn, how]
    assert subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout == "True\n"

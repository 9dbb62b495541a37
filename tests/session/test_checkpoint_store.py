"""Checkpoints on disk: whole or not there, whoever writes and whenever it stops."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import checkpoint, content, files

from stateroom.errors import CheckpointError, ConfigError
from stateroom.session.checkpoint_store import CheckpointStore


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "deep" / "store", keep=3)


def test_save_and_open(store):
    assert store.save("work", checkpoint("a")) == 1
    stored = store.open("work")
    assert content(stored) == ["a"]
    assert b"".join(stored.chunks(100)) == b"".join(checkpoint("a")) == stored.path.read_bytes()
    assert stored.generation == 1
    assert memoryview(stored.blob).readonly


def test_the_last_generations_are_kept(store):
    for text in "abcde":
        store.save("work", checkpoint(text))
    assert store.generations("work") == (3, 4, 5)
    assert content(store.open("work")) == ["e"]
    assert content(store.open("work", 3)) == ["c"]
    with pytest.raises(CheckpointError, match=r"no generation 1 of 'work': \(3, 4, 5\) is kept"):
        store.open("work", 1)


def test_what_is_kept_back_is_not_pruned_until_it_is_let_go(store):
    store.save("work", checkpoint("a"))
    store.keep_back("work", 1, "numpy is missing")
    for text in "bcde":
        store.save("work", checkpoint(text))
    other = CheckpointStore(store.path, keep=1)
    other.save("work", checkpoint("f"))
    assert (store.generations("work"), store.kept_back("work")) == ((1, 6), (1,))
    assert content(store.open("work", 1)) == ["a"]
    store.let_go("work", 1)
    store.let_go("work", 1)
    assert store.kept_back("work") == ()
    other.save("work", checkpoint("g"))
    assert files(store) == ["work/0000000007.checkpoint"]


def test_a_file_is_known_as_a_generation(store, tmp_path, monkeypatch):
    store.save("work", checkpoint("a"))
    path = store.path_of("work", 1)
    assert path.exists()
    monkeypatch.chdir(store.path)
    assert store.generation_of("work", path) == 1
    assert store.generation_of("work", Path("work") / path.name) == 1
    assert store.generation_of("other", path) is None
    assert store.generation_of("work", tmp_path / path.name) is None
    assert store.generation_of("work", path.with_name("notes.txt")) is None


def test_what_is_kept_back_is_deleted_on_demand_with_its_note(store):
    store.save("work", checkpoint("a"))
    store.keep_back("work", 1, "a name was lost")
    assert (store.path / "work" / "0000000001.kept").read_text() == "a name was lost\n"
    store.delete("work")
    assert files(store) == []
    assert not (store.path / "work").exists()


def test_what_is_not_there_cannot_be_kept_back(store):
    store.save("work", checkpoint("a"))
    store.keep_back("work", 2, "a name was lost")
    assert files(store) == ["work/0000000001.checkpoint"]


def test_an_older_generation_becomes_the_newest_and_nothing_is_deleted(store):
    for text in "abc":
        store.save("work", checkpoint(text))
    store.keep_back("work", 1, "a name was lost")
    other = CheckpointStore(store.path, keep=1)
    assert other.bring_back("work", 1) == 4
    assert (store.generations("work"), store.kept_back("work")) == ((2, 3, 4), (4,))
    assert content(store.open("work")) == ["a"]
    assert other.bring_back("work", 4) == 4


def test_only_what_is_there_is_whole_and_is_not_open_is_brought_back(store):
    store.save("work", checkpoint("a"))
    store.save("work", checkpoint("b"))
    path = store.open("work", 1).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="no generation 7 of 'work'"):
        store.bring_back("work", 7)
    with pytest.raises(CheckpointError, match=r"generation 1 of 'work' .*cut short"):
        store.bring_back("work", 1)
    with store.lock("work"), pytest.raises(CheckpointError, match="'work' is open in this process"):
        store.bring_back("work", 2)
    assert store.generations("work") == (1, 2)


def test_the_way_back_that_a_damaged_one_names_works(store):
    store.save("work", checkpoint("a"))
    store.save("work", checkpoint("b"))
    store.open("work").path.write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        store.open("work")
    said = str(caught.value)
    code = said.partition("are kept as well: ")[2].partition(" makes")[0]
    assert eval(code, {"CheckpointStore": CheckpointStore}) == 3
    assert content(store.open("work")) == ["a"]


def test_list_and_delete(store):
    assert list(store.list()) == []
    for name in ("b", "a", "a"):
        store.save(name, checkpoint())
    found = store.list()
    assert [(stored.name, stored.generations) for stored in found] == [("a", (1, 2)), ("b", (1,))]
    assert found[0].size_bytes == store.open("a").path.stat().st_size
    assert found[0].saved_at == store.open("a").path.stat().st_mtime
    store.delete("a")
    store.delete("a")
    assert [stored.name for stored in store.list()] == ["b"]
    with pytest.raises(CheckpointError, match="no checkpoint of 'a': nothing is kept"):
        store.open("a")


def test_a_store_outlives_its_object(store):
    store.save("work", checkpoint("a"))
    assert content(CheckpointStore(store.path).open("work")) == ["a"]


NAMES = [
    "a",
    "A b",
    "../../etc/passwd",
    ".",
    "..",
    ".locks",
    "a/b",
    "ünï ☃",
    "%2E",
    "x" * 200,
    "a\0b",
    "con:",
    "-rf",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name(store, name):
    store.save(name, checkpoint(name[:5]))
    store.lock(name).release()
    assert content(store.open(name)) == [name[:5]]
    assert [stored.name for stored in store.list()] == [name]
    assert len(files(store)) == 1
    assert [path.name for path in store.path.parent.iterdir()] == ["store"]
    store.delete(name)
    assert files(store) == []


def test_names_do_not_meet(store):
    for name in NAMES:
        store.save(name, checkpoint())
    assert [stored.name for stored in store.list()] == sorted(NAMES)


@pytest.mark.parametrize("name", ["", "x" * 201, "☃" * 30, "\ud800"])
def test_names_that_cannot_be(store, name):
    for method in (store.open, store.delete, store.lock, lambda name: store.save(name, checkpoint())):
        with pytest.raises(ConfigError, match="cannot be the name of a checkpoint"):
            method(name)
    assert files(store) == []


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ConfigError, match="keep=0"):
        CheckpointStore(tmp_path, keep=0)


def test_what_is_not_whole_never_appears(store):
    whole = b"".join(checkpoint("b"))
    store.save("work", checkpoint("a"))
    flipped = bytearray(whole)
    flipped[-40] ^= 1
    for bad in (b"", b"garbage" * 100, whole[:-1], whole + b"x", whole[:100], bytes(flipped)):
        with pytest.raises(CheckpointError):
            store.save("work", [bad[:70], bad[70:]])
    assert files(store) == ["work/0000000001.checkpoint"]


def test_a_source_that_fails_leaves_nothing(store):
    def chunks():
        yield from list(checkpoint())[:1]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.save("work", chunks())
    assert files(store) == []
    assert list(store.list()) == []


def test_a_file_in_the_making(store):
    file = store.begin("work")
    for chunk in checkpoint("a"):
        file.write(chunk)
    assert list(store.list()) == []
    assert file.commit() == 1
    file.abort()
    assert content(store.open("work")) == ["a"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "garbage"])
def test_damage_on_the_disk_is_seen(store, damage):
    store.save("work", checkpoint("a"))
    store.save("work", checkpoint("b"))
    path = store.open("work").path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes({"cut": data[:-5], "flip": data, "empty": b"", "garbage": b"x" * 500}[damage])
    with pytest.raises(
        CheckpointError, match=r"generation 2 of 'work' .*generations \(1,\) are kept as well"
    ):
        store.open("work")
    assert content(store.open("work", 1)) == ["a"]
    assert [stored.name for stored in store.list()] == ["work"]


def test_a_deleted_file_can_still_be_read_by_who_has_it_open(store):
    store.save("work", checkpoint("a"))
    stored = store.open("work")
    store.delete("work")
    assert b"".join(stored.chunks()) == b"".join(checkpoint("a"))


def test_foreign_files_are_left_alone(store):
    store.save("work", checkpoint("a"))
    (store.path / "work" / "notes.txt").write_text("mine")
    (store.path / "work" / "12.checkpoint").write_text("mine")
    (store.path / "README").write_text("mine")
    assert store.generations("work") == (1,)
    assert [stored.name for stored in store.list()] == ["work"]
    store.delete("work")
    assert files(store) == ["README", "work/12.checkpoint", "work/notes.txt"]


def test_reprs(store):
    assert repr(store) == f"<CheckpointStore {str(store.path)!r} keep=3>"
    with store.begin("work") as file:
        assert repr(file) == "<CheckpointFile 'work' open received_bytes=0>"
    store.save("work", checkpoint())
    assert repr(store.open("work")) == "<StoredCheckpoint 0000000001.checkpoint total_bytes=5408>"

"""A store that several threads and processes use at once, and one of them is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from stored import checkpoint, content, files

from stateroom.errors import CheckpointError
from stateroom.session.checkpoint_store import CheckpointStore


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "deep" / "store", keep=3)


PROCESS = """
import sys
sys.path.insert(0, {folder!r})
from stored import checkpoint
from stateroom.session.checkpoint_store import CheckpointStore
store = CheckpointStore({path!r}, keep={keep})
"""


def start(store, code):
    program = PROCESS.format(folder=str(Path(__file__).parent), path=str(store.path), keep=store.keep) + code
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def finish(process):
    out, _ = process.communicate()
    assert process.returncode == 0
    return out


def test_two_processes_write_one_name(store):
    writers = [
        start(store, f"for i in range(20): store.save('work', checkpoint({text!r}, 300_000))")
        for text in "ab"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        try:
            seen |= set(content(store.open("work")))
        except CheckpointError as error:
            assert "no checkpoint" in str(error) or "was deleted meanwhile" in str(error)  # noqa: PT017
    for writer in writers:
        finish(writer)
    assert store.generations("work") == (38, 39, 40)
    assert seen <= {"a", "b"}
    assert len(files(store)) == 3


def test_threads_write_one_name(store):
    with ThreadPoolExecutor(4) as pool:
        generations = list(pool.map(lambda _: store.save("work", checkpoint()), range(20)))
    assert sorted(generations) == list(range(1, 21))


def test_what_a_killed_writer_left_is_cleaned_up(store):
    code = "file = store.begin('work')\nfile.write(next(checkpoint()))\nfile._file.flush()\nprint('writing', flush=True)\ninput()"
    writer = start(store, code)
    assert writer.stdout.readline() == "writing\n"
    store.save("work", checkpoint("a"))
    assert len(files(store)) == 2, "what a living writer writes stays"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    store.save("work", checkpoint("b"))
    assert files(store) == ["work/0000000001.checkpoint", "work/0000000002.checkpoint"]


def test_a_name_has_one_owner(store):
    owner = start(store, "lock = store.lock('work')\nprint('locked', flush=True)\ninput()")
    assert owner.stdout.readline() == "locked\n"
    with pytest.raises(CheckpointError, match=f"'work' is open in process {owner.pid}; close it there first"):
        store.lock("work")
    store.lock("other").release()
    store.save("work", checkpoint())  # saving is not owning
    owner.kill()
    owner.communicate()
    with store.lock("work") as lock:
        assert repr(lock) == "<NameLock 'work' held=True>"
        with pytest.raises(CheckpointError, match="is open in this process"):
            store.lock("work")
    lock.release()
    store.lock("work").release()


def test_a_lock_does_not_pass_to_child_processes(store):
    lock = store.lock("work")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock.release()
    store.lock("work").release()
    child.communicate(b"\n")


def test_a_checkpoint_is_begun_while_another_of_its_name_is_being_committed(store):
    with ThreadPoolExecutor(1) as pool:
        with store._committing("work"):
            begun = pool.submit(store.begin, "work")
            assert not wait([begun], timeout=20).not_done
        with begun.result() as file:
            for chunk in checkpoint("a"):
                file.write(chunk)
            file.commit()
    assert content(store.open("work")) == ["a"]


def test_what_is_begun_while_all_is_deleted_can_be_committed(store):
    with ThreadPoolExecutor(4) as pool:
        saving = [pool.submit(save_many, store) for _ in range(3)]
        while not all(each.done() for each in saving):
            store.delete("work")
        for each in saving:
            each.result()


def save_many(store):
    for _ in range(60):
        store.save("work", checkpoint("a", 10))

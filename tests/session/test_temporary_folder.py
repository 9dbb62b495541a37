"""Folders of checkpoints that nobody has named a store for."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stateroom.session.temporary_folder import TemporaryFolder

OWNER = """
import sys
from stateroom.session.temporary_folder import TemporaryFolder
folder = TemporaryFolder()
(folder.path / "checkpoint").write_text("large")
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def owner():
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.folder = Path(process.stdout.readline().strip())
    yield process
    process.kill()
    process.communicate()


def test_it_goes_with_the_last_holder(temporary):
    folder = TemporaryFolder()
    path = folder.path
    (path / "file").write_text("x")
    assert path.parent == temporary
    assert repr(folder) == f"<TemporaryFolder {path}>"
    held = [folder]
    del folder
    assert path.exists()
    held.clear()
    gc.collect()
    assert not path.exists()


def test_a_process_that_ends_takes_its_folder_along(owner):
    assert owner.folder.exists()
    owner.communicate("")
    assert not owner.folder.exists()


def test_what_a_killed_process_left_is_removed_by_another_one(owner):
    own = TemporaryFolder()
    TemporaryFolder.remove_abandoned()
    assert owner.folder.exists()
    owner.kill()
    owner.wait()
    TemporaryFolder.remove_abandoned()
    assert not owner.folder.exists()
    assert own.path.exists()


def test_what_is_not_known_to_be_abandoned_stays(temporary):
    unmarked = temporary / "stateroom-other"
    unmarked.mkdir()
    foreign = temporary / "else"
    foreign.mkdir()
    (foreign / ".owner").touch()
    TemporaryFolder.remove_abandoned()
    assert unmarked.exists()
    assert foreign.exists()


FORKED = """
import asyncio, os, sys
import stateroom

async def save():
    async with stateroom.Session() as session:
        return await session.checkpoint()

saved = asyncio.run(save())
child = os.fork()
if not child:
    how = sys.argv[1]
    if how == "drops it":
        del saved
    sys.exit()
os.waitpid(child, 0)
print(saved.path.exists())
path = saved.path.parent
del saved
print(path.exists())
"""


@pytest.mark.parametrize("how", ["drops it", "ends with it"])
def test_a_forked_child_takes_nothing_along(how):
    run = [sys.executable, "-W", "ignore", "-c", FORKED, how]
    assert subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout == "True\nFalse\n"

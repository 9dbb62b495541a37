"""A file as a durable run: its cells, and which run a store holds."""

from __future__ import annotations

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from stateroom.errors import DurableError
from stateroom.integration.durable_script import DurableScript, run_script, split_cells

TEXT = "a = 1\n# %%\na += 1\n# %% last\na\n"


def cells_of(text):
    return [(cell.number, cell.line, cell.code.strip()) for cell in split_cells(text)]


def test_a_file_without_markers_is_one_cell():
    assert cells_of("a = 1\nb = 2\n") == [(1, 1, "a = 1\nb = 2")]


def test_a_file_is_cut_at_its_markers():
    assert cells_of(TEXT) == [(1, 1, "a = 1"), (2, 2, "# %%\na += 1"), (3, 4, "# %% last\na")]


@pytest.mark.parametrize("marker", ["# %%", "#%%", "# %% [markdown]", "#  %%"])
def test_markers_of_other_tools_are_known(marker):
    assert len(split_cells(f"a\n{marker}\nb")) == 2


@pytest.mark.parametrize(
    "text", ["'''\n# %%\n'''", "if x:\n    pass\n    # %%\n    y", "a # %%", "(1,\n# comment\n2)", "'# %%'"]
)
def test_what_is_no_marker_cuts_nothing(text):
    assert len(split_cells(text)) == 1


def test_cells_without_code_are_none():
    assert cells_of("# a comment\n\n# %%\n# %%\nx\n# %%\n") == [(1, 4, "# %%\nx")]


def test_lines_are_where_they_are_in_the_file():
    for cell in split_cells(TEXT):
        lines = TEXT.splitlines()
        assert cell.code.splitlines()[cell.line - 1] == lines[cell.line - 1]


@pytest.mark.parametrize("text", ["", "x = (1,\n# %%\n", "'''\n# %%", "\t x\n  y\n# %%\nz", "\0", "\f# %%\n"])
def test_a_file_that_cannot_be_read_is_no_crash(text):
    split_cells(text)


async def run(stored, text, *arguments):
    return await run_script(stored.cells, DurableScript(text, "file.py", ["file.py", *arguments]))


async def test_a_run_ends_with_its_last_value_and_does_so_again(stored):
    finished = []
    script = DurableScript(TEXT, "file.py", ["file.py"])
    for _ in range(2):
        result = await run_script(stored.cells, script, on_begin=finished.append)
        assert result.value == 2
    assert finished == [0, 3]


async def test_a_failed_cell_ends_the_run_for_good(stored, tmp_path):
    text = f"a = 1\n# %%\n1/0\n# %%\nopen({str(tmp_path / 'ran')!r}, 'w')\n"
    for _ in range(2):
        result = await run(stored, text)
        assert result.error.type == "ZeroDivisionError"
        assert 'File "file.py", line 3' in result.error.text
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "why"),
    [
        (TEXT.replace("+= 1", "+= 2"), [], r"cell 2 of file\.py \(line 2\) is different"),
        (TEXT + "# %%\nb = 1\n", [], "has 3 cells, file.py has 4"),
        (TEXT, ["x"], r"its arguments are \[\], not \['x'\]"),
    ],
)
async def test_a_changed_file_is_refused(stored, text, arguments, why):
    await run(stored, TEXT)
    with pytest.raises(DurableError, match=why):
        await run(stored, text, *arguments)


async def test_a_file_without_code_is_a_run_too(stored):
    assert (await run(stored, "# nothing\n")).ok

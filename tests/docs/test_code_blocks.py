"""Every code block of README.md and docs/ is run, page by page, in a session of the product itself.

The blocks of a page are cells of one session, in order. A page that uses ``session``, ``pool`` or
``executor`` and makes none is given one, if it says so above; what a block has closed stays closed. A Python
block whose first line is ``# name.py`` is also that file, for the shell blocks behind it. In these, each line
is checked alone: commands of stateroom are run, unless they need a server or hold a placeholder in capitals.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
from pathlib import Path

import pytest
from block_runner import ROOT, reason_to_skip, run_python, run_shell
from checked_code import HELPERS, parse, with_checks
from markdown_blocks import PYTHON, SHELL, Block, blocks_of

import stateroom

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {*PYTHON, *SHELL, "text", "toml", ""}
BLOCKS_NOT_RUN = 5
"""Each one more is a decision."""
LEAST_CHECKS = 100


def blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_the_blocks_of_a_page_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    missing = []
    async with stateroom.Session(cwd=str(tmp_path)) as session:
        await session.run(f"import asyncio, time\nimport stateroom\n{HELPERS}", check=True)
        for block in blocks_of(page):
            if block.not_run is not None or block.language not in PYTHON | SHELL:
                continue
            why = reason_to_skip(block)
            if why is not None:
                missing.append(f"{block.place}: {why}")
            elif block.language in PYTHON:
                await run_python(session, block, tmp_path)
            else:
                await asyncio.to_thread(run_shell, block, tmp_path)
    if missing:
        pytest.skip("all but these did: " + "; ".join(missing))


def test_no_page_has_a_block_of_a_language_that_is_not_checked() -> None:
    assert not [block.place for block in blocks() if block.language not in LANGUAGES]


def test_blocks_that_are_not_run_are_counted_and_say_why() -> None:
    left_out = [block for block in blocks() if block.not_run is not None]
    assert all(block.not_run for block in left_out)
    assert len(left_out) == BLOCKS_NOT_RUN, [block.place for block in left_out]


def test_what_a_block_that_is_not_run_imports_is_there() -> None:
    for block in blocks():
        if block.not_run is None or block.language not in PYTHON or reason_to_skip(block) is not None:
            continue
        for node in ast.walk(parse(block.code)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), block.place


def test_the_pages_state_values_that_are_checked() -> None:
    run = [block for block in blocks() if block.language in PYTHON and block.not_run is None]
    assert sum(with_checks(block.code).checks for block in run) >= LEAST_CHECKS

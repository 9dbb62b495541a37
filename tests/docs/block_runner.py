"""Runs one block of a page: Python as a cell of a session, shell commands line by line."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from checked_code import parse, with_checks
from markdown_blocks import PYTHON, Block

import stateroom

ROOT = Path(__file__).parents[2]
GIVEN = {
    "session": "stateroom.Session()",
    "pool": "stateroom.SessionPool(size=2)",
    "executor": "stateroom.AsyncExecutor(stateroom.NamespaceManager())",
}
"""What a page may use without making it, if it says what it is: "`session` is an open …"."""
GIVE = """
{name} = {made}
if hasattr({name}, "start"): await {name}.start()
"""
PACKAGES = {"stateroom.integration": "resonate", "stateroom.frontends": "typer"}
"""What parts of stateroom need, besides what it always depends on."""

PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")
MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def reason_to_skip(block: Block) -> str | None:
    """A package that it needs and that is not here; None if all are."""
    needs = {*block.needs, *(imported(block.code) if block.language in PYTHON else commanded(block.code))}
    missing = sorted(name for name in needs if importlib.util.find_spec(name) is None)
    return f"{missing[0]} is not installed" if missing else None


def imported(code: str) -> set[str]:
    """Packages that the block imports, or that a part of stateroom that it imports does."""
    modules = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", code, re.MULTILINE)
    needed = {package for part, package in PACKAGES.items() for name in modules if name.startswith(part)}
    return needed | {name.partition(".")[0] for name in modules}


def commanded(code: str) -> set[str]:
    """Packages that the commands of a shell block need."""
    needed = {"typer"} if re.search(r"^stateroom ", code, re.MULTILINE) else set()
    return needed | (
        {"resonate"} if re.search(r"^stateroom .*(--durable|inputs|worker)", code, re.MULTILINE) else set()
    )


async def run_python(session: stateroom.Session, block: Block, folder: Path) -> None:
    """As a cell, on the lines that it has in the page."""
    if name := re.match(r"# (\w+\.py)\n", block.code):
        (folder / name[1]).write_text(block.code)
    for given in sorted(names_used(block.code) & GIVEN.keys()):
        await give(session, given, block)
    lines = "\n" * (block.line - 1)
    code = lines + with_checks(block.code).code
    result = await session.run(code, filename=block.place, on_input=lambda _: "Ada")
    assert result.ok, f"{block.place}\n{result.error.text if result.error else ''}{result.stderr}"


async def give(session: stateroom.Session, name: str, block: Block) -> None:
    """Make what the page uses and has not made. What it has closed stays closed, as for a reader."""
    if (await session.run(f"{name!r} in globals()", check=True)).value:
        return
    said = block.page.read_text(encoding="utf-8").partition(block.code)[0]
    assert f"`{name}` is an open" in said, f"{block.place}: say above it what `{name}` is, or make it"
    await session.run(GIVE.format(name=name, made=GIVEN[name]), check=True)


def names_used(code: str) -> set[str]:
    """Names that the block reads at its top level, or below it, before it binds them anywhere."""
    tree = parse(code)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {name.id: name.lineno for name in reversed(names) if isinstance(name.ctx, ast.Store)}
    bound.update((argument.arg, 0) for argument in ast.walk(tree) if isinstance(argument, ast.arg))
    return {
        name.id
        for name in names
        if isinstance(name.ctx, ast.Load) and name.lineno < bound.get(name.id, sys.maxsize)
    }


def run_shell(block: Block, folder: Path) -> None:
    """Line by line: commands of stateroom are run, targets of make and files of this project looked up."""
    for number, line in enumerate(block.code.splitlines(), block.line):
        command, _, comment = line.partition("#")
        words = shlex.split(command)
        if words:
            run_command(words, f"{block.page}:{number}", folder, comment.strip())


def run_command(words: list[str], place: str, folder: Path, comment: str) -> None:
    if words[0] == "make":
        assert words[1] in MAKE_TARGETS, f"{place}: no target {words[1]!r}"
    elif words[0] == "python" and len(words) > 1 and "/" in words[-1] + words[1]:
        files = [word for word in words if word.endswith(".py")]
        assert files, place
        assert all((ROOT / file).exists() for file in files), f"{place}: {files}"
    elif words[0] == "stateroom":
        run_stateroom(words, place, folder, comment)
    else:
        pytest.fail(f"{place}: nothing here knows how to check {words[0]!r}; mark the block as not run")


def run_stateroom(words: list[str], place: str, folder: Path, comment: str) -> None:
    """With the entry point's own arguments; a line with a placeholder only shows that there is such a command."""
    if any(PLACEHOLDER.search(word) for word in words[1:]):
        words = [*words[: 3 if words[1] == "inputs" else 2], "--help"]
    done = subprocess.run(
        [sys.executable, "-c", "from stateroom.frontends.cli import main; main()", *words[1:]],
        cwd=folder,
        input="yes\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )
    expected = re.search(r"exit status (\d+)", comment)
    status = int(expected[1]) if expected else 0
    assert done.returncode == status, f"{place}: status {done.returncode}\n{done.stdout}{done.stderr}"
    if comment and not expected and re.fullmatch(r"['\"\w(\[{-].*", comment) and _is_value(comment):
        assert done.stdout.strip().splitlines()[-1] == comment, f"{place}: printed {done.stdout!r}"


def _is_value(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True

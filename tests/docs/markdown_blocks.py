"""The code blocks of a Markdown page, with what the page says about running them.

What a reader does not see stands in HTML comments right before a block:

- ``<!-- not run: why -->``: the block is left alone;
- ``<!-- needs: numpy resonate -->``: it is skipped where one of these packages is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

PYTHON = frozenset({"python", "py"})
SHELL = frozenset({"sh", "bash", "shell", "console"})

_COMMENT = re.compile(r"<!--\s*(not run|needs):\s*(.*?)\s*-->", re.DOTALL)


class Block(NamedTuple):
    """A fenced block. ``line`` is that of its first line of code, from 1."""

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None
    needs: tuple[str, ...]

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page, in order."""
    said: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            said = dict(_COMMENT.findall(token.content))
        elif token.type == "fence":
            yield _block(page, token, said)
            said = {}
        elif token.type.endswith("_open"):
            said = {}


def _block(page: Path, token: Token, said: dict[str, str]) -> Block:
    assert token.map is not None
    language = token.info.split()[0].lower() if token.info.split() else ""
    needs = tuple(said.get("needs", "").split())
    return Block(page, token.map[0] + 2, language, token.content, said.get("not run"), needs)

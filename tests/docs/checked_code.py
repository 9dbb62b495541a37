"""Makes what a block says in comments into checks, without moving a line.

- ``result.value  # 42``: the value of the expression equals the literal;
- ``print(a, b)  # 42 True``: that is what is printed, if each word is a literal;
- ``await session.run(code, check=True)  # raises ExecutionError``.

Any other comment is for the reader.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

HELPERS = """
import contextlib as _contextlib, io as _io

class _Checks:
    @staticmethod
    def value(found, expected):
        assert found == expected and type(found) is type(expected), f"{found!r} is not {expected!r}"

    @staticmethod
    @_contextlib.contextmanager
    def prints(expected):
        with _contextlib.redirect_stdout(_io.StringIO()) as printed:
            yield
        assert printed.getvalue().split() == expected.split(), f"printed {printed.getvalue()!r}"

    @staticmethod
    @_contextlib.contextmanager
    def raises(name):
        try:
            yield
        except Exception as error:
            assert type(error).__name__ == name, f"raised {error!r}, not {name}"
        else:
            raise AssertionError(f"did not raise {name}")
"""
"""What the checks call; run once before the blocks of a page."""

_RAISES = re.compile(r"raises (\w+)")


class Checked(NamedTuple):
    """A block's code with its checks, and how many these are."""

    code: str
    checks: int


def parse(code: str) -> ast.Module:
    """The tree of a block, which may await at the top level."""
    tree = compile(code, "<block>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module)
    return tree


def with_checks(code: str) -> Checked:
    """The same code on the same lines, with a check for each comment that states what can be checked."""
    lines = code.splitlines()
    comments = dict(_comments(code))
    count = 0
    for node in sorted(_expressions(parse(code)), key=lambda node: -node.lineno):
        assert node.end_lineno is not None
        wrapped = _wrap(node, comments.get(node.end_lineno, ""))
        if wrapped is not None:
            _insert(lines, node, *wrapped)
            count += 1
    return Checked("\n".join(lines), count)


def _comments(code: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#").strip()


def _expressions(tree: ast.AST) -> Iterator[ast.Expr]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Expr))


def _wrap(node: ast.Expr, comment: str) -> tuple[str, str] | None:
    """What to put before and behind the expression; None for a comment that states nothing."""
    if found := _RAISES.fullmatch(comment):
        return f"with _Checks.raises({found[1]!r}): ", ""
    if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "print":
        stated = bool(comment) and all(map(_is_literal, comment.split()))
        return (f"with _Checks.prints({comment!r}): ", "") if stated else None
    return ("_Checks.value((", f"), {comment})") if _is_literal(comment) else None


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _insert(lines: list[str], node: ast.Expr, before: str, behind: str) -> None:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    _insert_at(lines, node.end_lineno, node.end_col_offset, behind)
    _insert_at(lines, node.lineno, node.col_offset, before)


def _insert_at(lines: list[str], line: int, column: int, text: str) -> None:
    """``column`` counts bytes of UTF-8, as :mod:`ast` does."""
    data = lines[line - 1].encode()
    lines[line - 1] = (data[:column] + text.encode() + data[column:]).decode()

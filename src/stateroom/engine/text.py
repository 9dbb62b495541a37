"""Questions about the text of a cell that are answered without parsing it."""

from __future__ import annotations

import ast
import re

__all__ = ["SPACE", "add_text", "is_quiet", "normalise"]

SPACE = " \t\n\f"
"""What Python's tokenizer takes for space; ``str.isspace`` takes more."""

_INDENT = re.compile(r"(?:[ \t\f]*(?:#[^\n]*)?\n)*([ \t]+)[^\s#]")
_CONTINUED = re.compile(r"(?:[ \t\f]|\\\n)*;")


def normalise(source: str) -> str:
    """The text as it is compiled: one kind of line end, no byte order mark, no common indentation."""
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    source = source.removeprefix("\ufeff")
    found = _INDENT.match(source)
    return source if found is None else _dedented(source, found[1])


def _dedented(source: str, indent: str) -> str:
    """Take ``indent`` off all lines, if all of them have it; comments and blank lines may not."""
    lines = source.split("\n")
    if not all(line.startswith(indent) or line.lstrip()[:1] in ("", "#") for line in lines):
        return source
    return "\n".join(line.removeprefix(indent) for line in lines)


def is_quiet(final: ast.Expr, source: str) -> bool:
    """Is the final expression followed by a semicolon?"""
    if ";" not in source or final.end_lineno is None or final.end_col_offset is None:
        return False
    tail = source.split("\n", final.end_lineno - 1)[-1]
    line, newline, rest = tail.partition("\n")
    line = line.encode(errors="surrogatepass")[final.end_col_offset :].decode(errors="surrogatepass")
    return _CONTINUED.match(line + newline + rest) is not None


def add_text(error: SyntaxError, source: str, filename: str) -> None:
    """Add the line that CPython would have read from the file, had the cell been one."""
    if error.text is not None or error.filename != filename or not error.lineno:
        return
    lines = source.split("\n", error.lineno)
    if error.lineno <= len(lines):
        error.text = lines[error.lineno - 1] + "\n"

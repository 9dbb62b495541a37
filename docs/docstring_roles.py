"""Lets docstrings with reStructuredText roles be read as Markdown, for the site."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc):`~?([^`]+)`")
_LITERAL = re.compile(r"::$", re.MULTILINE)


class DocstringRoles(Extension):
    """Turns ``:class:`Session` `` into code, and a literal block into an indented one."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe with each object it has read."""
        if obj.docstring is not None:
            obj.docstring.value = _as_markdown(obj.docstring.value)


def _as_markdown(text: str) -> str:
    text = _ROLE.sub(lambda role: f"`{role[1]}`", text)
    return _LITERAL.sub(lambda found: ":" if found.start() and text[found.start() - 1] != "\n" else "", text)

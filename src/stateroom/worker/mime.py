"""The representations of a value by MIME type, asked for as IPython's display protocol has it.

Differences: methods are looked up on the type, so that a mock or a proxy that answers to every
name is not taken at its word; binary representations are ``bytes``, never base64 text.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from ..config import EngineConfig
from .user_code import call_user_code, failure_of

__all__ = ["Bundle"]

METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
    "_repr_pdf_": "application/pdf",
}
TEXTS = frozenset({"image/svg+xml", "application/javascript"})
"""Text, besides ``text/…``."""
BINARIES = frozenset({"application/pdf"})
"""Binary, besides ``image/…``, ``audio/…`` and ``video/…``."""


class Bundle:
    """Representations of one value, each cleaned, counted and bounded; what is missing is in ``notes``."""

    def __init__(self, config: EngineConfig, notes: list[str]) -> None:
        self.data: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.notes = notes
        self.size = 0
        self._config = config

    def __repr__(self) -> str:
        return f"<Bundle {sorted(self.data)} size={self.size}>"

    def describe(self, value: Any) -> None:
        """Ask the value for all its representations but ``repr``. User code runs in here."""
        if issubclass(type(value), type):  # its methods are for its instances
            return
        if _is_figure(value):
            self._try("savefig", value, self._take_figure)
        if _has_method(value, "_repr_mimebundle_"):
            self._try("_repr_mimebundle_", value, self._take_mimebundle)
        for name, kind in METHODS.items():
            if kind not in self.data and _has_method(value, name):
                self._try(name, value, self._take_method, name, kind)

    def take_raw(self, data: Any, metadata: Any = None) -> None:
        """Take a whole bundle, as ``_repr_mimebundle_`` returns it."""
        if not isinstance(data, dict):
            raise TypeError(f"a MIME bundle is a dict by MIME type, not of type {type(data).__qualname__}")
        metadata = metadata or {}
        for kind, item in data.items():
            if isinstance(kind, str) and item is not None:
                self.add(kind, item, metadata.get(kind))

    def add(self, kind: str, data: Any, metadata: Any = None) -> None:
        """Take one representation, or note why not."""
        try:
            data, metadata = _clean(kind, data), _as_json(metadata)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it is noted
            self.notes.append(f"{kind} left out: {_reason(error)}")
            return
        size = _size(data) + _size(metadata)
        for limit in ("max_mime_bytes", "max_bundle_bytes"):
            room = getattr(self._config, limit) - (self.size if limit == "max_bundle_bytes" else 0)
            if size > room:
                self.notes.append(f"{kind} of {size} bytes left out: over {limit}")
                return
        self.size += size
        self.data[kind] = data
        if metadata:
            self.metadata[kind] = metadata

    def _try(self, name: str, value: Any, take: Any, *arguments: str) -> None:
        try:
            take(value, *arguments)
        except BaseException as error:  # noqa: BLE001 - a cancel is raised again
            self.notes.append(f"{name} of {type(value).__qualname__} {failure_of(error)}")

    def _take_method(self, value: Any, name: str, kind: str) -> None:
        data, metadata = _call(value, name)
        if data is not None:
            self.add(kind, data, metadata)

    def _take_mimebundle(self, value: Any) -> None:
        data, metadata = _call(value, "_repr_mimebundle_", include=None, exclude=None)
        if data is not None:
            self.take_raw(data, metadata)

    def _take_figure(self, value: Any) -> None:
        from .figures import FIGURES

        self.add(*FIGURES.render(value))


def _call(value: Any, name: str, **keywords: Any) -> tuple[Any, Any]:
    """What the method returns, as data and metadata."""
    method = call_user_code(getattr, value, name)
    result = call_user_code(method, **keywords)
    if isinstance(result, tuple) and len(result) == 2:
        return result
    return result, None


def _has_method(value: Any, name: str) -> bool:
    """Whether the type defines it; None in its place switches it off, as for ``__hash__``."""
    for base in type(value).__mro__:
        if name in base.__dict__:
            return base.__dict__[name] is not None
    return False


def _is_figure(value: Any) -> bool:
    """Whether it is a figure of matplotlib, which leaves it to its backends to show one."""
    module = sys.modules.get("matplotlib.figure")
    figure = getattr(module, "Figure", None)
    return isinstance(figure, type) and issubclass(type(value), figure)


def _clean(kind: str, data: Any) -> Any:
    """The representation as it travels: str, bytes or plain JSON data; raises if it is none."""
    if kind.startswith("text/") or kind in TEXTS:
        if not isinstance(data, str):
            raise TypeError(f"it is of type {type(data).__qualname__}, not a str")
        return str.__str__(data)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if kind.startswith(("image/", "audio/", "video/")) or kind in BINARIES:
        return _from_base64(data)
    return _as_json(data)


def _from_base64(data: Any) -> bytes:
    """Binary data that came as text, as IPython lets it."""
    from binascii import a2b_base64

    if not isinstance(data, str):
        raise TypeError(f"it is of type {type(data).__qualname__}, not bytes")
    return a2b_base64(data)


def _as_json(data: Any) -> Any:
    """Plain copies of dict, list, str, int, float, bool and None; raises for what JSON has not."""
    return None if data is None else msgspec.json.decode(call_user_code(msgspec.json.encode, data))


def _size(data: Any) -> int:
    if data is None:
        return 0
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, str):
        return len(data) if data.isascii() else len(data.encode("utf-8", "surrogatepass"))
    return len(msgspec.json.encode(data))


def _reason(error: Exception) -> str:
    """The text of an error of this module or of msgspec; of another one, its type."""
    own = isinstance(error, TypeError | ValueError | msgspec.MsgspecError)
    return str(error)[:200] if own else type(error).__name__

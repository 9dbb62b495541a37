"""How long a text of a value may be, on whichever side it is made."""

from __future__ import annotations

__all__ = ["cut_repr"]


def cut_repr(text: str, max_chars: int, notes: list[str]) -> str:
    """The text, or its first ``max_chars`` characters, an ellipsis, and a note that says so."""
    if len(text) <= max_chars:
        return text
    notes.append(f"repr of {len(text)} characters cut to {max_chars}")
    return text[:max_chars] + "…"

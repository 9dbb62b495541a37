"""``display`` and what belongs to it, for the code of cells; elsewhere they print."""

from __future__ import annotations

from typing import Any

from .publisher import installed

__all__ = ["DisplayHandle", "clear_output", "display", "update_display"]


class DisplayHandle:
    """Something that was shown, and can be replaced by something else."""

    def __init__(self, display_id: str) -> None:
        self.display_id = display_id
        """What ``update_display`` knows it by."""

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"

    def display(self, obj: Any) -> None:
        """Show one more object under this id."""
        display(obj, display_id=self.display_id)

    def update(self, obj: Any, *, raw: bool = False) -> None:
        """Show this object in place of what is shown under this id."""
        update_display(obj, display_id=self.display_id, raw=raw)


def display(
    *objs: Any,
    display_id: str | bool | None = None,
    raw: bool = False,
    metadata: dict[str, Any] | None = None,
    clear: bool = False,
) -> DisplayHandle | None:
    """Show objects by their richest representations, in order with what the cell prints.

    With a ``display_id`` (True makes one) returns a handle that can :meth:`~DisplayHandle.update`
    what is shown. With ``raw`` the objects are MIME bundles: dicts of data by MIME type, with their
    ``metadata`` likewise. ``clear`` removes first what the cell has shown. After IPython's ``display``.

    Raises TypeError for a raw object that is no dict.
    """
    publisher = installed()
    if display_id is True:
        display_id = publisher.new_id() if publisher is not None else "d0"
    name = display_id or None
    if clear:
        clear_output(wait=True)
    for obj in objs:
        if publisher is None:
            _print(obj, raw=raw)
        else:
            publisher.display(obj, name, raw=raw, metadata=metadata)
    return None if name is None else DisplayHandle(name)


def update_display(
    obj: Any, *, display_id: str, raw: bool = False, metadata: dict[str, Any] | None = None
) -> None:
    """Show ``obj`` in place of all that is shown under ``display_id``."""
    publisher = installed()
    if publisher is None:
        _print(obj, raw=raw)
    else:
        publisher.display(obj, display_id, raw=raw, update=True, metadata=metadata)


def clear_output(wait: bool = False) -> None:
    """Have what this cell has shown taken away; with ``wait``, as soon as it shows something new."""
    publisher = installed()
    if publisher is not None:
        publisher.clear(wait=wait)


def _print(obj: Any, *, raw: bool) -> None:
    """All that can be shown where there is no session."""
    print(obj["text/plain"] if raw and "text/plain" in obj else obj)

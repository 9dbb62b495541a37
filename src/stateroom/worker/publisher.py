"""Sends what cells show besides text, in order with the text that they print."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

from ..config import EngineConfig
from ..protocol.messages import ClearMessage, DisplayMessage, ProgressMessage
from .display import describe
from .mime import Bundle
from .origin import current_origin
from .outbox import Outbox

__all__ = ["Publisher", "installed"]

FIGURES_MODULE = f"{__package__}.figures"

_publisher: Publisher | None = None


class Publisher:
    """One worker's sender of displays and progress, for user code of any thread."""

    def __init__(self, outbox: Outbox, flush_output: Callable[[], None], config: EngineConfig) -> None:
        self.running: str | None = None
        self.safe_point: Callable[[], None] = lambda: None
        """Called when something was sent or left out, before user code goes on."""
        self._outbox = outbox
        self._flush_output = flush_output
        self._config = config
        self._ids = itertools.count(1)
        self._shown_bytes = 0
        self._left_out = 0

    def __repr__(self) -> str:
        return f"<Publisher running={self.running} shown_bytes={self._shown_bytes}>"

    def install(self) -> None:
        """Be the one whom ``display`` and ``progress`` find."""
        global _publisher
        _publisher = self

    def forget_after_fork(self) -> None:
        """In a forked child: the transport belongs to the parent."""
        global _publisher
        _publisher = None

    def begin(self, execution_id: str) -> None:
        """A new cell."""
        self.running = execution_id
        self._shown_bytes = self._left_out = 0

    def end(self) -> list[str]:
        """The cell has ended; notes on what of it was not shown."""
        self.running = None
        if not self._left_out:
            return []
        limit = self._config.max_display_bytes
        return [f"{self._left_out} displays left out: over max_display_bytes ({limit})"]

    def new_id(self) -> str:
        """An id for a display or a progress bar, unique in this worker."""
        return f"d{next(self._ids)}"

    def new_bundle(self) -> Bundle:
        """An empty bundle, for :meth:`send_bundle`."""
        return Bundle(self._config, [])

    def display(
        self,
        value: Any,
        display_id: str | None = None,
        *,
        raw: bool = False,
        update: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Show one object; with ``raw`` it is a MIME bundle already. User code runs in here."""
        bundle = self.new_bundle()
        if raw:
            bundle.take_raw(value, metadata)
        else:
            describe(value, bundle, self._config)
        self.send_bundle(bundle, display_id, update=update)

    def send_bundle(self, bundle: Bundle, display_id: str | None = None, *, update: bool = False) -> None:
        """Send a bundle, if the cell has room for it."""
        origin = current_origin() or self.running
        if origin == self.running and not update and not self._admit(bundle.size):
            self.safe_point()
            return
        self._send(
            DisplayMessage(
                execution_id=origin,
                mime=bundle.data,
                metadata=bundle.metadata,
                display_id=display_id,
                update=update,
                notes=bundle.notes,
            )
        )

    def clear(self, *, wait: bool) -> None:
        """Have what the cell has shown taken away."""
        self._shown_bytes = 0
        self._send(ClearMessage(execution_id=current_origin() or self.running, wait=wait))

    def progress(self, message: ProgressMessage) -> None:
        """Send how far something is."""
        message.execution_id = current_origin() or self.running
        self._send(message)

    def send_figures(self) -> None:
        """Show the figures that the cell has drawn and not shown. User code runs in here."""
        module = sys.modules.get(FIGURES_MODULE)
        if module is not None:
            module.FIGURES.send_all()

    def _admit(self, size: int) -> bool:
        limit = self._config.max_display_bytes
        if limit is not None and self._shown_bytes + size > limit:
            self._left_out += 1
            return False
        self._shown_bytes += size
        return True

    def _send(self, message: DisplayMessage | ClearMessage | ProgressMessage) -> None:
        self._flush_output()
        self._outbox.send(message)
        self._outbox.wait_for_room()
        self.safe_point()


def installed() -> Publisher | None:
    """The publisher of this process, if it is a worker."""
    return _publisher

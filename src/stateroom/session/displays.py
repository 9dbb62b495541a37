"""What a cell shows at the moment: its displays after all updates and clearings."""

from __future__ import annotations

from ..protocol.messages import ClearMessage, DisplayMessage

__all__ = ["Displays"]


class Displays:
    """Keeps the displays of one execution as a notebook would."""

    def __init__(self) -> None:
        self.shown: list[DisplayMessage] = []
        self._clear_next = False

    def __repr__(self) -> str:
        return f"<Displays shown={len(self.shown)}>"

    def take(self, message: DisplayMessage | ClearMessage) -> None:
        """Show, replace or clear. An update of what another cell shows changes nothing here."""
        if isinstance(message, ClearMessage):
            self._clear(wait=message.wait)
        elif message.update:
            for index, shown in enumerate(self.shown):
                if shown.display_id == message.display_id:
                    self.shown[index] = message
        else:
            self._clear_if_due()
            self.shown.append(message)

    def _clear(self, *, wait: bool) -> None:
        self._clear_next = wait
        if not wait:
            self.shown.clear()

    def _clear_if_due(self) -> None:
        if self._clear_next:
            self._clear(wait=False)

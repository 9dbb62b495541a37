"""What the namespace of a session may hold: the model that the soak checks the real one against.

Each cell appends its number to the list ``trail``, first of all. So the trail says which cells ran, in
which order, and how often; and after a recovery, which checkpoint came back. A cell that was cancelled
may have left its number or not, so the model is a set of possible trails, newest last, until it is
looked at.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Marks", "Trail", "TrailError"]

Marks = tuple[int, ...]

MOST_POSSIBLE = 400
"""More would mean that the model says nothing."""


class TrailError(AssertionError):
    """The namespace is not what it must be."""


class Trail:
    """The possible trails of one session.

    ``every_cells``: an automatic checkpoint is made after so many cells; None for none.
    """

    def __init__(self, every_cells: int | None = None) -> None:
        self.possible: list[Marks] = [()]
        self.kept: list[Marks] = [()]
        """What a new worker may begin with, newest last."""
        self._every_cells = every_cells

    def __repr__(self) -> str:
        return f"<Trail possible={len(self.possible)} kept={len(self.kept)} newest={self.possible[-1][-5:]}>"

    def ran(self, number: int) -> None:
        """This cell began, and ended."""
        self._become((*marks, number) for marks in self.possible)

    def may_have_run(self, number: int) -> None:
        """This cell was ended, perhaps before its first line."""
        self._become([*self.possible, *((*marks, number) for marks in self.possible)])

    def may_have_lost(self) -> None:
        """The worker may have been replaced here."""
        self._become([*self.kept, *self.possible])

    def lost(self) -> None:
        """The worker was replaced here."""
        self._become(self.kept)

    def saved(self) -> None:
        """A checkpoint was made here."""
        self.kept = list(self.possible)

    def may_have_saved(self) -> None:
        """A checkpoint was perhaps made here."""
        self._keep()

    def restored(self, marks: Iterable[Marks]) -> None:
        """A checkpoint of one of these trails was brought back."""
        self._become(marks)

    def may_have_restored(self, marks: Iterable[Marks]) -> None:
        """The same, or not."""
        self._become([*self.possible, *marks])

    def observe(self, seen: Iterable[int]) -> None:
        """The real trail; raises :class:`TrailError` if it cannot be."""
        marks = tuple(seen)
        if marks not in self.possible:
            tails = [possible[-8:] for possible in self.possible[-12:]]
            raise TrailError(
                f"the trail ends with {marks[-8:]} ({len(marks)} marks); possible ends, newest last: {tails}"
                f"; kept: {[kept[-4:] for kept in self.kept[-12:]]}"
            )
        self.possible = [marks]

    def _become(self, marks: Iterable[Marks]) -> None:
        self.possible = list(dict.fromkeys(marks))
        if len(self.possible) > MOST_POSSIBLE:
            raise TrailError(f"the model lost its way: {len(self.possible)} possible trails")
        if self._every_cells is not None:
            self._keep()

    def _keep(self) -> None:
        """Automatic checkpoints: one of the last cells' ends. An attempt or two may have been cancelled."""
        self.kept = list(dict.fromkeys([*self.kept, *self.possible]))
        if self._every_cells is not None:
            self.kept = self.kept[-(10 * self._every_cells + 50) :]

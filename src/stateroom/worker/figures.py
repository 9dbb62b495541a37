"""A backend of matplotlib: figures go to the session as pictures, without anybody asking.

Chosen by ``MPLBACKEND``, so that matplotlib is loaded by the user's code only. Open figures are
sent at ``plt.show()`` and at the end of the cell, and closed. ``savefig.format`` of matplotlib's
settings says what kind of picture: ``plt.rcParams["savefig.format"] = "svg"``.
"""

from __future__ import annotations

import io
import sys
import traceback
from typing import Any

from matplotlib import rcParams
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from .publisher import installed
from .user_code import call_user_code

__all__ = ["FIGURES", "FigureCanvas", "FigureManager"]

KINDS = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "pdf": "application/pdf",
}


class FigureManager(FigureManagerBase):
    """Holds a figure that ``plt`` has open."""

    def show(self) -> None:
        """``figure.show()``."""
        FIGURES.send(self)

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """``plt.show()``."""
        FIGURES.send_all()


class FigureCanvas(FigureCanvasAgg):
    """Draws like Agg. matplotlib asks a backend for a class of this name."""

    manager_class = FigureManager


class _Figures:
    """The figures of this backend."""

    def send_all(self) -> None:
        """Send those that are open, in the order in which they were made, and close them."""
        for manager in Gcf.get_all_fig_managers():
            if isinstance(manager, FigureManager):
                self.send(manager)

    def send(self, manager: FigureManager) -> None:
        """Send one and close it, also when it cannot be drawn: then its error goes to stderr."""
        publisher = installed()
        figure = manager.canvas.figure
        Gcf.destroy(manager)
        if publisher is None:
            return
        try:
            bundle = publisher.new_bundle()
            bundle.add(*self.render(figure))
            bundle.add("text/plain", call_user_code(repr, figure))
        except Exception:  # noqa: BLE001 - whatever drawing raises is shown
            traceback.print_exc(file=sys.stderr)
            return
        publisher.send_bundle(bundle)

    def render(self, figure: Any) -> tuple[str, bytes | str]:
        """The figure's MIME type and picture. One that was open is closed: it has been shown."""
        wanted = rcParams["savefig.format"]
        form = wanted if wanted in KINDS else "png"
        buffer = io.BytesIO()
        call_user_code(figure.savefig, buffer, format=form, bbox_inches="tight")
        Gcf.destroy_fig(figure)
        data = buffer.getvalue()
        return KINDS[form], data.decode() if form == "svg" else data


FIGURES = _Figures()

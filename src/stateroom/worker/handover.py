"""Who runs the event loop: the main thread, or the companion while a cell has the main thread.

::

            still()                 take_over()
    HOME ───────────────► STILL ──────────────────► AWAY
     ▲                      │                        │
     └──────── home() ──────┴──────── home() ────────┘

HOME   the main thread runs the loop, or is about to
STILL  the loop stands between two iterations; a synchronous cell has the main thread
AWAY   the same, and the companion runs the loop

A cell that ends within ``takeover_after_s`` costs no handover at all, and the companion is a thread that
starts with the first one.
"""

from __future__ import annotations

import _thread
import asyncio
import enum
import threading
from collections.abc import Callable
from threading import current_thread
from time import monotonic
from typing import Any

from .event_loop import MovableEventLoop
from .loan_desk import LoanDesk

__all__ = ["Handover", "Place"]


class Place(enum.Enum):
    """Where the loop is."""

    HOME = enum.auto()
    STILL = enum.auto()
    AWAY = enum.auto()


class Handover:
    """Moves one loop between its home thread (the one that makes this object) and a companion."""

    def __init__(
        self,
        loop: MovableEventLoop,
        *,
        on_loop_exit: Callable[[BaseException], None],
        prepare_thread: Callable[[], None] = lambda: None,
    ) -> None:
        self.loop = loop
        self.place = Place.HOME
        self.still_since = 0.0
        self.takeovers = 0
        self.desk = LoanDesk(loop)
        self._on_loop_exit = on_loop_exit
        self._prepare_thread = prepare_thread
        self._lock = threading.Lock()
        self._go = _closed_gate()
        self._back = _closed_gate()
        self._is_asked_home = False
        self._called_home = False
        self._parked = True
        self._has_companion = False
        loop.wait_elsewhere = self.wait_elsewhere

    def __repr__(self) -> str:
        return f"<Handover {self.place.name} takeovers={self.takeovers}>"

    def start(self) -> None:
        """Make the loan of the loop possible."""
        self.desk.install()

    def run_at_home(self) -> None:
        """Run the loop in this thread until somebody stops it."""
        self._run()

    def wait_at_home(self, fd: int) -> bool:
        """Whether ``fd`` became readable before the loop had anything to do."""
        try:
            return self.loop.idle(fd)
        except BaseException as error:  # noqa: BLE001 - raised by a signal handler of the user's
            self._on_loop_exit(error)
            return False

    def still(self) -> None:
        """The loop stands still from here on, on loan to the code that this thread runs next."""
        self.still_since = monotonic()
        self.place = Place.STILL
        self.desk.lend()

    def take_over(self) -> bool:
        """From any thread: let the companion run the loop, if it stands still."""
        with self._lock:
            if self.place is not Place.STILL:
                return False
            self.place = Place.AWAY
            self._parked = False
            self.takeovers += 1
            if not self._has_companion:
                self._has_companion = True
                # Not by threading.Thread, whose start waits for the thread, and which cells may have changed.
                _thread.start_new_thread(self._accompany, ())
        self._go.release()
        return True

    def release(self) -> None:
        """The code of this thread is done with the loan; the loop may still be away."""
        self.desk.take_back()

    def try_home(self) -> bool:
        """Bring the loop back to this thread if that needs no waiting; False if it is away."""
        with self._lock:
            if self.place is Place.AWAY:
                return False
            self.place = Place.HOME
            return True

    def home(self) -> None:
        """Bring the loop back to this thread; waits while a callback of it is running elsewhere."""
        if self.try_home():
            return
        if not self._is_asked_home:
            # In this order: a signal handler of the user's may raise in between. Asking twice does no harm.
            self.loop.call_soon_threadsafe(self._go_home)
            self._is_asked_home = True
        while not self._parked:
            self.wait_for_loop()
        self._back.acquire(blocking=False)  # a cancel may have ended the wait after it had succeeded
        self._is_asked_home = self._called_home = False
        self.place = Place.HOME

    def wait_for_loop(self) -> None:
        """The wait of ``home``, apart so that a cancel may end it (see interrupts)."""
        self._back.acquire()

    def wait_elsewhere(self, future: Any) -> Any:
        """``run_until_complete`` for code that has the loop on loan: the companion runs it."""
        self.take_over()
        waiting = asyncio.run_coroutine_threadsafe(_wait(future), self.loop)
        try:
            return waiting.result()
        finally:
            waiting.cancel()  # does nothing to a future that is done

    def _go_home(self) -> None:
        """In the loop, of the companion or, if asked too often, back at home already."""
        if not self._parked:
            self._called_home = True
            self.loop.stop()

    def _accompany(self) -> None:
        self._prepare_thread()
        _name_this_thread("stateroom-companion")
        while True:
            self._go.acquire()
            while not self._called_home:  # a callback of the user's may stop the loop as well
                self._run()
            self._parked = True
            if self._back.locked():  # a cancel may have left it open
                self._back.release()

    def _run(self) -> None:
        """One ``run_forever``; what tears the loop out of it is reported, never passed on."""
        try:
            self.loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - SystemExit or KeyboardInterrupt of a task or callback
            self._on_loop_exit(error)


def _name_this_thread(name: str) -> None:
    """For user code that asks; a cell may have taken away what that needs (``sys.stderr``, for one)."""
    try:
        current_thread().name = name
    except Exception:  # noqa: BLE001, S110
        pass


def _closed_gate() -> threading.Lock:
    """A lock that is taken: releasing it lets one waiter through."""
    gate = threading.Lock()
    gate.acquire()
    return gate


async def _wait(future: Any) -> Any:
    return await future

"""One soak: its cabins, its pools, and the census that all of them stop for."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
import traceback
import tracemalloc
from pathlib import Path
from random import Random

from cabins import IMPATIENT, Cabin, common_settings
from census import family, leaks, memory_leak, slope_bytes_per_min, take_census
from figures import Figures
from logs import LogGuard
from rich.console import Console
from steps import take_step
from watchdog import Watchdog, dump_everything

import stateroom

__all__ = ["Soak"]

MOST_FAILURES = 5
CENSUSES = 8
CENSUS_EVERY_S = 60.0
SETTLE_S = 20.0


class Soak:
    """Runs the cabins for the given time, and collects what goes wrong."""

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console) -> None:
        self.seed: int = options.seed
        self.run_id = os.environ["SOAK_RUN"]
        self.figures = Figures()
        self.log = LogGuard()
        self.failures: list[str] = []
        self._console = console
        self._folder = folder
        self._seconds = options.minutes * 60
        self._limit_s: float = options.limit
        chosen = {int(word) for word in options.cabins.split(",")} if options.cabins else None
        self._cabins = [
            Cabin(index, self.seed, self.figures, str(folder / "stores"))
            for index in range(options.sessions)
            if chosen is None or index in chosen
        ]
        self._since: dict[Cabin, float] = {}
        self._snapshots: list[tracemalloc.Snapshot] = []
        self._pools: list[stateroom.SessionPool] = []
        self._over = False
        self._halt: asyncio.Barrier | None = None
        self._started = time.monotonic()

    def __repr__(self) -> str:
        return f"<Soak seed={self.seed} cabins={len(self._cabins)} failures={len(self.failures)}>"

    def say(self, text: str) -> None:
        """A line of what is going on."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def fail(self, text: str) -> None:
        """Something does not hold."""
        self.failures.append(text)
        self.say(f"FAILED (seed {self.seed}, after {self._at_s():.0f} s): {text}")
        if len(self.failures) >= MOST_FAILURES:
            self._over = True

    async def run(self) -> None:
        """From the first session to the last."""
        self.log.install()
        watchdog = Watchdog(self._limit_s, self._pids)
        watchdog.start()
        await self._open_pools()
        self._started = time.monotonic()
        lives = [asyncio.create_task(self._live(cabin), name=repr(cabin)) for cabin in self._cabins]
        minders = [
            asyncio.create_task(self._mind(watchdog, lives)),
            asyncio.create_task(self._count_now_and_then()),
        ]
        await asyncio.wait([*lives, minders[1]], return_when=asyncio.FIRST_EXCEPTION)
        self._over = True
        await asyncio.wait(lives)
        for minder in minders:
            minder.cancel()
        for what in await asyncio.gather(*lives, *minders, return_exceptions=True):
            if isinstance(what, Exception):
                self.fail("".join(traceback.format_exception(what)))
        await self._close_pools()
        await self._check_end()
        watchdog.stop()

    def report(self) -> int:
        """Print the figures; 1 if something failed."""
        for text in self.log.unprovoked[:10]:
            self.fail(f"logged: {text}")
        for name, count in self.log.counts.items():
            self.figures.count(f"log: {name}", count)
        self.figures.show(self._console)
        censuses = self.figures.censuses
        if len(self._snapshots) > 1:
            for difference in self._snapshots[1].compare_to(self._snapshots[0], "lineno")[:20]:
                self.say(str(difference))
        slope = slope_bytes_per_min(censuses[max(1, len(censuses) // 5) :])
        self.say(f"memory of the client: {slope / 1e6:+.3f} MB/min after the warm-up")
        self.say(
            f"seed {self.seed}: {len(self.failures)} failures" if self.failures else f"seed {self.seed}: ok"
        )
        return 1 if self.failures else 0

    # The cabins

    async def _live(self, cabin: Cabin) -> None:
        step, closes_at = 0, 0
        while not self._over or self._halt is not None:  # others wait at the barrier
            self._since[cabin] = time.monotonic()
            try:
                if self._halt is not None:
                    await self._stand_still(cabin)
                    continue
                dice = Random(f"{self.seed}/{cabin.index}/{step}")
                if cabin.session is None:
                    cabin.doing = "opening"
                    await self._open(cabin)
                    closes_at = step + dice.randrange(*cabin.kind.steps) if cabin.index else 1 << 60
                elif step >= closes_at:
                    cabin.doing = "closing"
                    await cabin.close()
                    continue
                await take_step(cabin, dice)
                self.figures.count("steps")
            except Exception as error:  # noqa: BLE001 - reported, and the cabin begins again
                self.fail(f"{cabin!r} step {step}: {''.join(traceback.format_exception(error))}")
                await cabin.forget()
            step += 1
        await cabin.close()
        self._since.pop(cabin, None)

    async def _open(self, cabin: Cabin) -> None:
        cabin.pool = self._pools[cabin.index % len(self._pools)]
        await cabin.open()

    async def _stand_still(self, cabin: Cabin) -> None:
        """For a census: at the barrier with the session closed, then at the barrier again."""
        cabin.doing = "closing for a census"
        cabin.saved.clear()
        if cabin.index != 0:
            await cabin.close()
        cabin.doing = "waiting for the census"
        barrier = self._halt
        assert barrier is not None
        self._since.pop(cabin, None)
        await barrier.wait()
        await barrier.wait()

    # Its surroundings

    async def _open_pools(self) -> None:
        for max_uses in (1, 3):
            settings = {
                "min_size": 2,
                "max_uses": max_uses,
                "preload": ["json", "decimal"],
                **common_settings(),
            }
            pool = stateroom.SessionPool(max_size=1 + max_uses, **IMPATIENT, **settings)
            await pool.start()
            self._pools.append(pool)

    async def _close_pools(self) -> None:
        for pool in self._pools:
            for name in ("created", "acquired", "timeouts", "start_failures", "templates_started"):
                self.figures.count(f"pool: {name}", getattr(pool.info, name))
            await pool.close()
        self._pools.clear()

    async def _mind(self, watchdog: Watchdog, lives: list[asyncio.Task[None]]) -> None:
        """Look for hangs: of the loop, and of cabins."""
        while True:
            watchdog.beat()
            self._look_for_hangs(lives)
            await asyncio.sleep(0.5)

    async def _count_now_and_then(self) -> None:
        """Call for a census at intervals, kill a template now and then, and say when it is over."""
        every_s = min(CENSUS_EVERY_S, self._seconds / CENSUSES)
        dice = Random(f"{self.seed}/templates")
        while not self._over:
            await asyncio.sleep(every_s)
            await self._hold_census()
            if self._at_s() >= self._seconds:
                self._over = True
            if dice.random() < 0.2:
                self._kill_template(dice)

    def _look_for_hangs(self, lives: list[asyncio.Task[None]]) -> None:
        now = time.monotonic()
        late = [cabin for cabin, since in self._since.items() if now - since > self._limit_s]
        if not late:
            return
        pids = [cabin.session.pid for cabin in late if cabin.session is not None and cabin.session.pid]
        self.fail(f"no end within {self._limit_s} s: {late}\n{dump_everything(pids)}")
        self._over = True
        for life in lives:
            life.cancel()

    async def _hold_census(self) -> None:
        self._halt = barrier = asyncio.Barrier(len(self._cabins) + 1)
        await barrier.wait()
        await self._settle_pools()
        await self._close_pools()
        await self._check()
        await self._open_pools()
        self._halt = None
        await barrier.wait()

    async def _check(self) -> None:
        """Count; what is too much may still be on its way out, for a moment."""
        deadline, old_hand = time.monotonic() + SETTLE_S, self._cabins[0]
        worker_blocks = await old_hand.count_blocks() if old_hand.session is not None else 0
        while True:
            census = take_census(
                self._at_s(),
                self.run_id,
                self._folder / "temporary",
                worker_pid=old_hand.session.pid if old_hand.session is not None else None,
                worker_blocks=worker_blocks,
            )
            found = leaks(self.figures.censuses[0], census) if self.figures.censuses else []
            if not found or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        self.figures.censuses.append(census)
        if tracemalloc.is_tracing():
            self._snapshots = [*self._snapshots[:1], tracemalloc.take_snapshot()]
        for leak in found:
            self.fail(f"leak: {leak}")
        if (growth := memory_leak(self.figures.censuses)) is not None:
            self.fail(f"leak: {growth}")

    async def _settle_pools(self) -> None:
        """Wait until pools have buried what came back and have their idle sessions; late helpers end too."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            infos = [pool.info for pool in self._pools]
            if all(
                (i.idle + i.kept, i.busy, i.starting, i.closing) == (i.idle + i.kept, 0, 0, 0) for i in infos
            ):
                break
            await asyncio.sleep(0.01)
        else:
            self.fail(f"the pools did not come to rest: {self._pools}")
        await asyncio.sleep(0.1)

    async def _check_end(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while (left := family(self.run_id)) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if left:
            self.fail(f"processes are left: {left}")
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            self.fail(f"tasks are left: {tasks}")

    def _kill_template(self, dice: Random) -> None:
        pid = dice.choice(self._pools).info.template_pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.figures.count("templates killed")

    def _pids(self) -> list[int]:
        sessions = [cabin.session for cabin in self._cabins if cabin.session is not None]
        return [session.pid for session in sessions if session.pid is not None]

    def _at_s(self) -> float:
        return time.monotonic() - self._started

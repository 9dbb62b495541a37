"""Sessions from the warm template beside a bare fork server, measured in turns in one run.

``python benchmarks/pool.py [ROUNDS]`` prints medians, and how many times longer a session takes than the
bare fork server: a process that forks a child for each request, which then answers framed
compile+eval on a blocking socket, without output, cancel, event loop or limits. Both have numpy
loaded beforehand. The last line is what the worker of a session at rest has in memory for itself alone.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from socket import send_fds, socketpair

import msgspec
import psutil

import stateroom
from stateroom.session.launcher import Launcher
from stateroom.session.process import spawn
from stateroom.session.template_launcher import TemplateLauncher

PRELOAD = ["numpy"]
MANY = 10
AT_REST_S = 3.0
CELL = "6 * 7"

BARE_SERVER = """
import gc, os, signal, socket, sys
import msgspec, numpy

def serve(sock):
    stream = sock.makefile("rb")
    namespace = {}
    while len(head := stream.read(4)) == 4:
        code = msgspec.msgpack.decode(stream.read(int.from_bytes(head, "big")))
        data = msgspec.msgpack.encode(repr(eval(compile(code, "<cell>", "eval"), namespace)))
        sock.sendall(len(data).to_bytes(4, "big") + data)

control = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
gc.collect()
gc.freeze()
while True:
    data, fds, _, _ = socket.recv_fds(control, 1, 1)
    if not data:
        break
    if os.fork() == 0:
        control.close()
        serve(socket.socket(fileno=fds[0]))
        os._exit(0)
    os.close(fds[0])
"""


class BareServer:
    """The fork server of comparison."""

    def __init__(self) -> None:
        self._control, theirs = socketpair()
        command = [sys.executable, "-c", BARE_SERVER, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    async def first_results(self, count: int = 1) -> float:
        """Fork children at once and evaluate the cell in each: seconds, their end not counted."""
        started = time.perf_counter()
        with ExitStack() as stack:
            await asyncio.gather(*[self._one(stack) for _ in range(count)])
            return time.perf_counter() - started

    async def _one(self, stack: ExitStack) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socketpair()
        stack.enter_context(ours)
        ours.setblocking(False)
        with theirs:
            send_fds(self._control, [b"f"], [theirs.fileno()])
        data = msgspec.msgpack.encode(CELL)
        await loop.sock_sendall(ours, len(data).to_bytes(4, "big") + data)
        reply = await loop.sock_recv(ours, 4096)
        assert msgspec.msgpack.decode(reply[4:]) == "42"

    def close(self) -> None:
        """End the server."""
        self._control.close()
        self._process.wait()


async def first_results(launcher: Launcher, count: int = 1) -> float:
    """Start sessions at once and run the cell in each: seconds, the end of the sessions not counted."""
    started = time.perf_counter()
    sessions = [stateroom.Session(launcher=launcher) for _ in range(count)]

    async def one(session: stateroom.Session) -> None:
        await session.start()
        assert (await session.run(CELL)).value == 42

    await asyncio.gather(*map(one, sessions))
    elapsed = time.perf_counter() - started
    await asyncio.gather(*[session.close() for session in sessions])
    return elapsed


async def from_pool(pool: stateroom.SessionPool, count: int = 1) -> float:
    """Take sessions that are ready, at once, and run the cell in each: seconds."""
    started = time.perf_counter()
    done = asyncio.Barrier(count + 1)

    async def one() -> None:
        async with pool.session() as session:
            assert (await session.run(CELL)).value == 42
            await done.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
        await done.wait()
        elapsed = time.perf_counter() - started
    while pool.info.idle < pool.config.max_size:
        await asyncio.sleep(0.001)
    return elapsed


async def at_rest_bytes(launcher: TemplateLauncher) -> int:
    """Private memory (USS) of a session's worker that has run one cell and then nothing for a while."""
    async with stateroom.Session(launcher=launcher) as session:
        await session.run(CELL)
        await asyncio.sleep(AT_REST_S)
        return int(psutil.Process(session.pid).memory_full_info().uss)


async def measure(rounds: int) -> None:
    """All measures in turns, then the table."""
    bare = BareServer()
    launcher = TemplateLauncher(stateroom.SessionConfig(), PRELOAD)
    await launcher.start()
    async with stateroom.SessionPool(size=MANY, preload=PRELOAD) as pool:
        measures: dict[str, Callable[[], Awaitable[float]]] = {
            "bare fork server, first result": bare.first_results,
            "session from the template, first result": lambda: first_results(launcher),
            "session that is ready in a pool": lambda: from_pool(pool),
            "spawned session, first result": lambda: first_results(spawn),
            f"bare fork server, {MANY} at once": lambda: bare.first_results(MANY),
            f"session from the template, {MANY} at once": lambda: first_results(launcher, MANY),
            f"sessions that are ready, {MANY} at once": lambda: from_pool(pool, MANY),
        }
        for measure in measures.values():
            await measure()  # once to warm up
        times: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(rounds):
            for name, measure in measures.items():
                times[name].append(await measure())
    base = 0.0
    for name, taken in times.items():
        median = statistics.median(taken)
        base = median if name.startswith("bare") else base
        print(f"{name:45} {median * 1000:8.2f} ms {median / base:8.2f}x  best {min(taken) * 1000:.2f}")
    print(f"{'private memory of a session at rest':45} {await at_rest_bytes(launcher) / 1e6:8.2f} MB")
    await launcher.close(grace_s=2)
    bare.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 30))

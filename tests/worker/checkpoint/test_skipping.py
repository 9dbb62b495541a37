"""What cannot be saved is left out and named; everything else is saved."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest

from stateroom.errors import CheckpointError
from stateroom.worker import interrupts
from stateroom.worker.checkpoint import write_checkpoint

UNSAVABLE = """
import socket, sqlite3, subprocess, sys, threading, concurrent.futures
lock = threading.Lock()
generator = (i for i in [1])
process = subprocess.Popen(["true"])
process.wait()
file = open(__file__)
binary = open(__file__, "rb")
sock = socket.socket()
connection = sqlite3.connect(":memory:")
thread = threading.Thread()
executor = concurrent.futures.ThreadPoolExecutor()
frame = sys._getframe()
async def coroutine_function(): pass
coroutine = coroutine_function()
nested = {"config": [1, {"generator": generator}]}
class Holder:
    def __init__(self): self.lock = threading.Lock(); self.lock.acquire()
holder = Holder()
def close(): return lock
def make():
    inner = process
    def closure(): return inner
    return closure
closure = make()
"""

REASONS = {
    "lock": "a lock",
    "generator": "a generator: its state cannot be saved",
    "process": "a process",
    "file": "an open file: open it again after the restore",
    "binary": "an open file: open it again after the restore",
    "sock": "a socket: open it again after the restore",
    "connection": "a connection to a database: open it again after the restore",
    "thread": "a thread",
    "executor": "an executor: its workers belong to this process",
    "frame": "a frame of running code",
    "coroutine": "a coroutine: its state cannot be saved",
    "nested": "its ['config'][1]['generator']: a generator: its state cannot be saved",
    "holder": "its .lock: a lock",
    "closure": "its .<closure>.inner: a process",
}


def test_K2_what_cannot_be_saved_is_named_with_the_reason(main, new_main):
    main.namespace["__file__"] = __file__
    main.run(UNSAVABLE + "kept = [1, 2]")
    try:
        blob = main.save()
    finally:
        main.run("file.close(); binary.close(); sock.close(); connection.close(); coroutine.close()")
    assert main.checkpoint.header.skipped == REASONS
    other = new_main()
    report = other.restore(blob)
    assert report.skipped == REASONS
    assert report.failed == {}
    assert other.get("kept") == [1, 2]
    assert other.get("Holder.__name__, close.__name__") == ("Holder", "close")


HELD = """
import queue, threading
class Cache:
    lock = threading.Lock()
    def __init__(self):
        self.own, self.same, self.again = threading.Lock(), Cache.lock, threading.RLock()
        self.ready = threading.Event(); self.ready.set()
        self.changed = threading.Condition(self.own)
cache = Cache()
jobs = queue.Queue(); jobs.put("one")
"""


def test_a_lock_that_nobody_holds_comes_back_as_a_new_one(main, new_main):
    main.run(HELD)
    blob = main.save()
    assert main.checkpoint.header.skipped == {}
    other = new_main()
    other.restore(blob)
    assert other.get("jobs.get_nowait(), cache.ready.is_set()") == ("one", True)
    assert other.get("cache.same is Cache.lock, cache.same is cache.own") == (True, False)
    assert other.get("cache.own.acquire(blocking=False), cache.changed.acquire(blocking=False)") == (
        True,
        False,
    )
    assert other.get("cache.again.acquire(), cache.again.acquire()") == (True, True)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_lock_that_somebody_holds_is_left_out_with_what_holds_it(main, kind):
    main.run(
        f"import threading\nclass Box: pass\nbox = Box(); box.lock = threading.{kind}(); box.lock.acquire()"
    )
    main.save()
    assert main.checkpoint.header.skipped == {"box": "its .lock: a lock"}


LOADED = """
import concurrent.futures, threading
class Base:
    def name(self): return "base"
class Client(Base):
    executor = concurrent.futures.ThreadPoolExecutor()
    before = (1, [threading.current_thread()])
    limit = 5
    @classmethod
    def make(cls): return cls()
    @property
    def two(self): return 2
    def name(self): return "client of " + super().name()
class Other:
    lines = (line for line in ())
    client = Client()
client = Client()
client.size = 3
"""


def test_K2_a_class_is_saved_without_the_members_that_cannot_be(main, new_main):
    main.run(LOADED)
    blob = main.save()
    reasons = {
        "Client.executor": "an executor: its workers belong to this process",
        "Client.before": "its [1][0]: a thread",
        "Other.lines": "a generator: its state cannot be saved",
    }
    assert main.checkpoint.header.skipped == reasons
    other = new_main()
    assert other.restore(blob).skipped == reasons
    assert other.get(
        "client.size, client.limit, client.two, client.name(), type(client.make()) is Client"
    ) == ((3, 5, 2, "client of base", True))
    assert other.get("[hasattr(Client, name) for name in ('executor', 'before')]") == [False, False]
    assert other.get("type(Other.client) is Client")


async def test_K2_a_running_task(main):
    task = asyncio.create_task(asyncio.sleep(60))
    main.namespace.update(task=task, loop=asyncio.get_running_loop(), x=1)
    main.save()
    task.cancel()
    assert main.checkpoint.header.skipped == {
        "task": "a task: it belongs to the running loop",
        "loop": "an event loop",
    }


HOSTILE = [
    ("raise SystemExit(3)", "SystemExit: 3"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise __import__('asyncio').CancelledError", "asyncio.exceptions.CancelledError"),
    ("raise MemoryError('no')", "MemoryError: no"),
    ("raise TimeoutError", "TimeoutError"),
    ("raise type('Rude', (Exception,), {'__str__': lambda self: 1/0})", "__main__.Rude"),
    ("raise ValueError('\\ud800' + 'long' * 1000)", "ValueError: \\ud800longlong"),
    ("return 5", "must return a string or tuple"),
    ("return 'no_such_global'", "no_such_global"),
    ("return Bad, ()  # for ever new ones", "nested too deeply"),
    ("return list, (), None, iter(int, 1)", "longer than 1 s"),
    ("return list, (), None, iter(object, 1)", "longer than 1 s"),
    ("x = []\n        for i in range(100000): x = [x]\n        return list, (x,)", "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), HOSTILE)
def test_K2_whatever_a_reduction_does(main, body, reason):
    if "Bad, ()" in body:
        body = "return (lambda *a: 0), (Bad(),)"
    main.run(f"a = 1\nclass Bad:\n    def __reduce__(self):\n        {body}\nbad = Bad()\nz = [2]")
    main.save(timeout_s=1 if "longer" in reason else 60)
    skipped = main.checkpoint.header.skipped
    assert list(skipped) == ["bad"]
    assert reason in skipped["bad"]
    assert len(skipped["bad"]) < 400
    assert {entry.name for entry in main.checkpoint.header.entries} == {"a", "z", "Bad"}


def test_K2_where_it_is_is_found_without_asking_anybody(main):
    main.run(
        "import threading\nasked = []\nclass Asks:\n"
        "    def __getattribute__(self, name): asked.append(name)\n"
        "bad = [[[threading.Lock()]], Asks()]\nbad[0][0][0].acquire()"
    )
    main.save()
    assert main.checkpoint.header.skipped["bad"] == "its [0][0][0]: a lock"
    assert main.get("asked") == []


def test_K2_a_recursion_limit_that_was_raised_far(main):
    limit = sys.getrecursionlimit()
    main.run("deep = []\nfor i in range(500_000): deep = [deep]\ni = 0")
    try:
        sys.setrecursionlimit(10**9)
        main.save()
        assert sys.getrecursionlimit() == 10**9
    finally:
        sys.setrecursionlimit(limit)
    assert main.checkpoint.header.skipped == {"deep": "it is nested too deeply"}


def test_K2_a_stream_that_grows_without_end(main):
    main.run(
        "class Bad:\n    def __reduce__(self): return list, (), None, (str(i) for i in range(10**12))\nbad = Bad()"
    )
    main.save(max_stream_bytes=1_000_000)
    assert main.checkpoint.header.skipped == {"bad": "it takes more than 1000000 bytes to pickle"}


def test_large_bytes_do_not_count_as_stream(main):
    main.run("big = b'x' * 3_000_000\nmutable = bytearray(big)")
    main.save(max_stream_bytes=1_000_000)
    assert main.checkpoint.header.skipped == {}


def test_offenders_are_found_in_few_passes(main):
    main.run("""
calls = []
class Counted:
    def __reduce__(self):
        calls.append(1)
        return Counted, ()
counted = Counted()
for i in range(50): globals()[f"bad{i}"] = [(x for x in ())]
""")
    main.save()
    assert len(main.checkpoint.header.skipped) == 50
    assert len(main.get("calls")) <= 3


def test_names_that_no_cell_could_write(main):
    main.namespace.update({"\ud800": 1, "fine": 2})
    main.namespace[5] = 3
    main.save()
    assert sorted(main.checkpoint.header.skipped) == ["'\\ud800'", "5"]


def test_a_value_that_changes_meanwhile_is_tried_again(main):
    main.run("""
class Grows:
    calls = 0
    def __reduce__(self):
        Grows.calls += 1
        if Grows.calls == 1: data["new"] = 1
        return Grows, ()
data = {i: Grows() for i in range(3)}
other = 1
""")
    main.save()
    assert "data" in main.checkpoint.header.skipped or main.checkpoint.header.skipped == {}
    assert "other" in {entry.name for entry in main.checkpoint.header.entries}


def test_a_cancel_ends_it_and_lets_go(main):
    handler = compile("def raise_it(): raise CancelledError('cancelled')", interrupts.__file__, "exec")
    exec(handler, scope := {"CancelledError": asyncio.CancelledError})
    main.namespace["raise_it"] = scope["raise_it"]
    main.run("class Slow:\n    def __reduce__(self): raise_it()\nslow = Slow()\nbuffer = bytearray(10**6)")
    with pytest.raises(asyncio.CancelledError):
        write_checkpoint(main.manager)
    main.get("buffer").extend(b"resized: nobody holds it")


def test_buffers_are_let_go_after_the_last_chunk(main):
    main.run("buffer = bytearray(10**6)")
    main.save()
    main.get("buffer").extend(b"x")
    checkpoint = write_checkpoint(main.manager)
    with pytest.raises(BufferError):
        main.get("buffer").extend(b"x")
    checkpoint.release()
    main.get("buffer").extend(b"x")
    with pytest.raises(CheckpointError, match="sent or released"):
        next(checkpoint.chunks())


def test_a_thread_that_changes_a_buffer_does_not_spoil_the_digest(main):
    main.run("buffer = bytearray(8 << 20)")
    buffer, stop = main.get("buffer"), threading.Event()

    def scribble():
        number = 0
        while not stop.is_set():
            number += 1
            buffer[:: 1 << 16] = bytes([number % 256]) * len(buffer[:: 1 << 16])

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        blob = main.save()
    finally:
        stop.set()
        thread.join()
    assert main.restore(blob).failed == {}


def test_the_header_says_when_and_with_what(main):
    before = time.time()
    main.run("x = 1\nclass C: pass")
    main.save()
    header = main.checkpoint.header
    assert before <= header.created_at <= time.time()
    assert header.python == ".".join(map(str, sys.version_info[:3]))
    assert set(header.packages) == {"cloudpickle"}
    assert repr(main.checkpoint).startswith("<Checkpoint saved=2 skipped=0 total_bytes=")

"""Output that goes another way than it usually does, or comes at an odd time."""

import asyncio
import sys

import pytest

import stateroom

DETOURS = {
    "descriptor 1 replaced": (
        ("import os\nread, write = os.pipe(); kept = os.dup(1)\nos.dup2(write, 1)\nprint('python'); os.write(1, b'raw')\n"
        "os.dup2(kept, 1); os.close(write); os.close(kept)\nprint('caught', os.read(read, 99)); os.close(read)"),
        "python\ncaught b'raw'\n",
    ),
    "descriptor 1 is a file": (
        ("import os, tempfile\nkept = os.dup(1)\nwith tempfile.TemporaryFile() as file:\n    os.dup2(file.fileno(), 1)\n"
        "    os.system('echo child'); print('python')\n    os.dup2(kept, 1); os.close(kept)\n    file.seek(0); print(file.read())"),
        "python\nb'child\\n'\n",
    ),
    "StringIO": (
        ("import io, sys\nkept, sys.stdout = sys.stdout, io.StringIO()\nprint('hidden')\ntext = sys.stdout.getvalue()\n"
        "sys.stdout = kept\nprint(repr(text))"),
        "'hidden\\n'\n",
    ),
    "redirect_stdout": (
        ("import contextlib, io\nouter, inner = io.StringIO(), io.StringIO()\nwith contextlib.redirect_stdout(outer):\n"
        "    print('outer')\n    with contextlib.redirect_stdout(inner): print('inner')\n    print('outer again')\n"
        "print([outer.getvalue(), inner.getvalue()])"),
        "['outer\\nouter again\\n', 'inner\\n']\n",
    ),
    "redirect to stderr and back": (
        "import contextlib, sys\nwith contextlib.redirect_stderr(sys.stdout): print('moved', file=sys.stderr)\nprint('here')",
        "moved\nhere\n",
    ),
    "flush": ("print('a', end='', flush=True); print('b', flush=True)", "ab\n"),
    "writelines": ("import sys\nsys.stdout.writelines(['a\\n', 'b\\n'])", "a\nb\n"),
    "a copy of the descriptor": ("import os\nwith open(os.dup(1), 'w') as file: print('copy', file=file)", "copy\n"),
    "/dev/stdout": ("with open('/dev/stdout', 'w') as file: file.write('device\\n')", "device\n"),
    "a subclass of str": (
        "import sys\nclass Text(str):\n    def __str__(self): return 'told'\nprint(Text('own')); sys.stdout.write(Text('own\\n'));",
        "told\nown\n",
    ),
    "a finalizer": ("class Last:\n    def __del__(self): print('last words')\nlast = Last(); del last", "last words\n"),
    "an executor": (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool: list(pool.map(print, 'ab'))",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "text"), DETOURS.values(), ids=DETOURS)
async def test_O1_detours(way, code, text):
    result = await way.run(code, check=True, any_mode=True)
    assert sorted(result.stdout) == sorted("a\nb\n") if text is None else result.stdout == text
    assert result.stderr == ""
    assert (await way.session.run("print('straight')")).stdout == "straight\n"


async def test_O1_a_stream_that_a_cell_leaves_in_its_place_stays_there(session):
    await session.run(
        "import io, sys\nkept, sys.stdout = sys.stdout, io.StringIO()\nprint('one')", check=True
    )
    assert (await session.run("print('two')")).stdout == ""
    result = await session.run("text = sys.stdout.getvalue()\nsys.stdout = kept\nprint('three')\ntext")
    assert (result.stdout, result.value) == ("three\n", "one\ntwo\n")


async def test_O1_a_handler_keeps_the_stream_that_it_was_made_with(session):
    await session.run("import io, logging, sys\nlogging.basicConfig(force=True)", check=True)
    await session.run("kept, sys.stderr = sys.stderr, io.StringIO()", check=True)
    result = await session.run("logging.warning('to the old one'); print('to the new one', file=sys.stderr)")
    assert result.stderr == "WARNING:root:to the old one\n"
    result = await session.run(
        "text = sys.stderr.getvalue(); sys.stderr = kept\nlogging.error('again')\ntext"
    )
    assert (result.stderr, result.value) == ("ERROR:root:again\n", "to the new one\n")


@pytest.mark.parametrize("write", ["os.write(1, {!r})", "sys.stdout.buffer.write({!r})", "os.write(2, {!r})"])
async def test_O5_a_character_that_is_never_completed_is_in_the_result_of_its_cell(session, write):
    result = await session.run("import os, sys\n" + write.format(b"ab\xe2\x82") + ";", check=True)
    assert result.stdout + result.stderr == "ab\ufffd"
    assert (await session.run("print('next')")).stdout == "next\n"


async def test_O5_a_character_that_comes_in_pieces_is_one(session):
    code = "import os\nfor byte in '€😀'.encode(): os.write(1, bytes([byte]))"
    assert (await session.run(code)).stdout == "€😀"
    result = await session.run(
        "import subprocess\nsubprocess.run(['printf', '\\\\342']); subprocess.run(['printf', '\\\\202\\\\254']);"
    )
    assert result.stdout == "€"


async def test_O3_what_is_written_while_the_session_closes_arrives():
    late = []
    async with stateroom.Session() as session:
        session.on_late_output = lambda message: late.append(message.data)
        await session.run(
            "import asyncio, atexit, os\natexit.register(lambda: (print('at exit'), os.write(1, b'raw\\n')))\n"
            "async def tidy():\n    try: await asyncio.sleep(100)\n    finally: print('task ended')\n"
            "task = asyncio.create_task(tidy())\nawait asyncio.sleep(0)",
            check=True,
        )
    assert "".join(late) == "task ended\nat exit\nraw\n"


FLOOD = """
def flood():
    while True: print('on and on')
"""
HOG = """
lock = sys.stdout._output._lock
def flood():  # is nearly always where a thread that prints is now and then
    print('on')
    while True:
        with lock: time.sleep(0.002)
        time.sleep(0)
"""


@pytest.mark.parametrize("flood", [FLOOD, HOG], ids=["flood", "hog"])
async def test_O3_threads_that_go_on_printing_do_not_hold_the_end_up(flood):
    """They are stopped wherever they are as the interpreter ends, mostly inside of a print."""
    async with stateroom.Session(close_grace_s=10) as session:
        printed = asyncio.Event()
        session.on_late_output = lambda _: printed.set()
        await session.run(
            f"import sys, threading, time\n{flood}for _ in range(5): threading.Thread(target=flood, daemon=True).start()",
            on_output=lambda _: printed.set(),
        )
        await printed.wait()
    assert session.info.last_exit.endswith("exited with status 0")


async def test_O3_much_that_is_written_at_the_end_arrives():
    late = []
    async with stateroom.Session() as session:
        session.on_late_output = lambda message: late.append(message.data)
        await session.run("import atexit; atexit.register(lambda: print('x' * 20_000_000))", check=True)
    assert len("".join(late)) == 20_000_001


async def test_O2_a_limit_holds_for_a_flood_of_a_hundred_megabytes(session):
    async with stateroom.Session(max_output_bytes=1000) as session:
        seen = []
        code = "import os\nblock = b'x' * 1_000_000\nfor _ in range(50): print('y' * 1_000_000); os.write(1, block)\n7"
        result = await session.run(code, on_output=seen.append, check=True)
        assert result.value == 7
        assert sum(len(message.data) for message in seen) < 1200
        assert result.notes == [
            "output cut: 99999050 bytes with 50 line ends left out, max_output_bytes is 1000"
        ]


@pytest.mark.skipif(sys.platform != "linux", reason="kills a group of processes by its id")
async def test_O1_a_child_that_keeps_the_pipes_does_not_hold_the_end_up():
    async with stateroom.Session(close_grace_s=30) as session:
        code = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\nprint('on')\nchild.pid"
        result = await session.run(code, check=True)
        assert result.stdout == "on\n"
        assert (await session.run("print('next')")).stdout == "next\n"
        await session.run("import atexit; atexit.register(child.kill)")
    assert session.info.last_exit.endswith("exited with status 0")

"""``stateroom run FILE``: what a script prints, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
ENDINGS = {
    "well": "1 + 1",
    "an error": "1/0",
    "an error in a function": "def f():\n    raise ValueError('no')\nf()",
    "a chain of errors": "try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "a syntax error": "x = = 1",
    "an unclosed bracket": "x = (1,\n",
    "exit with nothing": "import sys; sys.exit()",
    "exit with None": "raise SystemExit(None)",
    "exit with 0": "raise SystemExit(0)",
    "exit with 3": "raise SystemExit(3)",
    "exit with -1": "raise SystemExit(-1)",
    "exit with words": "import sys; sys.exit('not today')",
    "exit with digits in a string": "raise SystemExit('3')",
    "exit with two things": "raise SystemExit(1, 2)",
    "exit with True": "raise SystemExit(True)",
    "exit from a function": "def f():\n    exit(4)\nf()",
}


def test_prints_what_the_script_prints_and_the_last_value(stateroom, script):
    done = stateroom("run", script("print('one')\n6 * 7\n"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n42\n", "")


@pytest.mark.parametrize(
    ("code", "shown"), [("None", ""), ("'a'", "'a'\n"), ("x = 1", ""), ("'None'", "'None'\n")]
)
def test_a_value_is_shown_as_the_interactive_python_shows_it(stateroom, script, code, shown):
    assert stateroom("run", script(code)).stdout == shown


def test_awaits_at_the_top_level(stateroom, script):
    done = stateroom("run", script("import asyncio\nawait asyncio.sleep(0, 'slept')"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "'slept'\n", "")


@pytest.mark.parametrize("code", ENDINGS.values(), ids=ENDINGS)
def test_ends_as_python_does(stateroom, script, code):
    path = script(code)
    python = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    done = stateroom("run", path)
    assert (done.returncode, done.stderr) == (python.returncode, python.stderr)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_script_that_a_signal_kills_ends_as_a_shell_says_it(stateroom, script, number):
    done = stateroom("run", script(f"import os, signal\nos.kill(os.getpid(), {int(number)})\nsignal.pause()"))
    assert done.returncode == 128 + number
    assert number.name in done.stderr


def test_a_script_that_leaves_at_once_gives_its_status(stateroom, script):
    assert stateroom("run", script("import os\nos._exit(7)")).returncode == 7


def test_a_keyboard_interrupt_of_its_own(stateroom, script):
    done = stateroom("run", script("raise KeyboardInterrupt"))
    assert done.returncode == 130
    assert done.stderr.endswith("KeyboardInterrupt\n")


def test_output_and_errors_keep_apart(stateroom, script):
    done = stateroom(
        "run", script("import os, sys\nprint('out')\nprint('err', file=sys.stderr)\nos.write(2, b'raw')\n0;")
    )
    assert (done.stdout, done.stderr) == ("out\n", "err\nraw")


def test_is_a_script_to_itself(stateroom, script):
    script("name = 'beside'", "neighbour_of_script.py")
    path = script("import sys, neighbour_of_script as n\n(__name__, __file__, sys.argv, sys.path[0], n.name)")
    done = stateroom("run", path, "a", "--flag", "-x", "--version", "--", "b")
    argv = [path, "a", "--flag", "-x", "--version", "--", "b"]
    assert done.stdout == f"{('__main__', path, argv, str(Path(path).parent), 'beside')}\n"


def test_output_arrives_while_the_script_runs(start, script):
    running = start("run", script("print('asking', end='')\ninput()\nprint('answered')"))
    running.expect("asking")
    running.type("\n")
    running.expect("answered")
    assert running.wait() == 0


def test_dash_reads_the_code_from_standard_input(stateroom):
    done = stateroom("run", "-", "a", stdin="import sys\nsys.argv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "['-', 'a']\n", "")


def test_dash_leaves_no_input_for_the_code(stateroom):
    done = stateroom("run", "-", stdin="input()")
    assert done.returncode == 1
    assert done.stderr.endswith("\nEOFError: EOF when reading a line\n")


def test_an_empty_script(stateroom, script):
    done = stateroom("run", script(""))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("# coding: latin-1\n'\xe4'".encode("latin-1"), "'\xe4'\n"),
        (b"\xef\xbb\xbf'bom'", "'bom'\n"),
        (b"x = 1\r\nx\r\n", "1\n"),
    ],
    ids=["coding comment", "BOM", "CRLF"],
)
def test_source_is_decoded_as_python_decodes_it(stateroom, script, text, value):
    assert stateroom("run", script(text)).stdout == value


@pytest.mark.parametrize("text", [b"'\xff'", b"# coding: klingon\n1"], ids=["not UTF-8", "unknown coding"])
def test_source_that_cannot_be_decoded(stateroom, script, text):
    path = script(text)
    done = stateroom("run", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"stateroom: can't decode {path!r}: ")


def test_files_that_cannot_be_read(stateroom, tmp_path):
    for path in (tmp_path / "missing.py", tmp_path):
        done = stateroom("run", str(path))
        assert done.returncode == 2
        assert done.stderr.startswith(f"stateroom: can't open file {str(path)!r}: ")


def test_a_reader_that_leaves_ends_the_script_without_a_word(command, script):
    code = "import itertools\nfor n in itertools.count(): print(n)"
    with subprocess.Popen(
        [command, "run", script(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 128 + signal.SIGPIPE)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(command):
    with FULL.open("w") as full:
        done = subprocess.run(
            [command, "exec", "1"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "stateroom: cannot write to standard output: No space left on device\n"


SEES = "import os, sys; sys.stdout.isatty(), sys.stderr.isatty(), 'COLUMNS' in os.environ"


def test_a_script_sees_whether_a_terminal_shows_its_output(stateroom, start_in_terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")  # readline sets it behind the back of os.environ
    monkeypatch.delenv("COLUMNS")
    assert stateroom("exec", SEES).stdout == "(False, False, False)\n"
    start_in_terminal("exec", SEES).expect(r"\(True, True, True\)")

"""``stateroom exec``, the options, and the command without its extra."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_exec_prints_the_value(stateroom):
    done = stateroom("exec", "6 * 7")
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


def test_exec_of_an_error(stateroom):
    done = stateroom("exec", "print('before')\n1/0")
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("\nZeroDivisionError: division by zero\n")
    assert "stateroom" not in done.stderr.replace("stateroom exec", "")


def test_exec_of_several_lines_with_an_await(stateroom):
    assert stateroom("exec", "import asyncio\nx = await asyncio.sleep(0, 5)\nx + 1").stdout == "6\n"


def test_what_a_cell_displays_is_shown_as_text_where_it_was_displayed(stateroom):
    code = """
print("before")
display([1])
display({"image/png": b"12345", "text/html": "<b>"}, raw=True)
print("after")
for _ in stateroom.progress(range(2)): pass
"""
    done = stateroom("exec", "import stateroom\n" + code)
    shown = "<displayed: image/png, 5 bytes; text/html>"
    assert (done.stdout.splitlines(), done.stderr) == (["before", "[1]", shown, "after"], "")


def test_exec_takes_code_that_looks_like_an_option_after_a_double_dash(stateroom):
    assert stateroom("exec", "--", "-1").stdout == "-1\n"


def test_version(stateroom):
    done = stateroom("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"stateroom {importlib.metadata.version('stateroom')} (Python 3.")


@pytest.mark.parametrize("arguments", [["run"], ["exec"], ["sail"], ["--speed"]])
def test_wrong_use_is_status_2_and_says_how(stateroom, arguments):
    done = stateroom(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: stateroom" in done.stderr


def test_without_its_extra_the_command_says_what_to_install():
    done = python("import sys; sys.modules['typer'] = None; from stateroom.frontends.cli import main; main()")
    assert done.returncode == 1
    assert done.stderr == "the stateroom command needs typer: pip install 'stateroom[cli]'\n"


def test_the_entry_point_loads_nothing_heavy():
    code = "import sys, stateroom.frontends.cli; print({'asyncio', 'rich', 'typer'} & {*sys.modules})"
    assert python(code).stdout == "set()\n"

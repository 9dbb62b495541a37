"""``stateroom run --durable`` and ``stateroom inputs``."""

from __future__ import annotations

import os
import re
import signal

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("typer", reason="the stateroom command needs typer")

CELLS = (
    "import sys\nprint('one', sys.argv[1:], __file__[-9:])\nx = 20\n# %%\nprint('two')\nx += 1\n# %%\nx * 2\n"
)
ASKS = "a = 1\n# %%\nname = input('who? ')\n# %%\nprint('hello', name)\n"


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "state.db")


def test_a_run_prints_what_a_script_prints_and_once(stateroom, script, store):
    path = script(CELLS)
    first = stateroom("run", "--durable", store, path, "a", "--b")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "one ['a', '--b'] script.py\ntwo\n42\n"
    again = stateroom("run", "--durable", store, path, "a", "--b")
    assert (again.returncode, again.stdout) == (0, "42\n")
    assert "3 of 3 cells were finished before" in again.stderr


def test_a_changed_file_is_refused(stateroom, script, store):
    stateroom("run", "--durable", store, script(CELLS))
    done = stateroom("run", "--durable", store, script(CELLS.replace("20", "30")))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"cell 1 of .*script\.py \(line 1\) is different", done.stderr)


def test_an_error_ends_the_run_with_its_status(stateroom, script, store):
    path = script("x = 1\n# %%\nimport sys\nsys.exit(3)\n# %%\nprint('never')\n")
    for _ in range(2):
        done = stateroom("run", "--durable", store, path)
        assert (done.returncode, done.stdout) == (3, "")


def test_a_traceback_has_the_lines_of_the_file(stateroom, script, store):
    done = stateroom("run", "--durable", store, script("x = 1\n# %%\n\n1/0\n"))
    assert done.returncode == 1
    assert re.search(r'script\.py", line 4, in <module>\n +1/0', done.stderr)


def test_a_file_that_is_no_store_is_left_alone(stateroom, script, store, tmp_path):
    (tmp_path / "state.db").write_text("precious")
    done = stateroom("run", "--durable", store, script("1"))
    assert done.returncode == 1
    assert "no durable store" in done.stderr
    assert (tmp_path / "state.db").read_text() == "precious"


def test_standard_input_answers(stateroom, script, store):
    done = stateroom("run", "--durable", store, script(ASKS), stdin="Ada\n")
    assert (done.returncode, done.stdout) == (0, "who? hello Ada\n")


def test_another_process_answers_while_it_runs(start, stateroom, script, store):
    running = start("run", "--durable", store, script(ASKS))
    running.expect("who[?] ")
    question = only_question(stateroom, store)
    assert stateroom("inputs", "answer", store, question, "Ada").returncode == 0
    running.expect("hello Ada")
    assert running.wait() == 0


def test_another_process_answers_when_it_is_dead(start, stateroom, script, store):
    path = script(ASKS)
    running = start("run", "--durable", store, path)
    running.expect("who[?] ")
    running.process.kill()
    running.wait()
    question = only_question(stateroom, store)
    assert stateroom("inputs", "answer", store, question, stdin="Ada\n").returncode == 0
    second = stateroom("inputs", "answer", store, question, "Eve")
    assert second.returncode == 1
    assert "answered" in second.stderr
    assert stateroom("inputs", "list", store).stdout == ""
    done = stateroom("run", "--durable", store, path)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")


def test_the_end_of_the_file_is_an_answer_too(start, stateroom, script, store):
    running = start(
        "run", "--durable", store, script("try: input('who? ')\nexcept EOFError: print('nobody')")
    )
    running.expect("who[?] ")
    assert stateroom("inputs", "answer", "--eof", store, only_question(stateroom, store)).returncode == 0
    running.expect("nobody")
    assert running.wait() == 0


def test_a_prompt_cannot_break_the_list(start, stateroom, script, store):
    running = start("run", "--durable", store, script("input('a\\tb\\n\\x1b[2J')"))
    running.expect("a")
    lines = wait_for_questions(stateroom, store)
    assert len(lines) == 1
    assert lines[0].split("\t")[2] == r"a\tb\n\x1b[2J"


def test_ctrl_c_stops_a_run_which_goes_on_later(start, stateroom, script, store):
    path = script("print('one')\n# %%\nprint('two')\ninput('who? ')\n# %%\n3")
    running = start("run", "--durable", store, path)
    running.expect("who[?] ")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 130
    assert "goes on" in running.seen
    assert only_question(stateroom, store)
    done = stateroom("run", "--durable", store, path, stdin="x\n")
    assert (done.returncode, done.stdout) == (0, "two\nwho? 3\n")


def test_a_second_run_of_one_store_is_refused(start, stateroom, script, store):
    path = script(ASKS)
    running = start("run", "--durable", store, path)
    running.expect("who[?] ")
    second = stateroom("run", "--durable", store, path)
    assert second.returncode == 1
    assert "is open in" in second.stderr
    running.type("Ada\n")
    running.expect("hello Ada")


def test_inputs_of_what_is_no_store(stateroom, store):
    for arguments in (("list", store), ("answer", store, "e:input:1", "x")):
        done = stateroom("inputs", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no durable store" in done.stderr


def test_without_the_extra_it_says_what_to_install(script, store, command, tmp_path):
    import subprocess
    import sys

    (tmp_path / "resonate.py").write_text("raise ModuleNotFoundError('no', name='resonate')")
    done = subprocess.run(
        [sys.executable, command, "run", "--durable", store, script("1")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'stateroom[durable]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_for_what_is_no_database_says_so(stateroom):
    pytest.importorskip("resonate_pg")
    done = stateroom("worker", "--dsn", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("stateroom worker: this is no address of a database")


def wait_for_questions(stateroom, store):
    """The prompt is shown a moment after its question is known."""
    done = stateroom("inputs", "list", store)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def only_question(stateroom, store):
    (line,) = wait_for_questions(stateroom, store)
    return line.split("\t")[0]

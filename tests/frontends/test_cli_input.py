"""``input()`` and ``getpass()`` of a cell, answered from a pipe, a file or a terminal."""

from __future__ import annotations

import subprocess

ASK = "name = input('name? ')\nprint('hello', name)"
ASK_SECRET = "import getpass\nword = getpass.getpass('word? ')\nprint(len(word), 'letters')"


def test_lines_of_a_pipe_answer_one_after_the_other(stateroom):
    done = stateroom("exec", "[input(), input(), input('third ')]", stdin="a\r\n\nlast without end")
    assert (done.returncode, done.stdout) == (0, "third ['a', '', 'last without end']\n")


def test_an_answer_that_comes_in_pieces(start):
    running = start("exec", ASK)
    running.expect(r"name\? ")
    running.type("A")
    running.type("da\n")
    running.expect("hello Ada")
    assert running.wait() == 0


def test_the_end_of_input_is_an_eof_error(stateroom):
    done = stateroom("exec", "input()")
    assert done.returncode == 1
    assert done.stderr.endswith("\nEOFError: EOF when reading a line\n")


def test_the_end_of_input_can_be_caught_and_the_cell_goes_on(stateroom):
    done = stateroom("exec", "try: input()\nexcept EOFError: print('caught')", stdin="")
    assert (done.returncode, done.stdout) == (0, "caught\n")


def test_input_from_a_file(command, tmp_path):
    answers = tmp_path / "answers"
    answers.write_text("Grace\n")
    with answers.open() as stdin:
        done = subprocess.run(
            [command, "exec", ASK], stdin=stdin, capture_output=True, text=True, check=False
        )
    assert done.stdout == "name? hello Grace\n"


def test_bytes_that_are_no_text_are_replaced(command):
    done = subprocess.run([command, "exec", "input()"], input=b"\xff\n", capture_output=True, check=False)
    assert done.stdout.decode() == "'\N{REPLACEMENT CHARACTER}'\n"


def test_input_from_a_terminal(start_in_terminal):
    running = start_in_terminal("exec", ASK)
    running.expect(r"name\? ")
    running.type("Ada\n")
    running.expect(r"Ada\r\nhello Ada\r\n")
    assert running.wait() == 0


def test_ctrl_d_in_a_terminal_ends_one_input_only(start_in_terminal):
    code = "try: input('first? ')\nexcept EOFError: print('none')\nprint('second:', input('second? '))"
    running = start_in_terminal("exec", code)
    running.expect(r"first\? ")
    running.type("\x04")
    running.expect(r"none\r\nsecond\? ")
    running.type("here\n")
    running.expect("second: here")
    assert running.wait() == 0


def test_a_password_is_not_shown_in_a_terminal(start_in_terminal):
    running = start_in_terminal("exec", ASK_SECRET)
    running.expect(r"word\? ")
    running.type("sesame\n")
    assert running.wait() == 0
    assert running.seen == "\r\n6 letters\r\n"


def test_ctrl_c_at_a_password_gives_the_echo_back(start_in_terminal):
    code = f"try:\n    {ASK_SECRET.splitlines()[0]}; getpass.getpass('word? ')\nfinally:\n    print('left')"
    running = start_in_terminal("exec", code)
    running.expect(r"word\? ")
    running.type("\x03")
    running.expect("left")
    assert running.wait() == 130

"""What a session and its worker tell each other in the page that they share."""

import os
import subprocess
import sys

import pytest

from stateroom.protocol.cancel_page import MAX_WITHDRAWN, CancelPage


@pytest.fixture
def pages():
    """The page as the session has it, and as the worker does."""
    session = CancelPage.create()
    worker = CancelPage(os.dup(session.fd))
    yield session, worker
    session.close()
    worker.close()


def test_a_request_names_an_execution_and_an_attempt(pages):
    session, worker = pages
    assert worker.read() == (0, 0)
    session.write((1 << 64) - 1, 3)
    assert worker.read() == ((1 << 64) - 1, 3)


def test_what_is_withdrawn_first_does_not_begin(pages):
    session, worker = pages
    assert session.withdraw(7)
    assert not worker.begin(7)
    assert worker.begin(8)


def test_what_has_begun_cannot_be_withdrawn(pages):
    session, worker = pages
    assert worker.begin(7)
    assert not session.withdraw(7)


def test_numbers_need_not_come_in_order(pages):
    session, worker = pages
    assert worker.begin(50)
    assert session.withdraw(9)
    assert worker.begin(8)
    assert session.withdraw(10)
    assert [worker.begin(number) for number in (9, 10, 11)] == [False, False, True]


def test_withdrawing_does_not_touch_a_request(pages):
    session, worker = pages
    session.write(3, 1)
    session.withdraw(4)
    worker.begin(3)
    assert worker.read() == (3, 1)


def test_what_comes_before_one_that_has_begun_has_ended_and_cannot_be_withdrawn(pages):
    session, worker = pages
    assert worker.begin(7)
    assert worker.begin(9)
    assert not session.withdraw(7, behind=9)


def test_what_comes_before_one_that_has_not_begun_can_be_withdrawn(pages):
    session, worker = pages
    assert worker.begin(5)
    assert session.withdraw(7, behind=9)
    assert not worker.begin(7)
    assert worker.begin(9)


def test_as_many_as_may_be_are_all_remembered(pages):
    session, worker = pages
    numbers = range(1, MAX_WITHDRAWN + 1)
    for number in numbers:
        assert session.withdraw(number)
    assert [worker.begin(number) for number in numbers] == [False] * MAX_WITHDRAWN


def test_attempts_to_withdraw_what_has_begun_displace_nothing(pages):
    session, worker = pages
    assert worker.begin(1)
    assert session.withdraw(2)
    for _ in range(2 * MAX_WITHDRAWN):
        assert not session.withdraw(1)
    assert not worker.begin(2)


WORKER = """
import sys
from stateroom.protocol.cancel_page import MAX_WITHDRAWN, CancelPage
page = CancelPage(int(sys.argv[1]))
for number in range(1, int(sys.argv[2]) + 1):
    while page.read()[1] < number:
        pass
    print(int(page.begin(number)), flush=True)
"""


def test_of_both_at_once_one_at_least_sees_the_other(pages):
    page, count = pages[0], 3000
    arguments = [sys.executable, "-c", WORKER, str(page.fd), str(count)]
    with subprocess.Popen(arguments, pass_fds=[page.fd], stdout=subprocess.PIPE) as worker:
        for number in range(1, count + 1):
            page.write(0, number)  # both are off
            withdrawn = page.withdraw(number)
            began = worker.stdout.readline() == b"1\n"
            assert not (began and withdrawn)


def test_what_was_withdrawn_stays_so_while_others_are(pages):
    session, worker = pages
    session.withdraw(5)
    session.withdraw(9)
    assert not worker.begin(5)
    assert not worker.begin(9)

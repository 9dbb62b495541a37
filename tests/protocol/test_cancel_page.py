"""What a session and its worker tell each other in the page that they share."""

import os
import threading

import pytest

from stateroom.protocol.cancel_page import CancelPage


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


def test_of_both_at_once_one_at_least_sees_the_other(pages):
    session, worker = pages
    barrier = threading.Barrier(2)
    outcomes = {"began": [], "withdrawn": []}

    def take(kind, function):
        for number in range(1, 3001):
            barrier.wait()
            outcomes[kind].append(function(number))

    other = threading.Thread(target=take, args=("withdrawn", session.withdraw))
    other.start()
    take("began", worker.begin)
    other.join()
    both = zip(outcomes["began"], outcomes["withdrawn"], strict=True)
    assert not any(began and withdrawn for began, withdrawn in both)

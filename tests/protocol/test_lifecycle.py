from __future__ import annotations

import itertools

import pytest

from stateroom.errors import UnexpectedMessage
from stateroom.protocol.lifecycle import (
    ENDED,
    ExecutionEvent,
    ExecutionState,
    SessionEvent,
    SessionState,
    advance_execution,
    advance_session,
)

E, S = ExecutionEvent, ExecutionState


def run(*events):
    state = S.QUEUED
    for event in events:
        state = advance_execution(state, event, "e1")
    return state


def run_session(*events):
    state = SessionState.NEW
    for event in events:
        state = advance_session(state, event)
    return state


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([E.EXECUTE, E.RESULT], S.SUCCEEDED),
        ([E.EXECUTE, E.OUTPUT, E.OUTPUT, E.ERROR], S.FAILED),
        ([E.EXECUTE, E.CANCELLED], S.CANCELLED),
        ([E.EXECUTE, E.WORKER_LOST], S.LOST),
        ([E.CANCEL], S.CANCELLED),
        ([E.EXECUTE, E.CANCEL], S.CANCELLED),
        ([E.EXECUTE, E.INPUT], S.WAITING_INPUT),
        ([E.EXECUTE, E.INPUT, E.OUTPUT], S.WAITING_INPUT),
        ([E.EXECUTE, E.INPUT, E.INPUT_RESPONSE], S.RUNNING),
        ([E.EXECUTE, E.INPUT, E.INPUT, E.INPUT_RESPONSE, E.INPUT_RESPONSE, E.RESULT], S.SUCCEEDED),
        ([E.EXECUTE, E.INPUT, E.RESULT], S.SUCCEEDED),
        ([E.EXECUTE, E.INPUT, E.CANCELLED], S.CANCELLED),
        ([E.EXECUTE, E.INPUT, E.WORKER_LOST], S.LOST),
    ],
)
def test_the_ways_through_an_execution(events, end):
    assert run(*events) is end


@pytest.mark.parametrize("state", sorted(ENDED - {S.LOST}))
@pytest.mark.parametrize("event", [E.OUTPUT, E.INPUT, E.INPUT_RESPONSE])
def test_threads_and_tasks_may_speak_after_the_end(state, event):
    assert advance_execution(state, event, "e1") is state


def test_of_a_lost_worker_only_last_words_come():
    assert advance_execution(S.LOST, E.OUTPUT, "e1") is S.LOST
    with pytest.raises(UnexpectedMessage):
        advance_execution(S.LOST, E.RESULT, "e1")


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_execution_ends_once(state):
    for event in (E.EXECUTE, E.RESULT, E.ERROR, E.CANCELLED, E.CANCEL, E.WORKER_LOST):
        with pytest.raises(UnexpectedMessage):
            advance_execution(state, event, "e1")


def test_nothing_comes_for_an_execution_that_was_not_sent():
    for event in set(E) - {E.EXECUTE, E.CANCEL}:
        with pytest.raises(UnexpectedMessage):
            advance_execution(S.QUEUED, event, "e1")


@pytest.mark.parametrize(
    ("state", "event"), [(S.RUNNING, E.EXECUTE), (S.WAITING_INPUT, E.EXECUTE), (S.WAITING_INPUT, E.CANCEL)]
)
def test_a_cell_is_not_sent_twice_nor_taken_back_when_it_has_spoken(state, event):
    with pytest.raises(UnexpectedMessage):
        advance_execution(state, event, "e1")


def test_the_error_says_what_came_for_what_in_which_state_and_what_is_legal():
    with pytest.raises(UnexpectedMessage) as caught:
        advance_execution(S.QUEUED, E.RESULT, "e17")
    assert str(caught.value) == "result came for execution e17, which is queued; legal now: execute, cancel"
    with pytest.raises(UnexpectedMessage) as caught:
        advance_session(SessionState.NEW, SessionEvent.EXECUTE)
    assert str(caught.value) == "execute came for the session, which is new; legal now: start, close"


V = SessionEvent


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([V.START], SessionState.STARTING),
        ([V.START, V.READY], SessionState.IDLE),
        ([V.START, V.READY, V.EXECUTE], SessionState.BUSY),
        ([V.START, V.READY, V.EXECUTE, V.DONE], SessionState.IDLE),
        ([V.START, V.START_FAILED], SessionState.BROKEN),
        ([V.START, V.START_FAILED, V.RESTART, V.READY], SessionState.IDLE),
        ([V.START, V.READY, V.WORKER_LOST], SessionState.BROKEN),
        ([V.START, V.READY, V.EXECUTE, V.WORKER_LOST, V.RESTART, V.READY], SessionState.IDLE),
        ([V.START, V.READY, V.EXECUTE, V.RESTART], SessionState.RESTARTING),
        ([V.START, V.READY, V.EXECUTE, V.RESTART, V.DONE, V.WORKER_LOST, V.READY], SessionState.IDLE),
        ([V.START, V.READY, V.RESTART, V.START_FAILED], SessionState.BROKEN),
        ([V.START, V.CLOSE, V.START_FAILED, V.CLOSED], SessionState.CLOSED),
        ([V.START, V.CLOSE, V.CLOSED, V.START_FAILED], SessionState.CLOSED),
        ([V.START, V.CLOSE, V.READY, V.WORKER_LOST, V.CLOSED], SessionState.CLOSED),
        ([V.START, V.READY, V.EXECUTE, V.CLOSE, V.DONE, V.WORKER_LOST, V.CLOSED], SessionState.CLOSED),
    ],
)
def test_the_ways_through_a_session(events, end):
    assert run_session(*events) is end


@pytest.mark.parametrize("state", list(SessionState))
def test_a_session_can_be_closed_from_everywhere(state):
    closed = state is SessionState.CLOSED
    assert advance_session(state, V.CLOSE) is (SessionState.CLOSED if closed else SessionState.CLOSING)


def test_a_closed_session_stays_closed():
    for event in set(V) - {V.CLOSE, V.START_FAILED}:
        with pytest.raises(UnexpectedMessage):
            advance_session(SessionState.CLOSED, event)


def test_only_an_idle_session_takes_an_execution_and_one_that_closes_its_last_checkpoint():
    assert advance_session(SessionState.CLOSING, V.EXECUTE) is SessionState.CLOSING
    for state in set(SessionState) - {SessionState.IDLE, SessionState.CLOSING}:
        with pytest.raises(UnexpectedMessage):
            advance_session(state, V.EXECUTE)


def reachable(start, states, events, advance):
    """Every state that some events lead to; every pair must move or be refused."""
    for state, event in itertools.product(states, events):
        after = refusal = None
        try:
            after = advance(state, event)
        except UnexpectedMessage as error:
            refusal = str(error)
        assert after in states or refusal.startswith(f"{event} came for ")
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for event in events:
            try:
                after = advance(state, event)
            except UnexpectedMessage:
                continue
            if after not in found:
                found.add(after)
                todo.append(after)
    return found


def test_the_tables_are_complete():
    def advance(state, event):
        return advance_execution(state, event, "e1")

    assert reachable(S.QUEUED, set(S), set(E), advance) == set(S)
    assert reachable(SessionState.NEW, set(SessionState), set(V), advance_session) == set(SessionState)

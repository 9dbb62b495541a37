"""Between a session and Resonate: what a cell does becomes promises, and their answers reach the cell.

Execute → Result or Error is the promise ``exec:{execution_id}``; Input → InputResponse is
``{execution_id}:input:{n}``; a step is ``{execution_id}:step:{name}:{n}``. The bridge sees the
session's messages as an interceptor does and never reads the transport.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..errors import DurableError
from ..protocol.lifecycle import ExecutionEvent
from ..protocol.messages import (
    ClearMessage,
    DisplayMessage,
    ErrorMessage,
    ExecuteMessage,
    InputMessage,
    OutputMessage,
    ProgressMessage,
    ResultMessage,
    ToSession,
)
from ..session.background_tasks import BackgroundTasks
from ..session.execution import Execution
from ..session.session import Session
from ..session.shielded import Closing
from .input_capability import Asker, InputCapability
from .outcome import outcome_to_data
from .promise_desk import PromiseDesk
from .request import Request, execution_request, reason_of
from .retries import insist
from .sdk import PromiseRecord, Resonate
from .step_capability import StepCapability

__all__ = ["ResonateProtocolBridge"]

ATTACHED_AS = "durable"
MAX_GIVEN_UP = 1000
"""So many executions whose reply may still come are remembered, to know it for a late one."""


class ResonateProtocolBridge:
    """Correlates the executions, inputs and steps of one session with promises.

    :meth:`expect` an execution, then run it under that id with ``on_input=bridge.answer_input``; its
    Result or Error settles the promise. Figures are in ``session.info.attachments["durable"]``.
    ``input_timeout_s`` is how long a question waits for its answer.
    """

    def __init__(self, resonate: Resonate, session: Session, *, input_timeout_s: float | None = None) -> None:
        if not isinstance(session, Session):
            raise TypeError(
                f"session is a {type(session).__name__}: give a stateroom.Session that was started"
            )
        if session.on_step is not None or ATTACHED_AS in session.attachments:
            raise DurableError("the session has a bridge already; close that one first")
        self.session = session
        """The session whose messages it sees."""
        self.desk = PromiseDesk(resonate)
        """Creates, awaits and settles promises."""
        self.inputs = InputCapability(self.desk, timeout_s=input_timeout_s)
        """Questions of cells."""
        self.steps = StepCapability(self.desk)
        """Steps of cells."""
        self._collecting: dict[str, Execution | None] = {}
        """Executions that run, with what they have put out; None if their owner settles them."""
        self._given_up: OrderedDict[str, None] = OrderedDict()
        self._background = BackgroundTasks()
        self._closing = Closing()
        session.add_message_interceptor(self._see)
        session.on_step = self.steps.take
        session.attachments[ATTACHED_AS] = self.info

    def __repr__(self) -> str:
        return f"<ResonateProtocolBridge executions={sorted(self._collecting)} {self.desk!r}>"

    # Executions

    async def expect(
        self,
        execution_id: str,
        *,
        timeout_s: float | None = None,
        param: Any = None,
        hold: bool = False,
        check: Callable[[PromiseRecord], None] | None = None,
    ) -> PromiseRecord:
        """Create the promise of an execution, before it is sent; a settled one comes back with its value.

        Its Result or Error then resolves it, with the outcome as data. With ``hold`` the caller says
        when it begins (:meth:`begin`), and resolves it (:meth:`resolve`): something else has to be stored
        first. After ``timeout_s`` it is rejected. ``check`` may raise for what was found under this id,
        before anything is done about it. Raises :class:`DurableError` when closed, ConfigError for an id
        that cannot be one.
        """
        request = execution_request(execution_id, timeout_s)
        record = await self.desk.open(request, param, check=check)
        if record.state == "pending" and not hold and execution_id not in self._collecting:
            self._begin(execution_id, hold=False)
        return record

    def begin(self, execution_id: str) -> None:
        """A held execution begins, or begins again: its inputs and steps count from 1."""
        self._begin(execution_id, hold=True)

    async def wait(self, execution_id: str) -> PromiseRecord:
        """Wait until the promise of an expected execution is settled.

        Raises :class:`DurableError` if the bridge is closed meanwhile and leaves it pending.
        """
        return await self.desk.wait(execution_request(execution_id))

    async def result(self, execution_id: str) -> dict[str, Any]:
        """Wait for the outcome of an execution. Raises :class:`DurableRejected` if it has none."""
        return outcome_of(execution_request(execution_id), await self.wait(execution_id))

    async def resolve(self, execution_id: str, outcome: dict[str, Any]) -> bool:
        """Settle an execution that has ended. False, and nothing has changed, if it was settled before.

        What it still asked for, a question say, is withdrawn.
        """
        self._end(execution_id)
        is_ours = await self.desk.resolve(execution_request(execution_id), outcome)
        await self.desk.withdraw(execution_id)
        return is_ours

    # Inputs

    async def answer_input(self, message: InputMessage, *, also: Asker | None = None) -> str:
        """Wait for the answer to a question of a cell; to be the ``on_input`` of its ``run``.

        ``also`` is asked at the same time, and its answer is as good as any.
        """
        return await self.inputs.answer(message, also=also)

    # Figures

    @property
    def pending(self) -> int:
        """Promises that are waited for."""
        return len(self.desk.pending)

    def pending_high_water_mark(self) -> int:
        """The most promises that were ever waited for at once."""
        return self.desk.high_water_mark

    def info(self) -> dict[str, Any]:
        """Figures, as plain data; ``session.info.attachments`` shows them."""
        return {**self.desk.info(), "pending_inputs": len(self.inputs.open)}

    # Life

    async def cancel_all(self) -> int:
        """Reject all that is pending with the error of a shutdown; return how many that were."""
        self._collecting.clear()
        return await self.desk.cancel_all()

    async def close(self, *, reject: bool = True) -> None:
        """Leave the session: no timer, task or pending promise of this bridge is left. Safe to call twice.

        What is pending is rejected as shut down. With ``reject=False`` it stays pending in the store, for
        the next process to go on with, and who waits for it here gets a :class:`DurableError`.
        """
        await self._closing.run(lambda: self._close(reject))

    async def _close(self, reject: bool) -> None:
        self.session.remove_message_interceptor(self._see)
        self.session.on_step = None
        self.session.attachments.pop(ATTACHED_AS, None)
        self._collecting.clear()
        await self.desk.close(reject=reject)
        await asyncio.gather(*self._background.tasks, return_exceptions=True)

    # Messages, in order

    def _see(self, message: ToSession) -> None:
        if isinstance(message, InputMessage):
            self.inputs.see(message)
        elif isinstance(message, ResultMessage | ErrorMessage):
            self._take_reply(message)
        elif isinstance(message, OutputMessage | DisplayMessage | ClearMessage | ProgressMessage):
            collecting = self._collecting.get(message.execution_id or "")
            if collecting is not None:
                _collect(collecting, message)

    def _take_reply(self, message: ResultMessage | ErrorMessage) -> None:
        execution_id = message.execution_id
        if execution_id in self._given_up:
            del self._given_up[execution_id]
            self.desk.note_late()
        execution = self._collecting.get(execution_id)
        if execution is None:  # not ours, or settled by its owner
            return
        _collect(execution, message)
        self._background.run(self._settle(execution))

    async def _settle(self, execution: Execution) -> None:
        outcome, request = outcome_to_data(await execution.done), execution_request(execution.execution_id)
        await insist(
            lambda: self.resolve(execution.execution_id, outcome),
            on=request.promise_id,
            is_wanted=lambda: self.desk.is_pending(request),
        )

    def _begin(self, execution_id: str, *, hold: bool) -> None:
        self._collecting[execution_id] = None if hold else _collector(execution_id)
        self.inputs.begin(execution_id)
        self.steps.begin(execution_id)
        if not hold:
            self._background.run(self._end_when_settled(execution_id))

    async def _end_when_settled(self, execution_id: str) -> None:
        """An execution that is settled by something else, a timeout say, is not collected any more."""
        try:
            await self.wait(execution_id)
        except DurableError:
            return
        if execution_id in self._collecting:
            self.give_up(execution_id)
            await self.desk.withdraw(execution_id)

    def give_up(self, execution_id: str) -> None:
        """An execution was settled by something else: a reply that still comes is a late one.

        When its cell has been stopped, ``desk.withdraw`` what it asked for.
        """
        self._end(execution_id)
        self._given_up[execution_id] = None
        while len(self._given_up) > MAX_GIVEN_UP:
            self._given_up.popitem(last=False)

    def _end(self, execution_id: str) -> None:
        self._collecting.pop(execution_id, None)
        self.inputs.end(execution_id)
        self.steps.end(execution_id)


def outcome_of(request: Request, record: PromiseRecord) -> dict[str, Any]:
    """The outcome in a settled record. Raises :class:`DurableRejected` if it was rejected."""
    if record.state != "resolved":
        raise reason_of(request, record)
    outcome: Any = record.value.data
    return dict(outcome)


def _collector(execution_id: str) -> Execution:
    """An execution that gathers what the session's own one gathers, from the same messages."""
    execution = Execution(ExecuteMessage(execution_id=execution_id, number=0, code=""))
    execution.advance(ExecutionEvent.EXECUTE)
    return execution


def _collect(execution: Execution, message: Any) -> None:
    if isinstance(message, OutputMessage):
        execution.take_output(message)
    elif isinstance(message, ResultMessage):
        execution.take_result(message)
    elif isinstance(message, ErrorMessage):
        execution.take_error(message)
    else:
        execution.take_rich(message)

"""ipykernel behind the shape of :mod:`adapters.stateroom_session`, driven by its asyncio client."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_client.manager import start_new_async_kernel

from .stateroom_session import OnInput, OnOutput, Outcome


class Session:
    """One kernel."""

    pid: int | None = None

    def __init__(self) -> None:
        self._manager: Any = None
        self._client: Any = None

    async def start(self) -> None:
        """Return when the kernel answers."""
        self._manager, self._client = await start_new_async_kernel(kernel_name="python3")
        self.pid = self._manager.provisioner.pid

    async def execute(
        self, code: str, on_output: OnOutput | None = None, on_input: OnInput | None = None
    ) -> Outcome:
        """Run a cell and return when its reply and the end of its output are here."""
        assert on_input is None, "not measured with this peer"
        request = self._client.execute(code, allow_stdin=False)
        outcome = Outcome(True, None, "", None)
        parts: list[str] = []
        while not await self._is_idle(request, outcome, parts, on_output):
            pass
        while (reply := await self._client.get_shell_msg())["parent_header"].get("msg_id") != request:
            pass
        outcome.ok = reply["content"]["status"] == "ok"
        outcome.error, outcome.out = reply["content"].get("ename"), "".join(parts)
        return outcome

    async def _is_idle(
        self, request: str, outcome: Outcome, parts: list[str], on_output: OnOutput | None
    ) -> bool:
        """Take one broadcast; whether it says that the request has been dealt with."""
        message = await self._client.get_iopub_msg()
        if message["parent_header"].get("msg_id") != request:
            return False
        content = message["content"]
        if message["msg_type"] == "stream":
            parts.append(content["text"])
            if on_output:
                on_output(content["text"])
        elif message["msg_type"] == "execute_result":
            outcome.value = content["data"]["text/plain"]
        return bool(content.get("execution_state") == "idle")

    async def execute_many(self, codes: list[str]) -> None:
        """Send all requests, then collect all replies; the broadcasts are read at the same time."""
        waiting = {self._client.execute(code) for code in codes}

        async def broadcasts() -> None:
            while waiting:
                message = await self._client.get_iopub_msg()
                if message["content"].get("execution_state") == "idle":
                    waiting.discard(message["parent_header"].get("msg_id"))

        async def replies() -> None:
            for _ in codes:
                await self._client.get_shell_msg()

        await asyncio.gather(broadcasts(), replies())

    async def interrupt(self) -> None:
        """Send the kernel SIGINT."""
        await self._manager.interrupt_kernel()

    async def close(self) -> None:
        """End the kernel, without asking it."""
        self._client.stop_channels()
        await self._manager.shutdown_kernel(now=True)

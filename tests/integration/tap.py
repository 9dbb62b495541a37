"""A connection in memory whose requests a test can wait for, and hold up: races without sleeping."""

from __future__ import annotations

import asyncio
import json

from resonate.connections import LocalConnection


class Gate:
    """Stops one kind of request: ``reached`` is set when one has come, ``open()`` lets it through."""

    def __init__(self):
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    def open(self):
        self._open.set()

    async def pass_through(self):
        self.reached.set()
        await self._open.wait()


class Tap(LocalConnection):
    def __init__(self):
        super().__init__()
        self.requests = []
        self._gates = {}
        self._fail = {}
        self._failed = set()
        self._changed = asyncio.Condition()

    def gate(self, kind, promise_id):
        """Hold up this request from now on."""
        self._gates[kind, promise_id] = gate = Gate()
        return gate

    def fail_once(self, kind, promise_id, error):
        self._fail[kind, promise_id] = error

    async def failed(self, kind, promise_id):
        """Wait until this request has failed."""
        async with self._changed:
            await self._changed.wait_for(lambda: (kind, promise_id) in self._failed)

    async def answered(self, kind, promise_id):
        """Wait until the store has answered this request."""
        async with self._changed:
            await self._changed.wait_for(lambda: (kind, promise_id) in self.requests)

    async def send(self, req, headers=None):
        asked = json.loads(req)
        key = asked["kind"], asked["data"].get("id") or asked["data"].get("awaited")
        if key in self._gates:
            await self._gates[key].pass_through()
        if (error := self._fail.pop(key, None)) is not None:
            async with self._changed:
                self._failed.add(key)
                self._changed.notify_all()
            raise error
        answer = await super().send(req, headers)
        async with self._changed:
            self.requests.append(key)
            self._changed.notify_all()
        return answer

    def state_of(self, promise_id):
        return self.state.promises[promise_id].state

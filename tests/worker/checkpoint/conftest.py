"""A ``__main__`` whose variables are saved and brought back, in this process."""

from __future__ import annotations

import sys
from types import ModuleType

import msgspec
import pytest

from stateroom.engine.namespace import NamespaceManager
from stateroom.protocol.checkpoint_format import checkpoint_chunks, open_parts
from stateroom.worker.checkpoint import restore_checkpoint, write_checkpoint


class Main:
    """A namespace that is the ``__main__`` of this process for as long as it is the newest."""

    def __init__(self, monkeypatch):
        self.module = ModuleType("__main__")
        self.manager = NamespaceManager(vars(self.module))
        self.namespace = self.manager.namespace
        self.checkpoint = None
        monkeypatch.setitem(sys.modules, "__main__", self.module)

    def run(self, source):
        exec(compile(source, "<cell>", "exec", dont_inherit=True), self.namespace)

    def get(self, expression):
        return eval(expression, self.namespace)

    @property
    def variables(self):
        return {name: self.namespace[name] for name in self.manager.user_names()}

    def save(self, **options):
        self.checkpoint = write_checkpoint(self.manager, **options)
        return b"".join(self.checkpoint.chunks())

    def restore(self, blob, **options):
        return restore_checkpoint(blob, self.manager, **options)


@pytest.fixture
def new_main(monkeypatch):
    """Make another ``__main__``, as a new worker has it."""
    return lambda: Main(monkeypatch)


@pytest.fixture
def main(new_main):
    return new_main()


@pytest.fixture
def again(main, new_main):
    """Run a cell in ``main``, save, and restore into a new ``__main__``, which is returned."""

    def take_along(source):
        main.run(source)
        blob = main.save()
        assert main.checkpoint.header.skipped == {}
        other = new_main()
        assert other.restore(blob).failed == {}
        return other

    return take_along


@pytest.fixture
def with_header():
    """A checkpoint with other values in its header, and right digests."""

    def change(blob, **fields):
        parts = open_parts(blob)
        header = msgspec.structs.replace(parts.header, **fields)
        return b"".join(checkpoint_chunks(header, [parts.stream], parts.buffers))

    return change

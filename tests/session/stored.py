"""Checkpoints for tests of the store, and what they look into it with."""

from __future__ import annotations

from stateroom.protocol.checkpoint_format import CheckpointHeader, EntryInfo, checkpoint_chunks


def checkpoint(text="x", size=5000):
    """The chunks of a checkpoint whose stream is no pickle: a store never looks."""
    stream = (text * size).encode()[:size]
    header = CheckpointHeader(
        python="3.13.0",
        implementation="cpython",
        stateroom="0.1.0",
        created_at=1.0,
        packages={},
        entries=[EntryInfo(name=text, type="str", size_bytes=size)],
        order=[text],
        skipped={},
        stream_bytes=size,
        buffer_bytes=[10],
    )
    return checkpoint_chunks(header, [stream], [b"0123456789"])


def content(stored):
    return [entry.name for entry in stored.header.entries]


def files(store):
    """All files but the locks."""
    return sorted(
        str(path.relative_to(store.path))
        for path in store.path.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    )

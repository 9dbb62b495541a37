"""What the warm template and the pool that started it say to each other.

One packet a message, on a socket that keeps packets apart. The pool's only request is ``FORK``, with the
descriptors of a new worker in the order of :class:`WorkerDescriptors`; each is answered by one
:class:`Forked`, with a pidfd, or one :class:`ForkFailed`, in the order of the requests.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = [
    "FORK",
    "MAX_PACKET_BYTES",
    "MAX_TEXT_CHARS",
    "Exited",
    "ForkFailed",
    "Forked",
    "FromTemplate",
    "PreloadFailed",
    "TemplateReady",
    "WorkerDescriptors",
]

FORK = b"fork"
MAX_TEXT_CHARS = 16_000
MAX_PACKET_BYTES = 1 << 17


class WorkerDescriptors(NamedTuple):
    """What a forked worker gets: what a spawned one inherits, and its descriptors 1 and 2."""

    sock: int
    page: int
    stdout_read: int
    stderr_read: int
    lifeline: int
    stdout: int
    stderr: int


class TemplateReady(msgspec.Struct, tag="template_ready"):
    """Everything is loaded. ``threads`` run besides the main one, by name or, if native, by number."""

    threads: list[str]


class PreloadFailed(msgspec.Struct, tag="preload_failed"):
    """A module could not be loaded, and the template ends. ``text`` is the traceback."""

    module: str
    text: str


class Forked(msgspec.Struct, tag="forked"):
    """A worker exists; a pidfd of it comes with this packet."""

    pid: int


class ForkFailed(msgspec.Struct, tag="fork_failed"):
    """The system did not give another process, or too few descriptors came."""

    reason: str


class Exited(msgspec.Struct, tag="exited"):
    """A worker has ended; ``returncode`` is as of :class:`subprocess.Popen`."""

    pid: int
    returncode: int


FromTemplate = TemplateReady | PreloadFailed | Forked | ForkFailed | Exited

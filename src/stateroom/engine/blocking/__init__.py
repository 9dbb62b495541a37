"""Finds out, before a cell runs, whether it will block: ``BlockingDetector``.

A reader turns code into a short list of steps (load a name, take an attribute, call, bind):
``read_ast`` does it for a cell, ``read_bytecode`` for functions that exist already. ``judge``
walks the steps against the live namespace, without running any user code, and stops at the
first call that ``rules`` (made of ``tables`` and the settings) knows to block.
"""

from .detector import BlockingDetector, Verdict
from .steps import CallSites

__all__ = ["BlockingDetector", "CallSites", "Verdict"]

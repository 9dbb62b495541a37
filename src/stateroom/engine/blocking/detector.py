"""``BlockingDetector``: the face of this package."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import cast

from ...config import EngineConfig
from ..telemetry import Telemetry
from .calls import Blocks
from .judge import Judge
from .memory import NOT_RECORDED, Reads, RecordedReads, Remembered, counters
from .read_ast import read_cell
from .rules import rules_for
from .scopes import ScopeCache
from .steps import CallSites, Scope

__all__ = ["BlockingDetector", "Verdict"]

_SEEN = "seen once"
_UNKNOWABLE = "depends on what cannot be watched"


class Verdict:
    """Which call makes a cell blocking.

    ``call`` is its public name (``time.sleep``, ``requests.Session.get``), ``line`` the line of
    the cell that leads to it, ``reason`` says how: ``"call"`` for a call in the cell's own text,
    ``"function"`` for one that happens in the functions ``via``, outermost first.
    """

    __slots__ = ("call", "line", "via")

    def __init__(self, call: str, line: int, via: tuple[str, ...] = ()) -> None:
        self.call = call
        self.line = line
        self.via = via

    @property
    def reason(self) -> str:
        """``"call"`` or ``"function"``."""
        return "function" if self.via else "call"

    def __repr__(self) -> str:
        path = " -> ".join((*self.via, self.call))
        return f"<Verdict {path} at line {self.line}>"


class BlockingDetector:
    """Finds the blocking calls of cells, with the tables and counters of one engine.

    A verdict is advice, for which a miss costs milliseconds: neither method raises, whatever the
    cell or the namespace holds, and neither runs code of the user.
    """

    def __init__(self, config: EngineConfig, telemetry: Telemetry) -> None:
        self._config = config
        self._telemetry = telemetry
        self._rules = rules_for(config.blocking_modules, config.blocking_methods)
        self._scopes = ScopeCache()

    def __repr__(self) -> str:
        return f"<BlockingDetector {self._rules!r} {self._scopes!r}>"

    def analyse(self, tree: ast.Module) -> CallSites:
        """The part of the work that needs the text only; keep it with the compiled cell."""
        if not self._config.enable_blocking_detection:
            return CallSites(None)
        try:
            scope = read_cell(tree, self._rules.dotted_call)
        except RecursionError:  # the caller is near its own limit
            return CallSites(None)
        return CallSites(scope if scope.steps else None)

    def verdict(self, sites: CallSites, namespace: Mapping[str, object]) -> Verdict | None:
        """The first blocking call that the cell leads to as names are bound in ``namespace``.

        A cell that comes again is walked once more, with all that the walk reads, and from then on
        not until something of that has changed.
        """
        if sites.scope is None:
            return None
        remembered = sites.remembered
        if type(remembered) is not Remembered:
            return self._judge(sites, sites.scope, namespace, is_seen=remembered is _SEEN)
        if not remembered.holds(self, namespace):
            sites.remember(None)
            return self._judge(sites, sites.scope, namespace, is_seen=False)
        remembered.count(self._telemetry)
        return cast("Verdict | None", remembered.verdict)

    def _judge(
        self, sites: CallSites, scope: Scope, namespace: Mapping[str, object], *, is_seen: bool
    ) -> Verdict | None:
        reads = RecordedReads(namespace) if is_seen else NOT_RECORDED
        before = counters(self._telemetry)
        try:
            verdict = self._walk(scope, namespace, reads)
        except Exception:  # noqa: BLE001 - a key of the user's in a dict can raise from its own __eq__
            sites.remember(_UNKNOWABLE)
            return None
        if not isinstance(reads, RecordedReads):
            if sites.remembered is None:
                sites.remember(_SEEN)
        else:
            after = counters(self._telemetry)
            counted = tuple([new - old for new, old in zip(after, before, strict=True)])
            sites.remember(reads.remembered(self, verdict, counted) or _UNKNOWABLE)
        return verdict

    def _walk(self, scope: Scope, namespace: Mapping[str, object], reads: Reads) -> Verdict | None:
        judge = Judge(self._rules, self._config, self._telemetry, self._scopes, namespace, reads=reads)
        try:
            judge.walk_cell(scope)
        except Blocks as found:
            self._telemetry.detected_blocking_call += 1
            return Verdict(found.call, judge.line, tuple(judge.path))
        return None

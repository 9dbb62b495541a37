"""How tests ask the detector, and a second one, which has seen nothing before."""

from __future__ import annotations

import ast
import warnings
from contextlib import suppress
from types import ModuleType
from typing import Any

from stateroom.config import EngineConfig
from stateroom.engine.blocking import BlockingDetector, CallSites
from stateroom.engine.blocking.memory import Remembered
from stateroom.engine.telemetry import Telemetry

FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def parse(text: str) -> ast.Module:
    tree = compile(text, "<cell>", "exec", FLAGS)
    assert isinstance(tree, ast.Module)
    return tree


class Seen:
    """A cell that has come three times, and the detector that saw it."""

    def __init__(self, setup: str, cell: str, **settings: Any) -> None:
        self.config = EngineConfig(**settings)
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.run(setup)
        self.tree = parse(cell)
        self.telemetry = Telemetry()
        self.detector = BlockingDetector(self.config, self.telemetry)
        self.sites = self.detector.analyse(self.tree)
        for _ in range(3):
            self.call()

    def run(self, text: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(text, "<cell 1>", "exec"), self.namespace)

    def call(self) -> str | None:
        return called(self.detector, self.sites, self.namespace)

    def call_judged_afresh(self) -> str | None:
        detector = BlockingDetector(self.config, Telemetry())
        return called(detector, detector.analyse(self.tree), self.namespace)

    @property
    def is_remembered(self) -> bool:
        return type(self.sites.remembered) is Remembered


def called(detector: BlockingDetector, sites: CallSites, namespace: dict[str, Any]) -> str | None:
    verdict = detector.verdict(sites, namespace)
    return None if verdict is None else repr(verdict)


def close_all(namespace: dict[str, Any]) -> None:
    for name in ("shutdown", "close"):
        for value in [
            *namespace.values(),
            *namespace.get("dbs", {}).values(),
            getattr(namespace.get("c"), "s", None),
        ]:
            if not isinstance(value, ModuleType | type) and isinstance(
                getattr(type(value), name, None), object
            ):
                with suppress(Exception):
                    getattr(value, name)()

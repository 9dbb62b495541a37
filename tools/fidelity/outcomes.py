"""What became of the tests of one file in one run, and how two runs differ."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Difference", "Outcomes", "differences"]

WHOLE_FILE = "(the file)"
"""Stands for the run itself among the tests' ids."""

UNREACHED = "(the rest)"
"""Stands for tests that a run which broke off did not get to."""

_WORST_FIRST = ["died", "error", "fail", "unexpected success", "begun", "expected failure", "skip", "ok"]
_RANK = {outcome: rank for rank, outcome in enumerate(reversed(_WORST_FIRST))}


@dataclass
class Outcomes:
    """The worst outcome of each test by its id, and why."""

    tests: dict[str, tuple[str, str]] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Outcomes:
        """Read the lines of a noting result; of a test that began and nothing more, say it died."""
        outcomes = cls()
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            name, outcome, why = json.loads(line)
            outcomes.note(name.removeprefix("__main__."), outcome, why)
        for name, (outcome, _) in outcomes.tests.items():
            if outcome == "begun":
                outcomes.tests[name] = ("died", "began and did not end")
        return outcomes

    def note(self, name: str, outcome: str, why: str = "") -> None:
        """Keep the worst; that a test began says nothing once there is more."""
        known = self.tests.get(name)
        if known is None or known[0] == "begun" or (_RANK[outcome] > _RANK[known[0]] and outcome != "begun"):
            self.tests[name] = (outcome, why)

    def counts(self) -> Counter[str]:
        """How many tests had each outcome."""
        return Counter(outcome for outcome, _ in self.tests.values())


@dataclass(frozen=True)
class Difference:
    """One test whose outcome in a session is not what it is under plain Python."""

    file: str
    mode: str
    test: str
    plain: str
    session: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.file} as {self.mode}: {self.test}: plain {self.plain}, session {self.session}: {self.why}"
        )


def differences(file: str, mode: str, plain: Outcomes, session: Outcomes) -> list[Difference]:
    """All tests with two outcomes; an id that one side does not have counts as ``absent``.

    Tests that a run which broke off did not get to are one difference, not one each.
    """
    found, unreached = [], 0
    for test in sorted(plain.tests.keys() | session.tests.keys()):
        here, there = (run.tests.get(test, ("absent", "")) for run in (plain, session))
        if there[0] == "absent" and WHOLE_FILE in session.tests:
            unreached += 1
        elif here[0] != there[0]:
            found.append(Difference(file, mode, test, here[0], there[0], there[1] or here[1]))
    if unreached:
        outcome, why = session.tests[WHOLE_FILE]
        found.append(Difference(file, mode, UNREACHED, f"ran {unreached} more tests", outcome, why))
    return found

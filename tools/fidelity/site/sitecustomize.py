"""Start-up of a process under test: has ``unittest.main`` note each test's outcome in a file.

Python imports this by itself, from PYTHONPATH, in plain ``python FILE`` as in a session's worker:
so both run under the same settings. Child processes of the tests get an environment without it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import unittest
from pathlib import Path
from typing import Any

WHY_CHARS = 300


def settle(environ: Any, path: list[str]) -> str | None:
    """Take this module's traces out of the environment; return the file for the outcomes."""
    results: str | None = environ.pop("FIDELITY_RESULTS", None)
    if results is not None:
        here = Path(__file__).resolve().parent
        path[:] = [entry for entry in path if Path(entry).resolve() != here]
        before = environ.pop("FIDELITY_PYTHONPATH", "")
        environ.pop("PYTHONPATH")
        if before:
            environ["PYTHONPATH"] = before
    return results


class NotingResult(unittest.TextTestResult):
    """Writes one JSON line as each test begins, and one for each thing that becomes of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        results = Path(NotingProgram.results)
        self._notes = results.open("a", encoding="utf-8", errors="backslashreplace")
        self._pid = os.getpid()

    def note(self, test: Any, outcome: str, why: str = "") -> None:
        """One line; not from a forked child that comes out of its test."""
        if os.getpid() == self._pid:
            self._notes.write(json.dumps([test.id(), outcome, why[-WHY_CHARS:]]) + "\n")
            self._notes.flush()

    def startTest(self, test: Any) -> None:  # noqa: N802 - unittest's name
        super().startTest(test)
        self.note(test, "begun")

    def addSuccess(self, test: Any) -> None:  # noqa: N802
        super().addSuccess(test)
        self.note(test, "ok")

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self.note(test, "error", repr(err[1]))

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self.note(test, "fail", repr(err[1]))

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.note(test, "skip", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addExpectedFailure(test, err)
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self.note(test, "unexpected success")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            outcome = "fail" if issubclass(err[0], test.failureException) else "error"
            self.note(test, outcome, repr(err[1]))


class LeavingOutLoader(unittest.TestLoader):
    """Leaves out the tests whose id matches one of the patterns."""

    left_out: tuple[str, ...] = ()

    def loadTestsFromModule(self, module: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        return self._sift(super().loadTestsFromModule(module, *args, **kwargs))

    def _sift(self, suite: Any) -> Any:
        from fnmatch import fnmatchcase

        kept = unittest.TestSuite()
        for test in suite:
            if isinstance(test, unittest.TestSuite):
                kept.addTest(self._sift(test))
            elif not any(fnmatchcase(test.id().removeprefix("__main__."), p) for p in self.left_out):
                kept.addTest(test)
        return kept


class NotingProgram(unittest.TestProgram):
    """``unittest.main`` as the file calls it, once, with settings of our own."""

    results = ""
    only: tuple[str, ...] = ()

    def __init__(self, module: Any = "__main__", *_args: Any, **kwargs: Any) -> None:
        unittest.main = unittest.TestProgram
        kwargs["testRunner"] = unittest.TextTestRunner(verbosity=0, resultclass=NotingResult)
        kwargs["argv"] = [sys.argv[0] if sys.argv else "", *self.only]
        kwargs["testLoader"] = LeavingOutLoader()
        kwargs["exit"] = False
        super().__init__(module, **kwargs)


def install(results: str) -> None:
    """Be ready for a file that calls ``unittest.main()``."""
    support: Any = importlib.import_module("test.support")
    support.use_resources = {}  # nothing that takes long, much room or the network
    NotingProgram.results = results
    NotingProgram.only = tuple(json.loads(os.environ.pop("FIDELITY_ONLY", "[]")))
    LeavingOutLoader.left_out = tuple(json.loads(os.environ.pop("FIDELITY_LEAVE_OUT", "[]")))
    unittest.main = NotingProgram


RESULTS = settle(os.environ, sys.path)
if RESULTS is not None:
    install(RESULTS)

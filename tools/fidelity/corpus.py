"""Which files of CPython's test suite are run, and which differences a session explains."""

from __future__ import annotations

import re
import sys
import tokenize
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import tomllib
from outcomes import Difference

__all__ = ["Expected", "TestFile", "expected_differences", "test_files"]

HERE = Path(__file__).parent

_GUARD = re.compile(r"""^(if __name__ ?== ?['"]__main__['"]:)""", re.MULTILINE)
_RELATIVE = re.compile(r"^from \.(?=(\w?))", re.MULTILINE)


@dataclass(frozen=True)
class TestFile:
    """One file of the suite; ``only`` and ``leave_out`` narrow it to tests that take seconds."""

    name: str
    path: Path
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    needs_path: bool = False
    """As a cell, ``__file__`` is the path of the file and not the name of the cell."""

    def text(self) -> str:
        """The source, in the encoding that it declares."""
        with tokenize.open(self.path) as file:
            return file.read()

    def script(self) -> str:
        """The source as a script that runs its tests; the same as :meth:`text` for most files.

        Its package's modules are imported by their full names, since a script has no package.
        """
        text = self.text()
        if self.path.parent.name != "test":
            package = f"test.{self.path.parent.name}"
            text = _RELATIVE.sub(lambda found: f"from {package}{'.' if found[1] else ''}", text)
        before, guard, after = (*_GUARD.split(text, maxsplit=1), "", "")[:3]
        if guard and "main(" in after:
            return text
        return f"{before}\nimport unittest\nunittest.main()\n"


@dataclass
class Expected:
    """A difference that being a session explains.

    ``tests`` are patterns of ``FILE:TEST``; ``why`` is a regular expression to be found in what
    went wrong, for reasons that say more than names do.
    """

    reason: str
    tests: list[str] = field(default_factory=lambda: ["*"])
    why: str = ""
    modes: list[str] = field(default_factory=lambda: ["cell", "file"])
    seen: int = 0

    def explains(self, difference: Difference) -> bool:
        """Whether this is what the difference comes from; counts it if so."""
        name = f"{difference.file}:{difference.test}"
        known = (
            difference.mode in self.modes
            and any(fnmatchcase(name, pattern) for pattern in self.tests)
            and re.search(self.why, difference.why) is not None
        )
        self.seen += known
        return known


def test_files(suite: Path) -> tuple[list[TestFile], list[str]]:
    """The files that this interpreter's suite has, and the names of those that it has not."""
    table = tomllib.loads((HERE / "corpus.toml").read_text("utf-8"))
    found, missing = [], []
    narrowed = table.get("narrowed", {})
    for name in table["files"]:
        path = _locate(suite, name)
        if path is None:
            missing.append(name)
            continue
        narrow = {key: tuple(value) for key, value in narrowed.get(name, {}).items()}
        found.append(TestFile(name, path, **narrow, needs_path=name in table["need_path"]))
    return found, missing


def _locate(suite: Path, name: str) -> Path | None:
    """``test_x`` is a file in some versions and a package with a file of its name in others."""
    candidates = [f"{name}.py", f"{name}/__init__.py", f"{name}/{name}.py"]
    existing = [suite / candidate for candidate in candidates if (suite / candidate).exists()]
    return max(existing, key=lambda path: path.stat().st_size) if existing else None


def expected_differences() -> list[Expected]:
    """The checked-in table, as far as it is about the running version."""
    table = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
    entries = []
    for entry in table.get("difference", []):
        first = tuple(map(int, entry.pop("since", "3.11").split(".")))
        last = tuple(map(int, entry.pop("until", "3.99").split(".")))
        if first <= sys.version_info[:2] <= last:
            entries.append(Expected(**entry))
    return entries

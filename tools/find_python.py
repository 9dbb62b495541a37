"""Find a Python that can build this project's environment, and print its path.

    python3 tools/find_python.py          the newest suitable one
    python3 tools/find_python.py 3.12     that version; exit status 1 if there is none

Looked at are the names on PATH and the versions that pyenv holds. A name on PATH may be a shim
that does not run, so each candidate is asked what it is. Standard library only, and old syntax:
any Python 3.8 can run this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

SUPPORTED = ((3, 14), (3, 13), (3, 12), (3, 11))
NAMES = (*("python%d.%d" % version for version in SUPPORTED), "python3", "python")
PROBE_TIMEOUT_S = 20

# A Python without ensurepip (Debian without python3-venv) cannot make an environment; uv can.
PROBE = """
import sys
assert sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final"
if "need-venv" in sys.argv:
    import ensurepip, venv
print(*sys.version_info[:3], getattr(sys, "_base_executable", sys.executable))
"""


class Python(NamedTuple):
    """An interpreter that was seen to run."""

    version: tuple[int, int, int]
    path: str

    @property
    def minor(self) -> tuple[int, int]:
        """The version as SUPPORTED has it: (3, 13)."""
        return self.version[:2]


def candidates() -> Iterator[str]:
    """Every path worth asking, PATH before pyenv."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in sorted(pyenv.glob("versions/3.*/bin/python3")):
        yield str(path)


def probe(path: str) -> Python | None:
    """Ask an interpreter what it is; None if it does not run or cannot serve."""
    need = [] if shutil.which("uv") else ["need-venv"]
    try:
        answer = subprocess.run(
            [path, "-I", "-c", PROBE, *need],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, micro, executable = answer.stdout.strip().split(" ", 3)
    return Python((int(major), int(minor), int(micro)), executable)


def find(wanted: tuple[int, int] | None = None) -> Python | None:
    """Find the newest suitable Python, or the newest of the wanted version; None if there is none."""
    seen = [python for python in map(probe, dict.fromkeys(candidates())) if python is not None]
    versions = [wanted] if wanted else SUPPORTED
    suitable = [python for python in seen if python.minor in versions]
    return max(suitable, key=lambda python: python.version, default=None)


def parse_version(text: str) -> tuple[int, int]:
    """Read "3.12"; anything that is not a supported version ends the program with a message."""
    for version in SUPPORTED:
        if text == "%d.%d" % version:
            return version
    names = ", ".join("%d.%d" % version for version in SUPPORTED)
    sys.exit(f"PYTHON={text}: give one of {names}")


def find_or_exit(arguments: list[str]) -> Python:
    """Find what the command line asks for, or end the program saying what is missing."""
    wanted = parse_version(arguments[0]) if arguments else None
    python = find(wanted)
    if python is None:
        name = "Python %d.%d" % wanted if wanted else "Python 3.11 to 3.14"
        sys.exit(f"no {name} that runs (with the venv module) was found on PATH or under pyenv: install one")
    return python


if __name__ == "__main__":
    print(find_or_exit(sys.argv[1:]).path)

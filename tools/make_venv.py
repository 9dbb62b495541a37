"""Make a virtual environment with the package, its extras and the development tools in it.

    python3 tools/make_venv.py .venv          the newest suitable Python
    python3 tools/make_venv.py .venv-3.12 3.12

An environment that is there and has a right Python is kept and brought up to date. uv is used if
it is on PATH, else pip. ``.ready`` inside the environment is touched last: make compares it with
pyproject.toml. Standard library only, and old syntax: any Python 3.8 can run this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import find_python

PROJECT = Path(__file__).resolve().parent.parent
WHAT = ["--editable", ".[all]", "--group", "dev"]
PIP_WITH_GROUPS = "pip>=25.1"


def call(*command: str) -> None:
    """Run a command in the project's folder; end the program with its status if it fails."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    status = subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
    if status != 0:
        sys.exit(f"this command failed with exit status {status}: {' '.join(command)}")


def usable(python: Path, wanted: list[str]) -> bool:
    """Whether the environment's interpreter runs and is of the version asked for, if one was."""
    versions = [find_python.parse_version(text) for text in wanted] or find_python.SUPPORTED
    found = find_python.probe(str(python))
    return found is not None and found.minor in versions


def make_with_uv(uv: str, folder: str, base: str | None) -> None:
    """Make the environment, if there is a base to make it from, and install, both with uv."""
    if base:
        call(uv, "venv", "--quiet", "--seed", "--clear", "--python", base, folder)
    call(uv, "pip", "install", "--quiet", "--python", f"{folder}/bin/python", *WHAT)


def make_with_pip(folder: str, base: str | None) -> None:
    """Make the environment, if there is a base to make it from, and install, with venv and pip."""
    python = str(PROJECT / folder / "bin" / "python")
    if base:
        call(base, "-m", "venv", "--clear", folder)
    call(python, "-m", "pip", "install", "--quiet", PIP_WITH_GROUPS)
    call(python, "-m", "pip", "install", "--quiet", *WHAT)


def main() -> None:
    """Make or update the environment named on the command line."""
    folder, *wanted = sys.argv[1:]
    base = None
    if not usable(PROJECT / folder / "bin" / "python", wanted):
        found = find_python.find_or_exit(wanted)
        base = found.path
        print(f"making {folder} with Python {'.'.join(map(str, found.version))}", flush=True)
    uv = shutil.which("uv")
    if uv:
        make_with_uv(uv, folder, base)
    else:
        make_with_pip(folder, base)
    (PROJECT / folder / ".ready").touch()


if __name__ == "__main__":
    main()

"""Build the sdist and the wheel into dist/, and use both as somebody does who has nothing else.

    python tools/package.py                      build, install, run the tour
    python tools/package.py tests/docs -k page   and these tests, with the arguments of pytest

The wheel is made from the sdist, and installed into an empty environment: first alone, then with the
extra ``cli``, which runs the tour. The tests are those of the unpacked sdist; they import the
installed package. Run by ``make package`` with the environment's own Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
USE = "import stateroom\nwith stateroom.open_session() as session: assert session.run('6 * 7').value == 42"
TYPED = "import stateroom, pathlib; assert pathlib.Path(stateroom.__file__).with_name('py.typed').exists()"


def call(*command: object, cwd: Path, stdin: str = "") -> None:
    """Run a command; end the program with its status if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, input=stdin, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {' '.join(words)}")


def say(what: str) -> None:
    """Head what follows."""
    print(f"== {what}", flush=True)


def build(folder: Path) -> tuple[Path, Path]:
    """The paths of a new sdist and of the wheel made from it, copied to dist/ too."""
    call(sys.executable, "-m", "build", "--outdir", folder, PROJECT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    (PROJECT / "dist").mkdir(exist_ok=True)
    for made in (sdist, wheel):
        (PROJECT / "dist" / made.name).write_bytes(made.read_bytes())
    return sdist, wheel


def unpack(sdist: Path, folder: Path) -> Path:
    """The folder that the sdist holds."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def main() -> None:
    """Build, install, run; the arguments are those of pytest, none for no tests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("build")
        sdist, wheel = build(folder)
        source = unpack(sdist, folder)
        say("the wheel alone")
        call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        python = folder / "venv" / "bin" / "python"
        pip = (python, "-m", "pip", "install", "--quiet")
        call(*pip, wheel, cwd=folder)
        call(python, "-c", USE, cwd=folder)
        call(python, "-c", TYPED, cwd=folder)
        say("the wheel with the extra cli: the tour")
        call(*pip, f"{wheel}[cli]", cwd=folder)
        call(python.with_name("stateroom"), "run", source / "examples" / "tour.py", cwd=folder)
        if len(sys.argv) > 1:
            say("the wheel with all extras: the tests of the sdist")
            call(*pip, "pip>=25.1", cwd=folder)
            call(*pip, f"{wheel}[all]", "--group", "dev", cwd=source)
            call(python, "-m", "pytest", "-n", "auto", *sys.argv[1:], cwd=source)


if __name__ == "__main__":
    main()

"""Run every static check, side by side, and show the output of those that found something.

Exit status 1 if any did. Run by ``make check`` with the environment's own Python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BIN = Path(sys.executable).parent
CHECKS = {
    "ruff check": ["ruff", "check", "--quiet", "."],
    "ruff format": ["ruff", "format", "--quiet", "--diff", "."],
    "mypy": ["mypy", "--no-error-summary"],
    "import-linter": ["lint-imports"],
}


def run(name: str) -> tuple[str, int, str, float]:
    """Run one check: its name, exit status, output and seconds."""
    program, *arguments = CHECKS[name]
    started = time.monotonic()
    done = subprocess.run(
        [str(BIN / program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return name, done.returncode, done.stdout, time.monotonic() - started


def main() -> int:
    """Run all checks; 0 if none found anything."""
    failed = []
    with ThreadPoolExecutor() as pool:
        for name, status, output, seconds in pool.map(run, CHECKS):
            print(f"{name:14} {'ok' if status == 0 else 'FAILED'}  {seconds:.1f} s", flush=True)
            if status != 0:
                failed.append(name)
                print(output, flush=True)
    if failed:
        print("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

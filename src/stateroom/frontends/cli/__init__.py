"""The ``stateroom`` command, behind the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process, and exit with its status."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"the stateroom command needs {error.name}: pip install 'stateroom[cli]'")
    app(prog_name="stateroom")

"""docs/command_line.md has every command and option of ``stateroom``, with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

typer = pytest.importorskip("typer", reason="the command needs the extra cli")

PAGE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
OF_TYPER = {"--help"}


def all_commands() -> dict[str, Any]:
    """Each command by its words: those that have commands themselves, too."""
    from stateroom.frontends.cli.app import app

    found: dict[str, Any] = {}

    def walk(command: Any, words: str) -> None:
        found[words] = command
        for name, below in getattr(command, "commands", {}).items():
            walk(below, f"{words} {name}")

    walk(typer.main.get_command(app), "stateroom")
    return found


COMMANDS = all_commands()


def test_commands_and_arguments() -> None:
    shown = re.findall(r"^\| `(stateroom [^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(re.sub(r"…|[\[\]]", "", line) for line in shown) == sorted(
        " ".join([words, *(each.metavar.replace("|-", "") for each in arguments_of(command))])
        for words, command in COMMANDS.items()
        if not hasattr(command, "commands")
    )


def test_options_and_defaults() -> None:
    shown = re.findall(r"^\| `(--[\w-]+)` \| `([\w ]+)` \| (\S[^|]*) \|", PAGE, re.MULTILINE)
    options = {
        (name, words.removeprefix("stateroom ")): each
        for words, command in COMMANDS.items()
        for each in command.params
        for name in each.opts
        if name.startswith("--") and name not in OF_TYPER
    }
    assert {(name, words) for name, words, _ in shown} == set(options)
    defaults = {(name, words): default.strip("`") for name, words, default in shown}
    for key, each in options.items():
        if isinstance(each.default, int | float) and not isinstance(each.default, bool):
            assert defaults[key] == str(each.default)
        if each.envvar:
            assert defaults[key] == each.envvar


def arguments_of(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]

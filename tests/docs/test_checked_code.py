"""The checks that comments become: they hold, they fail, and they leave every line where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from checked_code import HELPERS, with_checks
from markdown_blocks import blocks_of


def run(code: str) -> int:
    checked = with_checks(code)
    assert len(checked.code.splitlines()) == len(code.splitlines())
    namespace: dict[str, object] = {}
    exec(HELPERS, namespace)
    exec(checked.code, namespace)
    return checked.checks


@pytest.mark.parametrize(
    "code",
    [
        "6 * 7  # 42",
        "if True:\n    'a' + 'b'   # 'ab'",
        "[\n    1,\n    2,\n]  # [1, 2]",
        "text = 'ä' * 2; len(text)  # 2",
        "print(1, True)  # 1 True",
        "int('x')  # raises ValueError",
        "None  # None",
    ],
)
def test_what_holds_passes_and_is_counted(code: str) -> None:
    assert run(code) >= 1


@pytest.mark.parametrize(
    "code",
    [
        "6 * 7  # 43",
        "1  # True",
        "2.0  # 2",
        "print(1, 2)  # 1 3",
        "int('1')  # raises ValueError",
        "int('x')  # raises TypeError",
    ],
)
def test_what_does_not_hold_fails(code: str) -> None:
    with pytest.raises(AssertionError):
        run(code)


@pytest.mark.parametrize(
    "code", ["6 * 7  # the answer", "x = 1  # 2", "print('a')  # shown", "...  # ready at once"]
)
def test_other_comments_are_for_the_reader(code: str) -> None:
    assert run(code) == 0


def test_a_comment_belongs_to_the_block_right_behind_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: shows a shape -->\n```python\na\n```\n\n"
        "<!-- needs: numpy rich -->\n```python\nb\n```\n\n"
        "<!-- not run: of another block -->\n\nText.\n\n```python\nc\n```\n"
    )
    first, second, third = blocks_of(page)
    assert (first.not_run, first.line, first.code) == ("shows a shape", 3, "a\n")
    assert (second.not_run, second.needs) == (None, ("numpy", "rich"))
    assert (third.not_run, third.needs, third.language) == (None, (), "python")

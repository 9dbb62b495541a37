"""Large data is neither copied as a whole when it is written nor when it is read."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

ARRAY_BYTES = 64 << 20


@pytest.fixture
def peak():
    """The most memory that was allocated since the test began, in bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


LARGE = [
    ("np.ones(size // 8)", "large.sum() == size // 8 and large.flags.writeable"),
    ("np.ones((8, size // 64)).T", "large.sum() == size // 8 and large.flags.f_contiguous"),
    ("b'x' * size", "len(large) == size"),
    ("bytearray(size)", "len(large) == size"),
    ("memoryview(bytearray(size))", "len(large) == size and not large.readonly"),
    ("{'a': [np.ones(size // 16), np.ones(size // 16)]}", "sum(map(np.sum, large['a'])) == size // 8"),
]


@pytest.mark.parametrize(("expression", "check"), LARGE)
def test_writing_and_reading(main, new_main, tmp_path, peak, expression, check):
    main.namespace.update(size=ARRAY_BYTES, np=np)
    main.run(f"large = {expression}")
    path = tmp_path / "large.checkpoint"
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    from stateroom.worker.checkpoint import write_checkpoint

    with path.open("wb") as file:
        file.writelines(write_checkpoint(main.manager).chunks())
    assert peak() - held < ARRAY_BYTES // 8

    other = new_main()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    with path.open("rb") as file:
        other.restore(file)
    own = ARRAY_BYTES if expression.startswith(("b'x'", "bytearray")) else 0  # they must own their memory
    assert peak() - held < own + ARRAY_BYTES // 8
    assert other.get(check)


def test_looking_for_what_cannot_be_saved_copies_nothing_either(main, peak):
    main.namespace.update(size=ARRAY_BYTES, np=np)
    main.run("bad = [(x for x in ())]\nlarge = np.ones(size // 8)\nalso = [large]")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    from stateroom.worker.checkpoint import write_checkpoint

    checkpoint = write_checkpoint(main.manager)
    assert list(checkpoint.header.skipped) == ["bad"]
    assert peak() - held < ARRAY_BYTES // 8

"""A checkpoint that is not whole, or not for this Python, is refused before anything is touched."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stateroom.errors import CheckpointError
from stateroom.protocol.checkpoint_format import CheckpointChecker, open_parts, read_header

in_one_main = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def blob(main):
    """A checkpoint with functions, a class and a buffer beside the stream."""
    main.run("x = 1\ndef f(): return x\nclass C: pass\nc = C()\nimport json")
    main.namespace["array"] = np.arange(10_000)
    saved = main.save()
    main.run("x = 2\nl = []")
    assert len(main.checkpoint.header.buffer_bytes) == 1
    return saved


def refused(main, blob, **options):
    """Restoring raises CheckpointError and changes nothing; its text."""
    before = dict(main.namespace)
    with pytest.raises(CheckpointError) as caught:
        main.restore(blob, **options)
    assert list(main.namespace) == list(before)
    assert all(main.namespace[name] is value for name, value in before.items())
    return str(caught.value)


@in_one_main
@given(data=st.data())
def test_K4_a_changed_bit(main, blob, data):
    altered = bytearray(blob)
    altered[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(main, altered)
    with pytest.raises(CheckpointError):
        check_in_chunks(altered)


@in_one_main
@given(data=st.data())
def test_K4_cut_short(main, blob, data):
    size = data.draw(st.integers(0, len(blob) - 1))
    assert "cut short" in refused(main, blob[:size])
    with pytest.raises(CheckpointError, match="cut short"):
        check_in_chunks(blob[:size])


@in_one_main
@given(st.binary(min_size=1, max_size=300))
def test_K4_something_behind_it(main, blob, more):
    assert "too many" in refused(main, blob + more)
    with pytest.raises(CheckpointError, match="too many"):
        check_in_chunks(blob + more)


@in_one_main
@given(st.binary(max_size=300))
def test_K4_anything_else(main, garbage):
    refused(main, garbage)


@in_one_main
@given(data=st.data())
def test_K4_two_checkpoints_in_one(main, blob, data):
    main.run("y = 1")
    other = main.save()
    at = data.draw(st.integers(200, min(len(blob), len(other)) - 1))
    refused(main, blob[:at] + other[at:])


def check_in_chunks(blob):
    checker = CheckpointChecker()
    for start in range(0, len(blob), 1000):
        checker.feed(bytes(blob[start : start + 1000]))
    return checker.finish()


@given(sizes=st.lists(st.integers(1, 5000), max_size=50))
@in_one_main
def test_the_checker_takes_chunks_of_any_size(blob, sizes):
    checker, start = CheckpointChecker(), 0
    for size in sizes:
        checker.feed(blob[start : start + size])
        start += size
    checker.feed(blob[start:])
    assert checker.finish() == read_header(blob)


def test_K4_another_format_version(main, blob):
    altered = bytearray(blob)
    altered[11] = 2
    said = refused(main, altered)
    assert said == (
        "the checkpoint has format version 2, this stateroom reads version 1; use the version of stateroom that wrote it"
    )
    with pytest.raises(CheckpointError, match="format version 2"):
        read_header(altered)


@pytest.mark.parametrize("fields", [{"python": "3.9.1"}, {"implementation": "graalpy"}])
def test_K4_another_python(main, blob, with_header, fields):
    said = refused(main, with_header(blob, **fields))
    assert "allow_other_python=True" in said
    assert next(iter(fields.values())).removesuffix(".1") in said


def test_K4_another_micro_version_is_fine(main, blob, with_header):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}.99"
    assert main.restore(with_header(blob, python=version)).failed == {}


def test_another_python_if_asked_gives_data_but_no_code(main, blob, with_header):
    main.run("class D:\n    def m(self): pass\nd = [D()]\nnumbers = {'a': [1, 2.5, 'x', b'y', None]}")
    old = with_header(main.save(), python="3.9.1")
    report = main.restore(old, allow_other_python=True)
    assert set(report.failed) == {"f", "D", "d"}
    assert report.failed["f"].startswith("its code was compiled by cpython 3.9, and this is ")
    assert report.restored == ["x", "C", "c", "json", "array", "l", "numbers"]
    assert main.get("numbers['a']") == [1, 2.5, "x", b"y", None]
    assert main.get("array.sum()") == sum(range(10_000))
    assert "f" not in main.namespace


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "file"])
def test_arrays_are_writable_whatever_they_come_from(main, blob, tmp_path, kind):
    path = tmp_path / "one.checkpoint"
    path.write_bytes(blob)
    with path.open("rb") as file:
        source = {
            "bytes": lambda: blob,
            "bytearray": lambda: bytearray(blob),
            "memoryview": lambda: memoryview(bytearray(blob)),
            "file": lambda: file,
        }[kind]()
        main.restore(source)
    array = main.namespace["array"]
    array[0] = 77
    assert array.sum() == sum(range(10_000)) + 77
    assert path.read_bytes() == blob
    assert not array.flags.owndata


def test_arrays_live_in_the_memory_that_was_given(main, blob):
    memory = bytearray(blob)
    main.restore(memory)
    main.namespace["array"][:3] = [7, 8, 9]
    assert np.array([7, 8, 9]).tobytes() in bytes(memory)


def test_arrays_are_aligned(main, blob, tmp_path):
    path = tmp_path / "one.checkpoint"
    path.write_bytes(blob)
    with path.open("rb") as file:
        main.restore(file)
    assert main.namespace["array"].ctypes.data % 64 == 0


def test_an_empty_file(main, tmp_path):
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        assert "cut short" in refused(main, file)


def test_a_file_without_a_descriptor_is_no_blob(main, blob):
    with pytest.raises((TypeError, io.UnsupportedOperation)):
        main.restore(io.BytesIO(blob))


def test_reading_a_header_unpickles_nothing(main):
    main.run("import os\nclass Trap:\n    def __reduce__(self): return os._exit, (3,)\ntrap = Trap()")
    header = read_header(main.save()[:2000])
    assert [entry.name for entry in header.entries] == ["os", "Trap", "trap"]
    assert header.entries[2].type == "__main__.Trap"


def test_the_whole_is_checked_once_more_by_its_parts(blob):
    parts = open_parts(blob)
    assert parts.header.stream_bytes == parts.stream.nbytes
    assert [view.nbytes for view in parts.buffers] == parts.header.buffer_bytes

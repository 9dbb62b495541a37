"""Representations of values by MIME type, and how much one cell may print."""

import base64
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stateroom
from stateroom.config import EngineConfig
from stateroom.worker.display import describe, show
from stateroom.worker.mime import Bundle
from stateroom.worker.output_limit import OutputLimit, whole_characters


def bundle_of(value, **config):
    bundle = Bundle(EngineConfig(**config), [])
    bundle.describe(value)
    return bundle


def with_methods(**returned):
    """An object whose ``_repr_…_`` methods return this."""
    methods = {f"_repr_{name}_": lambda self, _data=data, **_: _data for name, data in returned.items()}
    return type("Thing", (), methods)()


def raising(error):
    def method(self, **_):
        raise error

    return method


def test_each_method_gives_its_type():
    thing = with_methods(
        html="<b>",
        markdown="*b*",
        svg="<svg/>",
        png=b"\x89PNG",
        jpeg=b"\xff\xd8",
        latex="$b$",
        json={"b": [1, None, "x"]},
        javascript="b()",
        pdf=b"%PDF",
    )
    bundle = bundle_of(thing)
    assert bundle.data == {
        "text/html": "<b>",
        "text/markdown": "*b*",
        "image/svg+xml": "<svg/>",
        "image/png": b"\x89PNG",
        "image/jpeg": b"\xff\xd8",
        "text/latex": "$b$",
        "application/json": {"b": [1, None, "x"]},
        "application/javascript": "b()",
        "application/pdf": b"%PDF",
    }
    assert bundle.notes == []


def test_mimebundle_comes_before_the_single_methods():
    thing = with_methods(mimebundle={"text/html": "bundle", "application/x": [1]}, html="single", latex="l")
    assert bundle_of(thing).data == {"text/html": "bundle", "application/x": [1], "text/latex": "l"}


def test_mimebundle_is_asked_for_everything():
    asked = {}

    class Thing:
        def _repr_mimebundle_(self, include, exclude):
            asked.update(include=include, exclude=exclude)
            return {"text/plain": "own text"}

    bundle = Bundle(EngineConfig(), [])
    describe(Thing(), bundle, EngineConfig())
    assert asked == {"include": None, "exclude": None}
    assert bundle.data == {"text/plain": "own text"}


def test_metadata_of_a_pair():
    assert bundle_of(with_methods(png=(b"p", {"width": 3}))).metadata == {"image/png": {"width": 3}}
    pair = ({"text/html": "h", "text/latex": "l"}, {"text/html": {"isolated": True}})
    bundle = bundle_of(with_methods(mimebundle=pair))
    assert bundle.data == {"text/html": "h", "text/latex": "l"}
    assert bundle.metadata == {"text/html": {"isolated": True}}


def test_none_is_no_representation():
    bundle = bundle_of(with_methods(html=None, png=(None, {}), mimebundle=None, latex="l"))
    assert (bundle.data, bundle.notes) == ({"text/latex": "l"}, [])


def test_base64_text_becomes_bytes():
    bundle = bundle_of(with_methods(png=base64.b64encode(b"pixels").decode(), jpeg="x"))
    assert bundle.data == {"image/png": b"pixels"}
    assert bundle.notes[0].startswith("image/jpeg left out: ")


@pytest.mark.parametrize("data", [bytearray(b"p"), memoryview(b"p")])
def test_binary_data_becomes_bytes(data):
    assert bundle_of(with_methods(png=data)).data == {"image/png": b"p"}


def test_what_raises_is_noted_and_the_others_go_on():
    class Thing:
        _repr_html_ = raising(ValueError("secret"))
        _repr_mimebundle_ = raising(RecursionError())

        def _repr_latex_(self):
            return "l"

    bundle = bundle_of(Thing())
    assert bundle.data == {"text/latex": "l"}
    name = Thing.__qualname__
    assert bundle.notes == [
        f"_repr_mimebundle_ of {name} raised RecursionError",
        f"_repr_html_ of {name} raised ValueError",
    ]


@pytest.mark.parametrize(
    ("returned", "note"),
    [
        ({"html": b"bytes"}, "text/html left out: it is of type bytes, not a str"),
        ({"png": 5}, "image/png left out: it is of type int, not bytes"),
        ({"json": {1: object()}}, "application/json left out: "),
        ({"html": ("h", {"x": object()})}, "text/html left out: "),
        ({"mimebundle": ["text/html"]}, "_repr_mimebundle_ of Thing raised TypeError"),
        ({"mimebundle": ({"text/html": "h"}, 5)}, "_repr_mimebundle_ of Thing raised AttributeError"),
    ],
)
def test_what_is_not_of_its_type_is_left_out(returned, note):
    bundle = bundle_of(with_methods(**returned, latex="l"))
    assert bundle.data == {"text/latex": "l"}
    assert bundle.notes[0].startswith(note)


def test_json_deeper_than_the_stack_is_left_out():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    bundle = bundle_of(with_methods(json=deep, latex="l"))
    assert list(bundle.data) == ["text/latex"]


def test_types_of_a_mimebundle_are_texts():
    assert bundle_of(with_methods(mimebundle={5: "x", "text/html": "h"})).data == {"text/html": "h"}


@pytest.mark.parametrize("value", [Mock(), MagicMock(), Mock, type("Meta", (type,), {})("C", (), {})])
def test_what_answers_every_name_is_not_believed(value):
    bundle = bundle_of(value)
    assert (bundle.data, bundle.notes) == ({}, [])


def test_getattr_that_answers_everything_is_not_asked():
    class Proxy:
        def __getattr__(self, name):
            raise AssertionError(name)

    assert bundle_of(Proxy()).notes == []


def test_methods_of_a_class_are_for_its_instances():
    thing = with_methods(html="<b>")
    assert bundle_of(type(thing)).data == {}
    assert bundle_of(thing).data == {"text/html": "<b>"}


def test_none_in_place_of_a_method_switches_it_off():
    base = type(with_methods(html="<b>", latex="l"))
    assert bundle_of(type("Quiet", (base,), {"_repr_html_": None})()).data == {"text/latex": "l"}


def test_one_representation_is_bounded():
    bundle = bundle_of(with_methods(html="h" * 11, markdown="é" * 6, latex="l" * 10), max_mime_bytes=10)
    assert list(bundle.data) == ["text/latex"]
    assert bundle.notes == [
        "text/html of 11 bytes left out: over max_mime_bytes",
        "text/markdown of 12 bytes left out: over max_mime_bytes",
    ]


def test_all_representations_together_are_bounded():
    bundle = bundle_of(with_methods(html="h" * 6, markdown="m" * 5, latex="l" * 4), max_bundle_bytes=10)
    assert list(bundle.data) == ["text/html", "text/latex"]
    assert bundle.notes == ["text/markdown of 5 bytes left out: over max_bundle_bytes"]
    assert bundle.size == 10


def test_plain_data_has_no_bundle_and_anything_else_has_text():
    assert show([1], EngineConfig()).mime == {}
    shown = show(with_methods(html="<b>"), EngineConfig())
    assert shown.mime == {"text/html": "<b>", "text/plain": shown.repr}
    assert shown.value is None
    assert "Thing" in shown.notes[0]


# How much one cell may print


def test_no_limit_lets_all_pass():
    limit = OutputLimit(None, None)
    assert limit.admit(b"x" * 1000) == b"x" * 1000
    assert limit.notes() == []


def test_what_just_fits_is_not_cut():
    limit = OutputLimit(4, 2)
    assert limit.admit(b"a\nb\n") == b"a\nb\n"
    assert limit.notes() == []


def test_the_marker_comes_once_on_a_line_of_its_own():
    limit = OutputLimit(3, None)
    first = limit.admit(b"abcdef\ngh")
    assert first.startswith(b"abc\n[output cut: ")
    assert first.endswith(b"max_output_bytes is 3]\n")
    assert limit.admit(b"i\n") == b""
    assert limit.notes() == ["output cut: 8 bytes with 2 line ends left out, max_output_bytes is 3"]


def test_the_marker_adds_no_line_end_where_one_is():
    limit = OutputLimit(2, None)
    limit.admit(b"a\n")
    assert limit.admit(b"b").startswith(b"[output cut: ")


def test_a_character_is_not_cut():
    assert OutputLimit(3, None).admit("éé".encode()).startswith("é\n[output cut".encode())


def test_lines_are_cut_behind_a_line_end():
    limit = OutputLimit(None, 2)
    assert limit.admit(b"1\n") == b"1\n"
    assert limit.admit(b"2\n3\n4").startswith(b"2\n[output cut: ")
    assert limit.left_out_lines == 1


def test_a_new_cell_counts_anew():
    limit = OutputLimit(2, 1)
    limit.admit(b"a\nb")
    limit.begin()
    assert limit.admit(b"c\n") == b"c\n"
    assert limit.notes() == []


@given(st.lists(st.binary(max_size=8)), st.integers(0, 20) | st.none(), st.integers(0, 5) | st.none())
def test_what_is_sent_and_what_is_left_out_are_all_there_is(parts, max_bytes, max_lines):
    limit = OutputLimit(max_bytes, max_lines)
    sent = [limit.admit(part) for part in parts]
    everything = b"".join(parts)
    kept = everything[: limit.bytes]
    assert b"".join(sent).startswith(kept)
    assert limit.bytes + limit.left_out_bytes == len(everything)
    assert limit.left_out_lines == everything[limit.bytes :].count(b"\n")
    assert max_bytes is None or limit.bytes <= max_bytes
    assert max_lines is None or kept.count(b"\n") <= max_lines
    cut = limit.left_out_bytes > 0
    assert b"".join(sent).count(b"[output cut: ") == cut
    assert bool(limit.notes()) == cut


@given(st.text(), st.integers(0, 40))
def test_whole_characters_end_where_characters_end(text, size):
    data = text.encode("utf-8", "ignore")[:size]
    whole = data[: whole_characters(data)].decode()
    assert text.encode("utf-8", "ignore").decode().startswith(whole)
    assert len(data) - len(whole.encode()) < 4


# Outside of a worker


def test_display_prints_where_there_is_no_session(capsys):
    handle = stateroom.display("shown", display_id="one")
    handle.update({"text/plain": "raw"}, raw=True)
    stateroom.clear_output()
    assert capsys.readouterr().out == "shown\nraw\n"
    assert stateroom.display(1) is None


def test_progress_iterates_where_there_is_no_session(capsys):
    assert list(stateroom.progress([1, 2], description="quiet")) == [1, 2]
    assert capsys.readouterr() == ("", "")

"""What of a namespace is saved, and what a restored one keeps."""

from __future__ import annotations

import sys

import pytest

from stateroom.engine.namespace import ENGINE_INTERNALS


def test_K3_the_same_dict_and_the_engines_names_stay(main):
    main.run("x = 1")
    main.manager.record_input("x")
    main.manager.record_expression_result(42)
    blob = main.save()
    before = {name: main.namespace[name] for name in ENGINE_INTERNALS if name in main.namespace}
    namespace = main.namespace
    main.run("x = 2\ny = 3")
    main.restore(blob)
    assert main.module.__dict__ is namespace
    assert main.variables == {"x": 1}
    assert {name: namespace[name] for name in before} == before
    assert namespace["_"] == 42


def test_K3_without_clear_existing_other_names_stay(main):
    main.run("x = 1")
    blob = main.save()
    main.run("x = 2\ny = 3")
    report = main.restore(blob, clear_existing=False)
    assert main.variables == {"x": 1, "y": 3}
    assert report.restored == ["x"]


def test_K3_imports_come_back_as_imports(main, new_main):
    main.run("import json as j, xml.dom.minidom, os.path\nfrom math import pi\nimport __main__ as me")
    blob = main.save()
    entries = {entry.name: entry.module for entry in main.checkpoint.header.entries}
    assert entries == {"j": "json", "xml": "xml", "os": "os", "pi": None, "me": "__main__"}
    other = new_main()
    other.restore(blob)
    assert other.get("j") is sys.modules["json"]
    assert other.get("xml.dom.minidom") is sys.modules["xml.dom.minidom"]
    assert other.get("me") is other.module


def test_the_engines_names_are_not_saved(main):
    main.run("x = 1\n_ = 5\nOut[1] = lambda: 0")
    main.save()
    assert [entry.name for entry in main.checkpoint.header.entries] == ["x"]
    assert main.checkpoint.header.skipped == {}


def test_what_python_keeps_of_warnings_is_not_saved(main):
    with pytest.warns(UserWarning, match="careful"):
        main.run("import warnings; warnings.warn('careful'); x = 1")
    assert "__warningregistry__" in main.namespace
    main.save()
    assert set(main.checkpoint.header.order) == {"warnings", "x"}


def test_an_empty_namespace(main):
    report = main.restore(main.save())
    assert report.restored == []
    assert main.variables == {}


def test_live_objects_of_the_worker_are_named(main, new_main):
    loop = object()
    main.namespace["loop"] = loop
    main.namespace["held"] = {"loop": loop}
    blob = main.save(live={"loop": loop})
    other, new_loop = new_main(), object()
    other.restore(blob, live={"loop": new_loop})
    assert other.get("loop") is new_loop
    assert other.get("held['loop']") is new_loop


def test_a_checkpoint_is_sent_once(main):
    main.save()
    with pytest.raises(Exception, match="write another one"):
        list(main.checkpoint.chunks())

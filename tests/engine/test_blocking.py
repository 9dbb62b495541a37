"""The detector: knobs, counters, verdicts, and what must never happen whatever a cell holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from blocking_judges import parse
from blocking_programs import STATEMENTS, explosives
from hypothesis import given
from hypothesis import strategies as st

from stateroom.config import EngineConfig
from stateroom.engine.blocking import BlockingDetector, CallSites, Verdict
from stateroom.engine.telemetry import Telemetry


class Engine:
    """A namespace with a detector, as an executor has them."""

    def __init__(self, **settings: Any) -> None:
        self.telemetry = Telemetry()
        self.detector = BlockingDetector(EngineConfig(**settings), self.telemetry)
        self.namespace: dict[str, Any] = {"__name__": "__main__"}

    def run(self, text: str) -> None:
        exec(compile(text, "<cell 1>", "exec"), self.namespace)

    def verdict(self, text: str) -> Verdict | None:
        return self.detector.verdict(self.detector.analyse(parse(text)), self.namespace)

    def call(self, text: str) -> str | None:
        found = self.verdict(text)
        return None if found is None else found.call


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    for value in engine.namespace.values():
        if hasattr(value, "close"):
            value.close()


def test_L6_one_analysis_serves_each_state_of_the_namespace(engine: Engine) -> None:
    sites = engine.detector.analyse(parse("nap(1)"))
    assert engine.detector.verdict(sites, engine.namespace) is None
    engine.run("from time import sleep as nap")
    assert engine.detector.verdict(sites, engine.namespace) is not None
    engine.run("def nap(x): return x")
    assert engine.detector.verdict(sites, engine.namespace) is None


def test_L6_a_function_is_judged_by_what_its_globals_hold_at_that_moment(engine: Engine) -> None:
    engine.run("import time\ndef slow(): time.sleep(1)")
    assert engine.call("slow()") == "time.sleep"
    engine.run("class Fake:\n    def sleep(self, s): return s\ntime = Fake()")
    assert engine.call("slow()") is None


def test_L6_a_function_given_new_code_is_judged_by_it(engine: Engine) -> None:
    engine.run("import time\ndef f(): return 1\ndef slow(): time.sleep(1)")
    assert engine.call("f()") is None
    engine.run("f.__code__ = slow.__code__")
    assert engine.call("f()") == "time.sleep"


def test_a_verdict_names_call_line_and_the_functions_on_the_way(engine: Engine) -> None:
    engine.run("import time\ndef inner(): time.sleep(1)\ndef outer(): inner()")
    verdict = engine.verdict("x = 1\n\nouter()")
    assert verdict is not None
    assert (verdict.call, verdict.line, verdict.reason, verdict.via) == (
        "time.sleep",
        3,
        "function",
        ("outer", "inner"),
    )
    assert repr(verdict) == "<Verdict outer -> inner -> time.sleep at line 3>"


def test_a_call_in_the_cell_itself_says_so(engine: Engine) -> None:
    verdict = engine.verdict("x = 1\nif x:\n    input('?')")
    assert verdict is not None
    assert (verdict.call, verdict.line, verdict.reason) == ("input", 3, "call")


def test_analysis_is_immutable_and_its_repr_short(engine: Engine) -> None:
    sites = engine.detector.analyse(parse("print(1); open('f')"))
    with pytest.raises(AttributeError):
        sites.scope = None
    assert repr(sites) == "<CallSites: 2 calls>"


def test_detection_turned_off_finds_nothing() -> None:
    assert Engine(enable_blocking_detection=False).call("import time\ntime.sleep(1)") is None


@pytest.mark.parametrize("cell", ["slowlib.work()", "slowlib.deep.Job().go()", "from slowlib import x\nx()"])
def test_a_module_from_the_settings_blocks_in_all_its_calls(cell: str) -> None:
    text = f"import slowlib, slowlib.deep\n{cell}"
    assert Engine().call(text) is None
    assert Engine(blocking_modules=("slowlib",)).call(text) is not None


def test_a_module_from_the_settings_does_not_take_its_neighbours_along() -> None:
    engine = Engine(blocking_modules=("acme.net",))
    assert engine.call("import acme.net\nacme.net.fetch()") == "acme.net.fetch"
    assert engine.call("import acme.netting\nacme.netting.fetch()") is None
    assert engine.call("import acme.text\nacme.text.fetch()") is None


@pytest.mark.parametrize(
    ("setting", "cell"),
    [
        ("acme.fetch", "import acme\nacme.fetch()"),
        ("acme.net.fetch", "from acme.net import fetch as f\nf()"),
        ("acme.Client.load", "import acme\nacme.Client().load()"),
        ("acme.net.Client.load", "import acme.net\nc = acme.net.Client()\nc.load()"),
    ],
)
def test_a_call_from_the_settings_blocks(setting: str, cell: str) -> None:
    assert Engine().call(cell) is None
    assert Engine(blocking_methods=(setting,)).call(cell) is not None
    assert (
        Engine(blocking_methods=(setting,)).call(cell.replace("load", "name").replace("fetch", "name"))
        is None
    )


def test_a_setting_reaches_a_live_object(engine: Engine) -> None:
    engine = Engine(blocking_methods=("decimal.Decimal.sqrt",))
    engine.run("import decimal\nd = decimal.Decimal(2)")
    assert engine.call("d.sqrt()") == "decimal.Decimal.sqrt"
    assert engine.call("d.ln()") is None


def test_L7_the_overshadow_guard_skips_and_counts() -> None:
    text = "class R:\n    def get(self, u): return u\nrequests = R()"
    guarded, unguarded = Engine(), Engine(enable_overshadow_guard=False)
    for engine in (guarded, unguarded):
        engine.run(text)
    assert guarded.call("requests.get('u')") is None
    assert guarded.telemetry.overshadow_guard_skips == 1
    assert unguarded.call("requests.get('u')") == "requests.get"
    assert unguarded.telemetry.overshadow_guard_skips == 0


def test_a_name_that_is_not_imported_counts_only_if_asked_to() -> None:
    assert Engine().call("requests.get('u')") is None
    assert Engine(require_import_for_module_calls=False).call("requests.get('u')") == "requests.get"


def test_counters_of_calls_imports_and_chains(engine: Engine) -> None:
    engine.run("import sqlite3\ncon = sqlite3.connect(':memory:')")
    engine.call("import time, json\ntime.sleep(1)")
    engine.call("con.no_such_attribute.execute()")
    counted = engine.telemetry.as_dict()
    assert counted["detected_blocking_call"] == 1
    assert counted["detected_blocking_import"] == 1
    assert counted["missed_attribute_chain"] == 1
    assert "missed_attribute_chain=1" in repr(engine.telemetry)


def test_loop_lags_are_counted_with_the_longest() -> None:
    telemetry = Telemetry()
    for lag_s in (0.2, 0.5, 0.3):
        telemetry.note_loop_lag(lag_s)
    assert (telemetry.loop_lags, telemetry.loop_lag_max_s) == (3, 0.5)
    telemetry.reset()
    assert repr(telemetry) == "Telemetry()"


def test_functions_that_call_each_other_end(engine: Engine) -> None:
    engine.run(
        "def a(x): return b(a)\ndef b(x): return a(b)\nclass C:\n    def __call__(self): return self()"
    )
    assert engine.call("a(b); b(a); C()()") is None


def test_a_chain_of_functions_is_followed_to_a_bound(engine: Engine) -> None:
    links = "\n".join(f"def f{n}(): f{n + 1}()" for n in range(100))
    engine.run(f"import time\n{links}\ndef f100(): time.sleep(1)")
    assert engine.call("f98()") == "time.sleep"
    assert engine.call("f0()") is None


def test_many_calls_that_fan_out_are_cut_short(engine: Engine) -> None:
    engine.run(
        "\n".join(f"def f{n}(x): return f{n + 1}(x), f{n + 1}(print), f{n + 1}(len)" for n in range(11))
    )
    engine.run("def f11(x): return x")
    # 3**11 walks would take minutes: that it ends within the test's time limit is the point.
    assert engine.call("f0(sum)") is None


EXPLOSIVE_CELLS = [
    "{0}",
    "{0}()",
    "{0}.sleep(1)",
    "{0}.get('u').json()",
    "{0}[0].get()",
    "with {0} as x:\n    x.sleep()",
    "for x in {0}:\n    x.sleep()",
    "({0} / 'x').read_text()",
    "{0}.a.b.c = {0}\n{0}.a.b.c()",
    "list({0}); next({0}); map({0}, {0}); sorted({0}, key={0})",
    "class C({0}): pass\nC().get()",
    "from time import *\n{0}.sleep(*{0}, **{0})",
    "({0} or {0}).sleep(1)",
    "import functools\nfunctools.partial({0})()",
    "import functools\nfunctools.reduce({0}, [{0}])",
    "def g(x={0}): x.get(); return {0}\ng({0}).get()",
]


@pytest.mark.parametrize("name", ["time", "requests", "s", "lazy", "f"])
@pytest.mark.parametrize("cell", EXPLOSIVE_CELLS)
def test_nothing_of_the_users_is_run(engine: Engine, name: str, cell: str) -> None:
    engine.namespace.update(explosives())
    engine.verdict(cell.format(name))
    engine.run("def through(x): " + "x.sleep(1); x(); x[0]; return x.get('u')")
    engine.verdict(f"through({name})")
    engine.namespace.clear()


@given(st.lists(STATEMENTS, max_size=8))
def test_no_program_makes_it_raise_or_run_user_code(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        tree = parse(text)
    except SyntaxError:  # a walrus where none may be
        return
    engine = Engine()
    engine.namespace.update(explosives())
    verdict = engine.verdict(text)
    assert verdict is None or 1 <= verdict.line <= len(lines)
    engine.namespace.clear()
    assert isinstance(engine.detector.analyse(tree), CallSites)


@pytest.mark.parametrize(
    "text",
    ["1" + " + 1" * 700, "-" * 90 + "1", "f" + "(1)" * 90, "x" + ".a" * 90 + "()", "[" * 90 + "]" * 90],
)
def test_deep_nesting_is_given_up_not_followed(engine: Engine, text: str) -> None:
    assert engine.verdict(text) is None


def test_a_call_after_something_deep_is_still_found(engine: Engine) -> None:
    assert engine.call("x = " + "1" + " + 1" * 700 + "\ninput()") == "input"


@pytest.mark.parametrize(
    "value",
    [
        "object()",
        "None",
        "type('M', (), {'__module__': 3})()",
        "type(__import__('time'))('x')",
        "lambda: (yield)",
    ],
)
def test_odd_values_are_no_trouble(engine: Engine, value: str) -> None:
    engine.run(f"x = {value}")
    assert engine.call("x.sleep(); x(); list(x); x.y.z()") is None
    engine.namespace.clear()


def test_functions_with_odd_globals_are_no_trouble(engine: Engine) -> None:
    engine.run("import types\ndef f(): return g()\nf = types.FunctionType(f.__code__, {'__name__': 3})")
    assert engine.call("f()") is None


def test_a_detector_keeps_no_object_of_the_namespace(engine: Engine) -> None:
    import gc
    import weakref

    engine.run("class C:\n    def get(self): return open\nc = C()")
    engine.call("c.get()\nC().get()")
    gone = weakref.ref(engine.namespace["c"])
    engine.namespace.clear()
    gc.collect()
    assert gone() is None

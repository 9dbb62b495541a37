"""The harness: turns, ratios, what is shown, and the sessions that it drives."""

import asyncio

import bench
import floor
import pytest
from adapters import stateroom_session
from rich.console import Console
from suite.measuring import Comparison, Plan, measure
from suite.report import rows, table, time_text


def contestant(name, times, turns):
    """Answers with the given times, one turn after the other, and writes down that it was asked."""
    queue = iter(times)

    async def sample():
        turns.append(name)
        return next(queue)

    return sample


async def measured(plan=None, **times):
    turns = []
    comparison = Comparison(
        name="1+1",
        contestants={name: contestant(name, given, turns) for name, given in times.items()},
        rounds=2,
    )
    return await measure("made up", comparison, plan or Plan()), turns


async def test_contestants_take_turns_and_the_first_turn_is_not_counted():
    found, turns = await measured(stateroom=[[9.0], [2.0], [4.0]], floor=[[9.0], [1.0], [1.0]])
    assert turns == ["stateroom", "floor"] * 3
    assert found.figures["stateroom"].samples == 2
    assert found.figures["stateroom"].median_s == 3.0


async def test_ratios_are_made_within_rounds():
    """The machine is ten times slower in the second round: the ratio does not see it."""
    found, _ = await measured(stateroom=[[1.0], [2.0], [20.0]], floor=[[1.0], [1.0], [10.0]])
    judged = found.figures["stateroom"]
    assert (judged.ratio, judged.ratio_low, judged.ratio_high) == (2.0, 2.0, 2.0)
    assert found.subjects == ["stateroom"]


async def test_a_peer_that_fails_is_left_out_and_noted():
    async def fails():
        raise AssertionError("3 of 5 characters came")

    async def one():
        return [1.0]

    plan = Plan()
    comparison = Comparison(name="lines", contestants={"stateroom": one, "floor": one, "ipykernel": fails})
    found = await measure("output", comparison, plan)
    assert found.peers == []
    assert plan.notes == ["output, lines: ipykernel left out, AssertionError 3 of 5 characters came"]


async def test_a_failure_of_ours_ends_the_run():
    async def fails():
        raise AssertionError("3 of 5 characters came")

    comparison = Comparison(name="lines", contestants={"stateroom": fails, "floor": fails})
    with pytest.raises(AssertionError, match="3 of 5"):
        await measure("output", comparison, Plan())


def test_a_quick_run_does_less():
    quick, whole = Plan(quick=True), Plan()
    assert (whole.count(300), quick.count(300), quick.count(1)) == (300, 100, 3)
    assert (whole.rounds_of(7), quick.rounds_of(7), quick.rounds_of(2)) == (7, 5, 2)
    assert Plan(quick=True, rounds=6).rounds_of(7) == 6


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.43e-7, "0.543 µs"), (2.5e-4, "250 µs"), (0.0123, "12.3 ms"), (1.5, "1.50 s")]
)
def test_times_are_shown_in_the_unit_that_fits(seconds, text):
    assert time_text(seconds) == text


async def test_a_row_tells_who_did_what_beside_whom():
    found, _ = await measured(stateroom=[[1e-4]] * 3, floor=[[5e-5]] * 3, ipykernel=[[4e-3]] * 3)
    [row] = rows(found)
    assert row[:4] == ["made up", "1+1", "stateroom", "100 µs"]
    assert row[5:] == ["50 µs floor", "2.00", "2.00 to 2.00", "40.0x ipykernel"]
    console = Console(width=200, record=True, quiet=False)
    with console.capture() as capture:
        console.print(table([found]))
    assert "40.0x ipykernel" in capture.get()


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--rounds", "0"]])
def test_a_bad_command_line_says_what_there_is(arguments, capsys):
    with pytest.raises(SystemExit):
        bench.parse(arguments)
    assert "error" in capsys.readouterr().err


def test_the_command_names_what_changes_the_figures_only():
    options = bench.parse(["--only", "pool", "--quick", "--save", "somewhere.json"])
    assert bench.command(options) == "python benchmarks/bench.py --only pool --quick"
    assert bench.command(bench.parse([])) == "python benchmarks/bench.py"


@pytest.fixture(params=[floor.Session, stateroom_session.Session], ids=["floor", "stateroom"])
async def session(request):
    made = request.param()
    await made.start()
    yield made
    await made.close()


async def test_all_sessions_keep_state_and_give_values(session):
    assert (await session.execute("import asyncio\nx = 20")).value is None
    assert (await session.execute("await asyncio.sleep(0)\nx + 1")).value == "21"
    assert session.pid


async def test_all_sessions_hand_out_text_while_it_comes(session):
    texts = []
    outcome = await session.execute("for i in range(20_000): print(i)", texts.append)
    assert outcome.out == "".join(texts) == "".join(f"{i}\n" for i in range(20_000))


async def test_all_sessions_tell_of_errors(session):
    outcome = await session.execute("print('so far')\n1 / 0")
    assert (outcome.ok, outcome.error, outcome.out) == (False, "ZeroDivisionError", "so far\n")


async def test_all_sessions_run_many_cells_in_order(session):
    await session.execute("seen = []")
    await session.execute_many([f"seen.append({i})" for i in range(300)])
    assert (await session.execute("seen == list(range(300))")).value == "True"


@pytest.mark.parametrize("code", ["while True: pass", "import asyncio; await asyncio.sleep(100)"])
async def test_all_sessions_live_on_after_an_interrupt(session, code):
    running = asyncio.Event()
    cell = asyncio.create_task(session.execute(f"print('on', flush=True)\n{code}", lambda _: running.set()))
    await running.wait()
    await asyncio.sleep(0)
    await session.interrupt()
    assert not (await cell).ok
    assert (await session.execute("1+1")).value == "2"


async def test_the_adapter_gives_values_and_answers_input():
    session = stateroom_session.Session()
    await session.start()
    try:

        async def answer(prompt):
            return prompt.upper()

        await session.execute("name = input('ada')", on_input=answer)
        assert await session.value("name") == "ADA"
        await session.execute("big = b'x' * 1_000_000")
        assert await session.value("big") == b"x" * 1_000_000
    finally:
        await session.close()


async def test_a_floor_whose_child_dies_says_so():
    session = floor.Session()
    await session.start()
    with pytest.raises(ConnectionError, match="child has ended"):
        await session.execute("import os; os._exit(3)")
    await session.close()

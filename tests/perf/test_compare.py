"""The comparison of stored runs, with made-up ones."""

import msgspec
import pytest
from compare import changes, main, remarks
from suite.measuring import Figures, Measured
from suite.report import Run, load, save


def figures(ratio):
    return Figures(
        median_s=1e-4 * ratio,
        p99_s=1e-3,
        samples=300,
        ratio=ratio,
        ratio_low=ratio * 0.9,
        ratio_high=ratio * 1.1,
    )


def run(ratios, *, base="floor", quick=False, python="3.13.0", cpu="made up"):
    """A run of one group; ``ratios`` by name of the comparison, and each has a peer that is 40 times slower."""
    results = [
        Measured(
            group="round_trip",
            name=name,
            base=base,
            peers=["ipykernel"],
            rounds=7,
            figures={"stateroom": figures(ratio), base: figures(1.0), "ipykernel": figures(40 * ratio)},
        )
        for name, ratio in ratios.items()
    ]
    return Run(
        date="2024-02-29",
        command="python benchmarks/bench.py",
        quick=quick,
        seconds=1.0,
        machine={"cpu": cpu, "cores": 2},
        versions={"python": python},
        notes=[],
        results=results,
    )


@pytest.fixture
def compared(tmp_path, capsys):
    """Store two runs and compare them: the exit status and what is printed."""

    def compare(stored, new, *arguments):
        paths = tmp_path / "stored.json", tmp_path / "new.json"
        save(stored, paths[0])
        save(new, paths[1])
        status = main([*map(str, paths), *arguments])
        return status, capsys.readouterr().out

    return compare


def test_nothing_changed(compared):
    status, output = compared(run({"1+1": 1.5}), run({"1+1": 1.5}))
    assert status == 0
    assert "0 of 1 ratios are worse" in output
    assert "WORSE" not in output


def test_a_ratio_that_is_worse_by_more_than_a_fifth_is_a_regression(compared):
    status, output = compared(run({"1+1": 1.5, "pass": 1.0}), run({"1+1": 1.5, "pass": 1.21}))
    assert status == 1
    assert "1 of 2 ratios are worse by more than 20%" in output
    [line] = [line for line in output.splitlines() if "WORSE" in line]
    assert "pass" in line
    assert "+21%" in line


@pytest.mark.parametrize(("new", "status"), [(2.39, 0), (2.41, 1), (1.0, 0)])
def test_the_limit_is_relative_to_the_stored_ratio(compared, new, status):
    assert compared(run({"1+1": 2.0}), run({"1+1": new}))[0] == status


def test_the_tolerance_can_be_chosen(compared):
    runs = run({"1+1": 1.0}), run({"1+1": 1.3})
    assert compared(*runs)[0] == 1
    assert compared(*runs, "--tolerance", "0.5")[0] == 0


def test_what_became_faster_is_said(compared):
    status, output = compared(run({"1+1": 2.0}), run({"1+1": 1.0}))
    assert status == 0
    assert "better" in output
    assert "-50%" in output


def test_absolute_times_and_peers_are_not_judged():
    stored, new = run({"1+1": 1.5}), run({"1+1": 1.5})
    measured = new.results[0]
    slower = {
        name: msgspec.structs.replace(found, median_s=9.0, ratio=99.0 if name == "ipykernel" else found.ratio)
        for name, found in measured.figures.items()
    }
    new.results[0] = msgspec.structs.replace(measured, figures=slower)
    [change] = changes(stored, new)
    assert change.key == ("round_trip", "1+1 / floor", "stateroom")
    assert not change.is_regression


def test_what_only_one_run_has_is_said_and_no_regression(compared):
    status, output = compared(run({"1+1": 1.5, "old": 1.0}), run({"1+1": 1.5, "new": 1.0}))
    assert status == 0
    assert "only in the stored run: round_trip, old / floor, stateroom" in output
    assert "only in the new run: round_trip, new / floor, stateroom" in output


def test_ratios_to_different_bases_are_not_compared(compared):
    status, output = compared(run({"1+1": 1.0}), run({"1+1": 9.0}, base="another"))
    assert status == 2
    assert "no measure in common" in output


def test_a_run_with_a_peer_is_another_run():
    alone = run({"1+1": 1.0})
    measured = alone.results[0]
    kept = {name: found for name, found in measured.figures.items() if name != "ipykernel"}
    alone.results[0] = msgspec.structs.replace(measured, peers=[], figures=kept)
    [said] = remarks(run({"1+1": 1.0}), alone)
    assert "not the same peers" in said


def test_what_weakens_a_comparison_is_said():
    stored = run({"1+1": 1.0})
    assert remarks(stored, run({"1+1": 1.0})) == []
    said = " ".join(remarks(stored, run({"1+1": 1.0}, quick=True, python="3.14.0", cpu="another")))
    assert "quick" in said
    assert "machines differ" in said
    assert "Python differ" in said


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no stored run"),
        (b"{}", "no stored run"),
        (b"not json", "no stored run"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path, capsys, content, word):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    save(run({"1+1": 1.0}), good)
    if content is not None:
        bad.write_bytes(content)
    assert main([str(good), str(bad)]) == 2
    assert word in " ".join(capsys.readouterr().out.split())


def test_a_run_of_another_format_is_refused(tmp_path):
    path = tmp_path / "run.json"
    save(msgspec.structs.replace(run({"1+1": 1.0}), format=99), path)
    with pytest.raises(ValueError, match="has format 99"):
        load(path)


def test_a_stored_run_is_read_as_it_was(tmp_path):
    made, path = run({"1+1": 1.5}), tmp_path / "run.json"
    save(made, path)
    assert load(path) == made

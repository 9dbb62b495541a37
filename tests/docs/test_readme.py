"""Each claim of README.md names, here, the tests that show it; for its figures see test_figures.py."""

from __future__ import annotations

import re
import tomllib

from named_tests import ROOT, not_collected

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCREEN = 66
"""Lines that README has at most."""
PROOFS = {
    "A cell means what Python means.": [
        "tests/e2e/test_semantics_namespace.py::test_N2_what_cells_define_lives_in_main",
        "tests/e2e/test_semantics_namespace.py::test_N5_user_code_always_has_the_same_thread",
        "tests/e2e/test_semantics_errors.py::test_E1_an_error_is_data_with_its_place",
    ],
    "The event loop goes on.": [
        "tests/e2e/test_semantics_loop.py::test_L1_background_tasks_go_on_whatever_a_cell_does",
        "tests/e2e/test_semantics_loop.py::test_L2_code_that_runs_a_loop_of_its_own_works",
        "tests/e2e/test_semantics_loop.py::test_L2_in_a_coroutine_of_the_cell_it_is_one_clear_error",
        "tests/e2e/test_semantics_loop.py::test_L4_a_cell_that_makes_a_task_and_blocks_works",
    ],
    "Cancel is prompt.": [
        "tests/e2e/test_cancel.py::test_X1_ends_at_once_with_the_namespace_intact",
        "tests/e2e/test_cancel.py::test_X4_hard_stop_ends_what_no_signal_reaches",
        "tests/e2e/test_checkpoints.py::test_X3_hard_stop_restores_the_last_checkpoint_and_says_what_was_lost",
    ],
    "Output comes in order, before the result,": [
        "tests/e2e/test_semantics_output.py::test_O1_all_that_is_written_arrives_in_order_before_the_result",
        "tests/e2e/test_session.py::test_python_and_descriptor_output_keep_their_order",
    ],
    "A dead worker is noticed at once,": [
        "tests/e2e/test_session.py::test_death_of_the_worker_ends_the_cell_at_once",
        "tests/e2e/test_checkpoints.py::test_auto_restart_with_automatic_checkpoints",
        "tests/soak/test_model.py::test_automatic_checkpoints_lose_no_more_than_promised",
    ],
    "Work can outlive any process.": [
        "tests/frontends/test_cli_durable.py::test_ctrl_c_stops_a_run_which_goes_on_later",
        "tests/integration/test_kill.py::test_a_kill",
        "tests/integration/test_postgres_workers.py::test_kill_9_amid_a_cell_another_worker_runs_that_cell_again_and_none_before",
    ],
    "It is measured.": [
        "tests/perf/test_benchmarks.py::test_measure",
        "tests/soak/test_soak.py::test_twenty_sessions_for_a_minute",
    ],
    "A session is not a sandbox:": [],  # it claims that something is missing
}


def test_every_claim_of_the_readme_has_its_proof() -> None:
    assert re.findall(r"\*\*(.+?)\*\*", README) == list(PROOFS)
    assert not not_collected([name for names in PROOFS.values() for name in names])


def test_it_fits_a_screen_and_begins_with_its_two_commands() -> None:
    lines = README.splitlines()
    assert len(lines) <= SCREEN
    assert [line.partition("#")[0].strip() for line in lines[3:5]] == ["make run", "make test"]


def test_its_extras_and_dependencies_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install = README.partition("`pip install .`")[2]
    assert set(re.findall(r"`(\w+)`", install)) - {"stateroom"} == set(project["optional-dependencies"])
    assert all(re.split(r"\W", needed)[0] in install for needed in project["dependencies"])


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    assert not [link for link in links if not (ROOT / link).exists()]

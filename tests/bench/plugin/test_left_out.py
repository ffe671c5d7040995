"""A matrix of parts that do not all go together, run as a user would run it."""

import pytest

from tests.bench.plugin.project import Project, Run

# Of 12 combinations the regression attack is in 4, and the shaper on the machine in 2 of the others.
COUNTED = "gradshape: 6 combinations do not apply and are left out"
REASON = (
    "  2: svm_linear is not trained by gradient steps (such as two_moons-svm_linear-label_flip_10-dp_svm_linear_c1)"
)
NAMES = ["two_moons-svm_linear-label_flip_10-dp_svm_linear_c1", "two_moons-lr-optp_10-vanilla"]


@pytest.fixture(scope="module")
def mixed(project: Project) -> Run:
    return project.run("test_mixed.py", into="mixed")


def test_what_applies_is_run_and_the_rest_is_counted_with_its_reasons(mixed: Run) -> None:
    lines = mixed.output.splitlines()
    assert mixed.status == 0
    assert len(mixed.records) == 6
    header, summary = lines.index(f"{COUNTED} (-v lists them):"), lines.index(f"{COUNTED} (-v lists them)")
    assert header < summary
    assert REASON in lines[header : header + 4]
    assert REASON not in lines[summary:]


def test_what_only_the_data_tells_is_skipped_with_its_reason(mixed: Run) -> None:
    skipped = {name: record for name, record in mixed.records.items() if record["status"] == "skipped"}
    assert set(skipped) == {name for name in mixed.records if "dictionary_10" in name}
    assert all(
        record["reason"].startswith("does not apply: dictionary_10 cannot be made on two_moons: ")
        for record in skipped.values()
    )
    assert "6 cases: 3 passed, 3 skipped (3 as they do not apply)" in mixed.output


def test_collecting_alone_says_it_too(project: Project) -> None:
    run = project.run("test_mixed.py", "--collect-only", into="mixed-collected")
    assert run.output.splitlines().count(REASON) == 1


def test_more_words_name_every_combination(project: Project) -> None:
    run = project.run("test_mixed.py", "--collect-only", "-v", into="mixed-collected")
    assert all(f"    {name}" in run.output.splitlines() for name in NAMES)


def test_the_process_that_collects_nothing_says_it_at_the_end(project: Project) -> None:
    run = project.run("test_mixed.py", "-n", "2", "-k", "label_flip", into="mixed-parallel")
    assert run.status == 0
    assert run.output.splitlines().count(REASON) == 1


def test_a_run_in_which_every_case_turns_out_not_to_apply_fails(project: Project) -> None:
    run = project.run("test_mixed.py", "-k", "dictionary", into="mixed-nothing")
    assert run.status == 1
    assert "gradshape: nothing was measured: no selected case applies" in run.output


def test_a_matrix_in_which_nothing_applies_is_an_error_of_its_file(project: Project) -> None:
    run = project.run("nothing.py", into="nothing")
    assert run.status == 2
    assert "ValueError: nothing in a matrix applies at smoke scale" in run.output
    assert "svm_linear is not trained by gradient steps" in run.output

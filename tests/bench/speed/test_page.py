import dataclasses
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.case import Scale
from gradshape_bench.speed import page as speed_page
from gradshape_bench.speed import results
from gradshape_bench.speed.gates import GATES, Gate
from gradshape_bench.speed.problems import PROBLEMS
from gradshape_bench.speed.results import SpeedRun
from gradshape_bench.speed.stacks import STACKS
from gradshape_bench.speed.step_methods import STEP_METHODS
from tests.bench.speed.sample import make, steps


def cells(page: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]


def test_equal_runs_give_equal_bytes() -> None:
    assert speed_page.render(make()) == speed_page.render(make())
    assert speed_page.render(SpeedRun.from_json(make().to_json())) == speed_page.render(make())


def test_order_of_measuring_does_not_show() -> None:
    run = make()
    backwards = dataclasses.replace(run, steps=dict(reversed(run.steps.items())))
    assert speed_page.render(backwards) == speed_page.render(run)


def test_document_holds_the_whole_run() -> None:
    run = make()
    assert SpeedRun.from_json(run.to_json()) == run


def test_every_way_stack_and_peak_has_a_row() -> None:
    rows = cells(speed_page.render(make()))
    for way in STEP_METHODS:
        assert len([row for row in rows if row[0] == way]) == len(PROBLEMS)
    for stack in STACKS:
        assert [row for row in rows if row[0] == stack.name and row[1] == f"{stack.victims:,}"]
    assert ["cnn", "1,000", "clipped_gradient", "750"] in rows


def test_cells_show_median_and_quartiles() -> None:
    row = next(row for row in cells(speed_page.render(make())) if row[0] == "training")
    assert row == ["training", "1.00 [0.90, 1.10]", "0.50 [0.45, 0.55]", "0.12 [0.11, 0.14]"]


def test_peak_that_was_not_measured_says_why() -> None:
    page = speed_page.render(make())
    assert ["cnn", "1,000", "opacus_hooks", "not measured"] in cells(page)
    assert "cnn, opacus_hooks: would take more than 9.9 GB" in page


def test_environment_is_shown_and_escaped() -> None:
    page = speed_page.render(make())
    assert "- opacus: 1.6.0" in page
    assert r"- processor: A \| B" in page
    assert "- commit: none" in page


@pytest.mark.parametrize(("over_plain", "word"), [(0.8, "✓ met"), (0.81, "✗ missed"), (0.99, "✗ missed")])
def test_missed_gate_is_shown_as_missed_even_where_its_test_passes(over_plain: float, word: str) -> None:
    page = speed_page.render(make(scale=Scale.SMOKE, over_plain=over_plain))
    row = next(row for row in cells(page) if row[:2] == ["lr", r"step/plain \<= 0.8"])
    assert row[3] == word


def test_gate_that_was_not_measured_is_neither() -> None:
    run = dataclasses.replace(make(), stacks={})
    row = next(row for row in cells(speed_page.render(run)) if row[0] == "cnn_k8")
    assert row[2:] == ["", "not measured"]


def test_each_kind_of_device_has_its_own_gates() -> None:
    of_gpu = cells(speed_page.render(make(device="NVIDIA H200")).split("## Gates")[1])
    assert of_gpu[2:] == [
        ["cnn", r"step/plain \<= 1.3", "0.5", "✓ met"],
        ["retraining", r"seconds \<= 120", "2 s", "✓ met"],
    ]
    of_cpu = speed_page.render(make()).split("## Gates")[1]
    assert not [row for row in cells(of_cpu) if row[0] == "retraining"]
    assert "lr_k64" in of_cpu


def test_time_of_a_part_is_given_for_the_whole() -> None:
    rows = [row for row in cells(speed_page.render(make())) if row[0] == "one_shot_purchase" and len(row) == 6]
    assert [row[2:] for row in rows] == [["100 victims, 10 epochs", "0.1", "1,000 victims, 50 epochs", "2"]]
    assert "Whole experiments" not in speed_page.render(dataclasses.replace(make(), experiments={}))


def test_page_says_its_scale() -> None:
    assert "Do not quote" in speed_page.render(make(scale=Scale.SMOKE))
    assert "Do not quote" not in speed_page.render(make(scale=Scale.PAPER))


def test_run_without_measurements_gives_a_page() -> None:
    assert speed_page.render(SpeedRun(Scale.SMOKE, "cpu", {})).startswith("# Speed\n")


def test_lines_have_no_trailing_space_and_the_page_ends_once() -> None:
    page = speed_page.render(make())
    assert page.endswith("\n")
    assert not page.endswith("\n\n")
    assert [line for line in page.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("gate", "value", "strictly", "within"),
    [
        (Gate("lr", "step/plain", "<=", bound=0.8), 0.8, True, True),
        (Gate("lr", "step/plain", "<=", bound=0.8), 0.99, False, True),
        (Gate("lr", "step/plain", "<=", bound=0.8), 1.01, False, False),
        (Gate("lr_k64", "stack/one_by_one", ">=", bound=60), 60, True, True),
        (Gate("lr_k64", "stack/one_by_one", ">=", bound=60), 48, False, True),
        (Gate("lr_k64", "stack/one_by_one", ">=", bound=60), 47, False, False),
    ],
    ids=str,
)
def test_tolerance_widens_a_gate_on_its_bad_side(gate: Gate, value: float, strictly: bool, within: bool) -> None:
    assert gate.met(value) is strictly
    assert gate.met(value, tolerance=1.25) is within


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.id)
def test_every_gate_bounds_something_that_a_complete_run_measures(gate: Gate) -> None:
    run = make()
    value = run.value(gate.subject, gate.quantity)
    assert value is not None
    assert gate.met(value) is True


def test_gates_take_the_training_way() -> None:
    run = dataclasses.replace(make(), steps={"lr": {**steps(), "clipped_gradient": steps(over_plain=9.0)["training"]}})
    assert run.value("lr", "step/plain") == 0.5


def test_ids_of_gates_differ() -> None:
    assert len({gate.id for gate in GATES}) == len(GATES)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 99}'])
def test_text_that_is_no_run_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|not a document|Expecting"):
        SpeedRun.from_json(text)


def test_page_is_made_beside_the_results_and_its_path_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.save(make(), tmp_path / "speed.json")
    assert main(["speed", str(tmp_path / "speed.json")]) == 0
    assert (tmp_path / "speed.md").read_text(encoding="utf-8") == speed_page.render(make())
    assert capsys.readouterr().out == f"{tmp_path / 'speed.md'}\n"


def test_output_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    results.save(make(), tmp_path / "speed.json")
    assert main(["speed", str(tmp_path / "speed.json"), "--output", str(tmp_path / "deep" / "page.md")]) == 0
    assert (tmp_path / "deep" / "page.md").exists()


def test_missing_or_foreign_results_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "foreign.json").write_text("[]", encoding="utf-8")
    for name in ("none.json", "foreign.json"):
        assert main(["speed", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / name}: ")
        assert error.count("\n") == 1


def test_results_are_never_overwritten_by_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.save(make(), tmp_path / "speed.json")
    with pytest.raises(SystemExit) as caught:
        main(["speed", str(tmp_path / "speed.json"), "--output", str(tmp_path / "speed.json")])
    assert caught.value.code == 2
    assert results.load(tmp_path / "speed.json") == make()
    assert "is the results file itself" in capsys.readouterr().err

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.headline import cost, damage, headline, judged, total
from gradshape_bench.report.ordering import best_defense
from tests.bench.report.board.reading import task_page
from tests.bench.sample import estimate, make, unmeasured

DRAWN = {name: estimate(value) for name, value in {"magnitude_ratio": 2.5, "rad": 0.1, "accuracy_clean": 0.9}.items()}
ERRORS = {"mse_ratio": estimate(1.5), "mse_ratio_vs_vanilla": estimate(1.6), "mse_ratio_utility": estimate(1.1)}
HITS = {"success_rate": estimate(0.4), "utility_loss": estimate(0.01)}


def record(metrics: dict[str, Estimate], **fields: object) -> Record:
    return make(metrics=metrics, thresholds=(), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metrics", "name"),
    [(make().metrics, "rad"), (ERRORS, "mse_ratio"), (HITS, "success_rate"), (DRAWN, "magnitude_ratio")],
)
def test_damage_depends_on_what_was_measured(metrics: dict[str, Estimate], name: str) -> None:
    shown = headline(record(metrics))
    assert shown is not None
    assert (shown.damage, damage(record(metrics))) == (name, metrics[name])


def test_regression_has_a_total_and_a_cost() -> None:
    found = record(ERRORS)
    assert (total(found), cost(found)) == (ERRORS["mse_ratio_vs_vanilla"], ERRORS["mse_ratio_utility"])


def test_success_is_judged_by_itself() -> None:
    assert (total(record(HITS)), judged(record(HITS))) == (None, HITS["success_rate"])


def test_a_look_inside_ranks_no_defence() -> None:
    row = [record(DRAWN), record(DRAWN, defense="vanilla")]
    assert judged(row[0]) is None
    assert best_defense(row) is None
    assert "### How much larger the poison's gradients were (`magnitude_ratio` ↓)" in task_page(row)


def test_nothing_measured_has_no_headline() -> None:
    found = unmeasured(Status.FAILED, "none")
    assert (headline(found), damage(found), total(found), cost(found), judged(found)) == (None,) * 5


def test_a_control_is_never_the_best() -> None:
    row = [
        make(defense="vanilla", rad=0.02, loss=0.0),
        make(defense="perfect_filter", rad=0.0, loss=0.0, details={"defense_kind": "control"}),
        make(defense="sphere_slab_q70", rad=0.01, loss=0.0),
    ]
    best = best_defense(row)
    assert best is not None
    assert best.defense == "sphere_slab_q70"


def test_a_rate_of_nothing_judges_no_defence() -> None:
    assert judged(record({"success_rate": Estimate(0.0, 0.0, 1.0, n=0)})) is None

"""The protocol without an attack, and the page that shows it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape.attacks import LabelFlip, NoAttack
from gradshape.defenses import GradientShaping
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import Adam, Recipe, Sampling
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import AnyJob, Filter, Train
from gradshape_bench.protocols import Accuracy, Lab, Measurement, Utility
from gradshape_bench.records.privacy_ledger import recipe_ledger
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import leaderboard, tradeoff
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.verdict import Threshold
from tests.bench.protocols.test_from_scratch import CURVES, MOONS, DropFirst, answer
from tests.bench.report.board.reading import merged, tables, task_page
from tests.bench.sample import make, unmeasured

RECIPE = Recipe("lr", Adam(0.05), batch_size=64, epochs=2)
CASE = Case(
    Task("two_moons", RECIPE), NoAttack(), GradientShaping(Clip(1)), scale=Scale.SMOKE, seeds=(0, 1), protocol=Utility()
)


def experiment(case: Case) -> tuple[list[Sequence[AnyJob]], Measurement]:
    """What the protocol asks for, in rounds, and what it finds."""
    running = case.protocol.run(case, Lab(case, MOONS, "cpu"))
    rounds = [next(running)]
    while True:
        try:
            rounds.append(running.send([answer(job, case) for job in rounds[-1]]))
        except StopIteration as stop:
            return rounds, stop.value


def metrics(case: Case = CASE) -> dict[str, float]:
    return {name: estimate.value for name, estimate in experiment(case)[1].metrics.items()}


def test_vanilla_and_defended_victims_are_trained_on_clean_data() -> None:
    [jobs] = experiment(CASE)[0]
    trained = [(job.recipe, job.seed, job.poison) for job in jobs if isinstance(job, Train)]
    assert trained == [(recipe, seed, None) for recipe in (CASE.vanilla, CASE.recipe) for seed in (0, 1)]


@pytest.mark.parametrize(("accuracy", "epoch"), [(Accuracy.BEST, 0), (Accuracy.LAST, 1)])
def test_the_loss_is_relative_to_the_vanilla_model(accuracy: Accuracy, epoch: int) -> None:
    vanilla, clean = CURVES["vanilla"][epoch], CURVES["clean"][epoch]
    found = metrics(replace(CASE, protocol=Utility(accuracy)))
    assert (
        found["utility_loss"] == found[f"utility_loss_{accuracy.value}"] == pytest.approx((vanilla - clean) / vanilla)
    )
    assert (found["accuracy_vanilla"], found["accuracy_clean"]) == (vanilla, clean)


def test_there_is_nothing_about_poison() -> None:
    names = {name.removesuffix("_best").removesuffix("_last") for name in metrics()}
    assert names == {"utility_loss", "accuracy_vanilla", "accuracy_clean"} <= set(METRICS)


def test_a_defence_that_filters_is_asked_first() -> None:
    rounds = experiment(replace(CASE, defense=DropFirst()))[0]
    assert [{type(job) for job in jobs} for jobs in rounds] == [{Filter}, {Train}]
    assert [job.keep is not None for job in rounds[1] if isinstance(job, Train)] == [False, False, True, True]


def test_an_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="attack 'label_flip_10': utility trains on clean data only"):
        experiment(replace(CASE, attack=LabelFlip(0.1)))


def test_an_epoch_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="accuracy='best': expected one of Accuracy"):
        Utility("best")  # type: ignore[arg-type]


def test_ids_tell_that_there_is_no_attack() -> None:
    assert CASE.id == "two_moons-lr-no_attack-dp_adam_c1-utility"


def measured(shaper: Shaper, **fields: Any) -> Record:
    """A record of the protocol."""
    recipe = replace(RECIPE, shaper=shaper, sampling=fields.pop("sampling", Sampling.SHUFFLE))
    values = {"protocol": "utility", "attack": "no_attack", "thresholds": (Threshold("utility_loss", "<", 0.05),)}
    return make(defense=shaper.label or "vanilla", details={"privacy": recipe_ledger(recipe, 700)}, **values | fields)


GRID = [
    measured(Shaper()),
    *(measured(Shaper((Clip(norm),))) for norm in (4, 0.1)),
    *(measured(Clip(norm) | Noise(std), loss=0.2 * std) for norm in (4, 0.1) for std in (0.4, 4)),
]


def cells(page: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def test_rows_are_norms_and_columns_noise() -> None:
    table = cells(tradeoff.render(GRID))
    assert table["C"] == ["no noise", "σ = 0.4", "σ = 4"]
    assert list(table)[2:] == ["none", "4", "0.1"]
    assert table["none"][1:] == ["-", "-"]


def test_a_cell_tells_accuracy_loss_verdict_and_both_epsilons() -> None:
    ledger = recipe_ledger(replace(RECIPE, shaper=Clip(4) | Noise(4)), 700)
    both = f"ε {ledger['nominal_epsilon']:.3g} / {ledger['epsilon']:.3g}"
    assert cells(tradeoff.render(GRID))["4"][2] == f"0.950 [0.946, 0.954]<br>loss 0.800 ✗<br>{both}"
    assert cells(tradeoff.render(GRID))["4"][0].endswith("<br>ε ∞ / ∞")


@settings(max_examples=10)
@given(st.permutations(GRID))
def test_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert tradeoff.render(records) == tradeoff.render(GRID)


def test_comes_the_same_from_the_results_file() -> None:
    assert tradeoff.render([Record.from_json(record.to_json()) for record in GRID]) == tradeoff.render(GRID)


def test_the_assumption_is_stated_for_each_sampling() -> None:
    assert "Poisson samples, as is customary, which they are not" in tradeoff.render(GRID)
    poisson = tradeoff.render([measured(Clip(4) | Noise(4), sampling=Sampling.POISSON)])
    assert "so the nominal epsilon holds" in poisson


def test_data_sets_models_and_scales_have_sections_of_their_own() -> None:
    page = tradeoff.render([*GRID, measured(Shaper(), scale="paper"), measured(Shaper(), model="mlp")])
    assert page.count("\n## ") == 3
    assert page.index("(paper scale)") < page.index("(smoke scale)")


def test_what_could_not_be_measured_is_listed() -> None:
    missing = unmeasured(Status.SKIPPED, "data: missing|", protocol="utility", dataset="cifar10")
    assert r"skipped: data: missing\|" in tradeoff.render([missing])
    assert "| C" not in tradeoff.render([missing])


def test_other_protocols_are_left_out() -> None:
    assert tradeoff.render([make()]) == tradeoff.render([])


def test_the_leaderboard_leaves_these_to_their_page() -> None:
    pages = leaderboard.render([*GRID, make()])
    assert "no_attack" not in "".join(pages.values())
    assert "(privacy.md)" in pages["leaderboard.md"]
    assert "privacy.md" not in "".join(leaderboard.render([make()]).values())


def test_without_a_ledger_the_cell_says_so() -> None:
    old = make(protocol="utility", attack="no_attack", defense="vanilla")
    assert "ε not recorded" in tradeoff.render([old])


@pytest.mark.parametrize(
    ("shaper", "rows"),
    [(Shaper((Clip(4.0),)), ()), (Clip(4.0) | Noise(0.4), ("nominal ε", "ε that holds"))],
)
def test_the_leaderboard_shows_epsilons_only_beside_noise(shaper: Shaper, rows: tuple[str, ...]) -> None:
    page = task_page(
        [
            make(defense="vanilla", details={"privacy": recipe_ledger(RECIPE, 700)}),
            make(defense="x", details={"privacy": recipe_ledger(replace(RECIPE, shaper=shaper), 700)}),
        ]
    )
    assert ("ε at δ = 1e-05, accountant rdp" in page) == bool(rows)
    table = merged(tables(page, "### Defences"))
    assert {name for name in table["x"] if "ε" in name} == set(rows)
    for row in rows:
        ledger = recipe_ledger(replace(RECIPE, shaper=shaper), 700)
        key = "nominal_epsilon" if "nominal" in row else "epsilon"
        assert (table["vanilla"][row], table["x"][row]) == ("∞", f"{ledger[key]:.3g}")

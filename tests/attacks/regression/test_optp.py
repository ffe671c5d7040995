from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradshape.attacks import Harm, OptP, PoisonSet, PoisonStart
from gradshape.attacks.regression.harm import HarmAscent, RegressionHarm, ascend
from gradshape.attacks.regression.optp import draw_start
from gradshape.data import Dataset, Split
from gradshape.learners.linear import LinearFit, Penalty, fit_linear
from gradshape.testing._datasets import plane, plane_rows
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, Victim, penalty_of, train_victims

DATA = plane(rows=150, noise=0.05)
X, Y = plane_rows(60, noise=0.1)
JUDGED = plane_rows(40, noise=0.1, seed=1)
PENALTIES = {"ols": Penalty(), "ridge": Penalty(l2=0.02), "lasso": Penalty(l1=0.004)}
each_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
each_recipe = pytest.mark.parametrize("recipe", [Fit("linear"), Fit("ridge"), Fit("lasso")], ids=lambda r: r.model)
HARMS = {
    "train": lambda penalty: RegressionHarm(X, Y, penalty),
    "validation": lambda penalty: RegressionHarm(X, Y, penalty, judged=JUDGED, weight=1.4),
    "distance": lambda penalty: RegressionHarm(X, Y, penalty, distance=True),
}


def flipped(count: int) -> tuple[Tensor, Tensor]:
    return X[:count].clone(), 1 - Y[:count]


def value(harm: RegressionHarm, x: Tensor, y: Tensor) -> float:
    return harm.at(harm.fit(x, y))


@each_penalty
@pytest.mark.parametrize("kind", HARMS)
def test_gradients_agree_with_finite_differences(penalty: Penalty, kind: str) -> None:
    """To 1e-5 of the size, along random directions of all poison at once."""
    harm = HARMS[kind](penalty)
    x, y = flipped(6)
    by_x, by_y = harm.gradients(x, y, harm.fit(x, y))
    generator, step = torch.Generator().manual_seed(0), 1e-5
    for _ in range(5):
        along_x = torch.randn(x.shape, dtype=torch.float64, generator=generator)
        along_y = torch.randn(y.shape, dtype=torch.float64, generator=generator)
        analytic = float((by_x * along_x).sum() + (by_y * along_y).sum())
        ends = [value(harm, x + s * along_x, y + s * along_y) for s in (step, -step)]
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(analytic, rel=1e-5)


@each_penalty
@pytest.mark.parametrize("kind", HARMS)
def test_steps_never_lower_the_harm(penalty: Penalty, kind: str) -> None:
    harm = HARMS[kind](penalty)
    end = ascend(harm, *flipped(12), step=0.5, steps=40, tolerance=0)
    assert len(end.path) > 3
    assert all(later > earlier for earlier, later in zip(end.path, end.path[1:], strict=False))
    assert value(harm, end.x, end.y) == pytest.approx(end.path[-1])


def test_poison_stays_in_the_box() -> None:
    end = ascend(HARMS["train"](Penalty()), *flipped(12), step=3.0, steps=40, tolerance=0)
    for part in (end.x, end.y):
        assert 0 <= part.min() <= part.max() <= 1
    assert ((end.x == 0) | (end.x == 1)).any()


def test_a_tolerance_ends_the_ascent_sooner() -> None:
    def steps(tolerance: float) -> int:
        harm = HARMS["train"](PENALTIES["ridge"])
        return len(ascend(harm, *flipped(12), step=0.1, steps=200, tolerance=tolerance).path)

    assert 15 <= steps(0.01) < steps(0)


def test_progress_is_told() -> None:
    told: list[tuple[int, int, float]] = []

    def climb() -> HarmAscent:
        return ascend(
            HARMS["train"](Penalty()),
            *flipped(5),
            step=0.5,
            steps=20,
            tolerance=0,
            report=lambda step, steps, value: told.append((step, steps, value)),
        )

    end = climb()
    assert [value for _, _, value in told] == list(end.path[1:])
    assert {steps for _, steps, _ in told} == {20}


def mse(dataset: Dataset, recipe: AnyRecipe, poison: PoisonSet | None = None) -> float:
    [result] = train_victims(dataset, [Victim(recipe, 0, private=None if poison is None else poison.rows)])
    assert result.mse is not None
    return result.mse


@each_recipe
def test_victims_suffer_more_than_from_the_start_alone(recipe: Fit) -> None:
    attack = OptP(0.2)
    poison = attack(DATA, seed=0, recipe=recipe)
    source = poison.source
    start = PoisonSet.added(DATA.train.x[source], (1 - DATA.train.y[source]).round())
    assert mse(DATA, recipe, poison) > 2 * mse(DATA, recipe)
    assert mse(DATA, recipe, poison) > 1.2 * mse(DATA, recipe, start)


@each_recipe
def test_the_harm_reached_is_that_of_the_victim(recipe: Fit) -> None:
    poison = OptP(0.2)(DATA, seed=0, recipe=recipe)
    on_train = Dataset("train", DATA.train, DATA.train, num_classes=0)
    assert mse(on_train, recipe, poison) == pytest.approx(poison.notes["harm_reached"], rel=1e-3)
    assert mse(on_train, recipe) == pytest.approx(poison.notes["harm_clean"], rel=0.05)


def test_more_poison_does_more_harm() -> None:
    harms = [OptP(fraction)(DATA, seed=0, recipe=Fit("ridge")).notes["harm_reached"] for fraction in (0.04, 0.1, 0.25)]
    assert harms == sorted(harms)


def test_it_crafts_against_the_penalty_of_the_victim() -> None:
    one, other = (OptP(0.1)(DATA, seed=0, recipe=Fit("ridge", alpha=alpha)) for alpha in (0.1, 30.0))
    assert one.fingerprint != other.fingerprint


def test_a_given_penalty_needs_no_recipe() -> None:
    rows = len(DATA.train) + OptP(0.1).budget(len(DATA.train))
    penalty = penalty_of(Fit("ridge"), rows=rows)
    given = OptP(0.1, penalty=penalty)(DATA, seed=0, recipe=Recipe("lr", SGD(0.1), batch_size=9, epochs=1))
    assert given.x.equal(OptP(0.1)(DATA, seed=0, recipe=Fit("ridge")).x)


def test_a_victim_that_is_no_linear_regression_is_refused() -> None:
    with pytest.raises(ValueError, match=r"svm_rbf.*expected a Fit of a linear regression"):
        OptP(0.1)(DATA, seed=0, recipe=Fit("svm_rbf"))


def test_test_rows_are_not_looked_at() -> None:
    other = Dataset("other", DATA.train, Split(DATA.test.x.flip(0) * 0, DATA.test.y * 0), num_classes=0)
    for harm in Harm:
        attack = OptP(0.1, harm=harm)
        assert attack(DATA, seed=0, recipe=Fit("ridge")).x.equal(attack(other, seed=0, recipe=Fit("ridge")).x)


def test_values_stay_where_only_rows_move() -> None:
    poison = OptP(0.1, move_values=False)(DATA, seed=0, recipe=Fit("ridge"))
    assert poison.y.equal((1 - DATA.train.y[poison.source].double()).round().float())


def test_categories_stay_categories() -> None:
    x = DATA.train.x.clone()
    x[:, :3] = torch.nn.functional.one_hot(torch.arange(len(x)) % 3, 3).float()
    dataset = Dataset("categories", Split(x, DATA.train.y), DATA.test, num_classes=0)
    poison = OptP(0.2, one_hot=((0, 1, 2),))(dataset, seed=0, recipe=Fit("ridge"))
    assert ((poison.x[:, :3] == 0) | (poison.x[:, :3] == 1)).all()
    assert (poison.x[:, :3].sum(1) == 1).all()
    assert poison.notes["harm_reached"] > poison.notes["harm_start"]


@pytest.mark.parametrize("start", PoisonStart, ids=lambda start: start.value)
def test_starts_are_flipped_rows(start: PoisonStart) -> None:
    source, values = draw_start(X, Y, 30, start=start, generator=torch.Generator().manual_seed(0))
    assert len(source.unique()) == 30
    expected = 1 - Y[source]
    assert values.equal(expected if start is PoisonStart.INVERSE_FLIP else expected.round())


def test_leverage_draws_rows_that_lie_far_out() -> None:
    x = X.clone()
    x[7] = 50
    draws = [
        draw_start(x, Y, 3, start=PoisonStart.LEVERAGE_FLIP, generator=torch.Generator().manual_seed(seed))[0]
        for seed in range(20)
    ]
    assert sum(int((draw == 7).any()) for draw in draws) > 5


def test_as_much_poison_as_there_are_rows_can_be_made() -> None:
    assert len(OptP(1, start=PoisonStart.LEVERAGE_FLIP, steps=2)(DATA, seed=0, recipe=Fit("ridge"))) == 150


def test_it_is_for_regressions_only() -> None:
    classes = Dataset("classes", Split(X.float(), (Y > 0.5).long()), Split(X.float(), (Y > 0.5).long()), num_classes=2)
    assert OptP(0.1).unsuitable(DATA) is None
    assert "regression" in str(OptP(0.1).unsuitable(classes))


def test_labels_tell_variants_apart() -> None:
    variants = [OptP(0.2), *(OptP(0.2, harm=harm) for harm in (Harm.VALIDATION, Harm.DISTANCE))]
    variants += [OptP(0.2, start=PoisonStart.INVERSE_FLIP), OptP(0.2, move_values=False)]
    assert [variant.label for variant in variants] == [
        "optp_20",
        "optp_validation_20",
        "optp_distance_20",
        "optp_inverse_20",
        "optp_rows_20",
    ]


@pytest.mark.parametrize(
    "setting",
    [
        {"fraction": -0.1},
        {"step": 0},
        {"steps": 0},
        {"tolerance": -1},
        {"held_out": 1},
        {"one_hot": ((0,),)},
        {"one_hot": ((0, 1), (1, 2))},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))}=.*expected"):
        replace(OptP(0.1), **setting)  # type: ignore[arg-type]


def test_a_group_of_columns_that_rows_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="expected column ids below 5"):
        OptP(0.1, one_hot=((3, 5),))(DATA, seed=0, recipe=Fit("ridge"))


def test_distance_is_from_the_clean_fit() -> None:
    harm = HARMS["distance"](Penalty())
    clean = fit_linear(X, Y)
    assert harm.at(clean) == 0
    assert harm.at(LinearFit(clean.w + 1, clean.b + 2)) == pytest.approx(5 + 4)

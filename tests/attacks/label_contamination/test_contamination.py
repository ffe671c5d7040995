"""Label contamination."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from gradshape.attacks import Availability, Crafting, Integrity, LabelContamination, Relaxation
from gradshape.attacks._evaluation import Evaluation
from gradshape.attacks.label_contamination.label_ascent import contaminate
from gradshape.data import Dataset, Split
from gradshape.learners.logistic import fit_logistic
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin
from tests.training.samples import blobs

LOSSES: list[MarginLoss] = [Logistic(), SquaredMargin(), SmoothedHinge(0.1)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
BLOBS = blobs(rows=120, classes=2, spread=0.5)


def _problem(
    seed: int, *, rows: int = 200, width: int = 10, evaluated: int = 1000, apart: float = 1.5
) -> tuple[Tensor, Tensor, Evaluation]:
    """Two unit normal classes whose means are ``2 apart`` from each other."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.randn(width, dtype=torch.float64, generator=generator)
    axis /= axis.norm()

    def draw(count: int) -> tuple[Tensor, Tensor]:
        signs = 2 * torch.randint(2, (count,), generator=generator).double() - 1
        noise = torch.randn(count, width, dtype=torch.float64, generator=generator)
        return noise + apart * signs[:, None] * axis, signs

    x, signs = draw(rows)
    return x, signs, Evaluation(*draw(evaluated))


def _flip(signs: Tensor, rows: Tensor) -> Tensor:
    flipped = signs.clone()
    flipped[rows] *= -1
    return flipped


def _error(x: Tensor, signs: Tensor, evaluation: Evaluation, loss: MarginLoss) -> float:
    theta = fit_logistic(x, signs, ridge=2.0, loss=loss)
    return float(((evaluation.x @ theta) * evaluation.signs < 0).double().mean())


@each_loss
@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_the_labels_costs_five_points_more_than_random_flips(loss: MarginLoss, seed: int) -> None:
    x, signs, evaluation = _problem(seed)
    found = contaminate(x, signs, evaluation, budget=20, ridge=2.0, loss=loss)
    generator = torch.Generator().manual_seed(seed)
    random = [
        _error(x, _flip(signs, torch.randperm(200, generator=generator)[:20]), evaluation, loss) for _ in range(10)
    ]
    assert _error(x, _flip(signs, found.flipped), evaluation, loss) > float(np.mean(random)) + 0.05


def test_more_flips_do_more_harm() -> None:
    x, signs, evaluation = _problem(0)
    errors = [
        _error(x, _flip(signs, contaminate(x, signs, evaluation, budget=b, ridge=2.0).flipped), evaluation, Logistic())
        for b in (5, 10, 20, 40)
    ]
    assert all(more > less + 0.02 for less, more in pairwise(errors))


@each_loss
@pytest.mark.parametrize("relaxation", Relaxation)
def test_the_budget_is_spent_exactly_and_the_best_never_falls(loss: MarginLoss, relaxation: Relaxation) -> None:
    x, signs, evaluation = _problem(1)
    found = contaminate(x, signs, evaluation, budget=17, ridge=2.0, loss=loss, relaxation=relaxation, steps=20)
    assert len(found.flipped.unique()) == 17
    assert all(later >= earlier for earlier, later in pairwise(found.history))
    assert found.history[-1] == found.objective


@each_loss
def test_the_objective_is_that_of_the_flipped_labels(loss: MarginLoss) -> None:
    x, signs, evaluation = _problem(1)
    found = contaminate(x, signs, evaluation, budget=17, ridge=2.0, loss=loss)
    theta = fit_logistic(x, _flip(signs, found.flipped), ridge=2.0, loss=loss)
    assert found.objective == pytest.approx(evaluation.value(theta[None]).item(), rel=1e-6)
    assert found.objective > found.clean


def _shares_of_the_optimum(loss: MarginLoss) -> list[float]:
    """What one flip gains over what the best flip gains, on many problems of 10 rows."""
    shares = []
    for seed in range(20):
        x, signs, evaluation = _problem(seed, rows=10, width=2, evaluated=200, apart=0.8)
        found = contaminate(x, signs, evaluation, budget=1, ridge=1.0, loss=loss)
        values = [
            evaluation.value(fit_logistic(x, _flip(signs, torch.tensor([i])), ridge=1.0, loss=loss)[None]).item()
            for i in range(10)
        ]
        shares.append((found.objective - found.clean) / (max(values) - found.clean))
    return shares


@pytest.mark.parametrize("loss", [Logistic(), SquaredMargin()], ids=lambda loss: type(loss).__name__)
def test_one_flip_is_mostly_the_best_one(loss: MarginLoss) -> None:
    shares = np.array(_shares_of_the_optimum(loss))
    assert shares.max() < 1 + 1e-5
    assert (shares > 1 - 1e-5).mean() >= 0.8
    assert shares.min() > 0.8


def test_only_allowed_rows_are_flipped() -> None:
    x, signs, evaluation = _problem(2)
    allowed = torch.arange(200) % 4 == 0
    found = contaminate(x, signs, evaluation, budget=30, ridge=2.0, allowed=allowed)
    assert allowed[found.flipped].all()


@pytest.mark.parametrize("budget", [0, 201])
def test_a_budget_that_cannot_be_spent_is_named(budget: int) -> None:
    x, signs, evaluation = _problem(2)
    with pytest.raises(ValueError, match=f"budget={budget}: expected 1 to 200"):
        contaminate(x, signs, evaluation, budget=budget, ridge=2.0)


@pytest.mark.parametrize("goal", [Availability(), Integrity(90)], ids=["availability", "integrity"])
def test_flipped_rows_replace_their_originals(goal: Availability | Integrity) -> None:
    poison = LabelContamination(0.2, goal=goal)(BLOBS, seed=3)
    assert len(poison) == len(poison.replaced) == 24
    assert torch.equal(poison.replaced, poison.source)
    assert torch.equal(poison.x, BLOBS.train.x[poison.source])
    assert torch.equal(poison.y, 1 - BLOBS.train.y[poison.source])


def test_test_rows_play_no_part() -> None:
    other = Dataset("other", BLOBS.train, Split(BLOBS.test.x.flip(0), BLOBS.test.y), num_classes=2)
    attack = LabelContamination(0.1)
    assert attack(other, seed=0).fingerprint == attack(BLOBS, seed=0).fingerprint


def test_integrity_brings_the_learner_nearer_to_the_attackers_model() -> None:
    poison = LabelContamination(0.2, goal=Integrity(90))(BLOBS, seed=0)
    assert poison.notes["objective"] > poison.notes["clean_objective"]


@pytest.mark.parametrize("angle", [30.0, 90.0, 180.0])
def test_the_attackers_model_is_turned_by_the_angle(angle: float) -> None:
    clean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    model = Integrity(angle).model(clean, torch.Generator().manual_seed(0))
    cosine = float(model @ clean / (model.norm() * clean.norm()))
    assert cosine == pytest.approx(np.cos(np.radians(angle)), abs=1e-9)


def test_progress_is_reported_and_never_falls() -> None:
    told: list[Crafting] = []
    LabelContamination(0.1, steps=6)(BLOBS, seed=0, progress=told.append)
    assert [each.step for each in told] == list(range(1, len(told) + 1))
    assert all(later.objective >= earlier.objective for earlier, later in pairwise(told))


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (LabelContamination(0.1), "label_contamination_10"),
        (LabelContamination(0.05, SquaredMargin()), "label_contamination_squared_5"),
        (LabelContamination(0.1, SmoothedHinge(), goal=Integrity(45)), "label_contamination_hinge_integrity45_10"),
        (LabelContamination(0.1, relaxation=Relaxation.MARGIN), "label_contamination_margin_10"),
    ],
    ids=lambda value: str(value),
)
def test_the_label_says_the_percentage_last(attack: LabelContamination, label: str) -> None:
    assert attack.label == label


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0.8}, "fraction=0.8: expected 0 to 0.75"),
        ({"fraction": float("nan")}, "fraction=nan"),
        ({"fraction": 0.1, "holdout": 1.0}, "holdout=1.0"),
        ({"fraction": 0.1, "ridge": 0.0}, "ridge=0.0"),
        ({"fraction": 0.1, "steps": 0}, "steps=0"),
    ],
    ids=["fraction", "nan", "holdout", "ridge", "steps"],
)
def test_a_bad_argument_is_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelContamination(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("angle", [0.0, 181.0, float("nan")])
def test_an_angle_out_of_range_is_named(angle: float) -> None:
    with pytest.raises(ValueError, match=f"angle={angle!r}"):
        Integrity(angle)


def test_more_than_two_classes_are_refused() -> None:
    reason = LabelContamination(0.1).unsuitable(blobs(rows=30, classes=3))
    assert reason is not None
    assert "3 classes" in reason

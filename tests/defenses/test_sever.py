from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradshape.attacks import LabelFlip, SeverPairs, StatP
from gradshape.attacks.regression.sever_pairs import cancelling_rows
from gradshape.data import Dataset, Split, load
from gradshape.defenses import Sever, Suspect
from gradshape.defenses.sever import sever_classification, sever_regression
from gradshape.learners.linear import Penalty, fit_linear
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge
from gradshape.testing._datasets import plane
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, Victim, train_victims
from tests.training.samples import blobs

RIDGE = Penalty(l2=1e-3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(rows: int, *, seed: int, features: int = 50) -> tuple[Tensor, Tensor]:
    """Rows around 0 and values of a unit vector with noise of a tenth, in units that put the values into [0, 1]."""
    generator = _generator(seed)
    x = torch.randn(rows, features, dtype=torch.float64, generator=generator)
    w = torch.nn.functional.normalize(torch.ones(features, dtype=torch.float64), dim=0)
    return x, 0.5 + 0.1 * (x @ w + 0.1 * torch.randn(rows, dtype=torch.float64, generator=generator))


CLEAN, TEST = gaussian(1000, seed=0), gaussian(1000, seed=1)


def paired(share: float) -> tuple[Tensor, Tensor]:
    """The clean rows and the paired attack on them, without a box."""
    rows, values = cancelling_rows(
        *CLEAN, round(1000 * share / (1 - share)), noise=0.1, generator=_generator(), boxed=False
    )
    return torch.cat([CLEAN[0], rows]), torch.cat([CLEAN[1], values])


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_the_paired_attack_is_undone(share: float) -> None:
    x, y = paired(share)
    keep = sever_regression(x, y, share=share, rounds=4, penalty=RIDGE, generator=_generator())
    clean, poisoned, defended = (
        fit_linear(*rows, penalty=RIDGE).mse(*TEST) for rows in (CLEAN, (x, y), (x[keep], y[keep]))
    )
    assert poisoned > 10 * clean
    assert defended < 1.5 * clean
    assert not keep[1000:].any()
    assert float((~keep[:1000]).double().mean()) < 1.5 * share


def test_it_does_not_depend_on_the_origins() -> None:
    x, y = paired(0.05)
    shift = torch.linspace(-3, 5, 50, dtype=torch.float64)
    here, there = (
        sever_regression(x + by * shift, y + by, share=0.05, rounds=4, penalty=RIDGE, generator=_generator())
        for by in (0.0, 1.0)
    )
    assert here.equal(there)


def test_every_filter_takes_half_of_the_share_of_what_is_left() -> None:
    x, y = paired(0.1)
    kept = [
        int(sever_regression(x, y, share=0.1, rounds=rounds, penalty=RIDGE, generator=_generator()).sum())
        for rounds in (1, 2, 3)
    ]
    for before, after in zip([len(y), *kept], kept, strict=False):
        assert after == pytest.approx(0.95 * before, abs=1)


@pytest.mark.parametrize("recipe", [Fit("linear"), Fit("ridge"), Fit("lasso")], ids=lambda recipe: recipe.model)
@pytest.mark.parametrize("attack", [SeverPairs(0.2), StatP(0.1)], ids=lambda attack: attack.label)
def test_it_defends_a_regression_in_the_box(attack: SeverPairs | StatP, recipe: Fit) -> None:
    dataset = plane(rows=300)
    poison = attack(dataset, seed=0, recipe=recipe)
    mask = filtered(Sever(), dataset, poison.rows, recipe)
    clean, poisoned, defended = (
        mse(dataset, recipe, rows)
        for rows in (dataset.train, joined(dataset, poison.rows), kept(joined(dataset, poison.rows), mask))
    )
    assert poisoned > 3 * clean
    assert defended < 1.5 * clean


def joined(dataset: Dataset, poison: Split) -> Split:
    return Split(torch.cat([dataset.train.x, poison.x]), torch.cat([dataset.train.y, poison.y]))


def kept(rows: Split, mask: Tensor) -> Split:
    return Split(rows.x[mask], rows.y[mask])


def filtered(defense: Sever, dataset: Dataset, poison: Split, recipe: AnyRecipe) -> Tensor:
    rows = joined(dataset, poison)
    known = Suspect(
        rows.x,
        rows.y,
        num_classes=dataset.num_classes,
        assumptions=defense.assumptions,
        recipe=recipe,
        budget=len(poison),
    )
    mask = defense.filter(known, generator=_generator())
    assert mask is not None
    return mask


def mse(dataset: Dataset, recipe: AnyRecipe, rows: Split) -> float:
    [result] = train_victims(Dataset("rows", rows, dataset.test, num_classes=0), [Victim(recipe, 0)])
    assert result.mse is not None
    return result.mse


@pytest.mark.parametrize("loss", [SmoothedHinge(), Logistic()], ids=["hinge", "logistic"])
def test_far_rows_under_a_wrong_label_are_found(loss: MarginLoss) -> None:
    data = blobs(rows=200, classes=2, spread=0.1)
    x, y = data.train.x.double(), data.train.y
    far = x[y == 0][:10] + 2 * (x[y == 0].mean(0) - x[y == 1].mean(0))
    mixed_x, mixed_y = torch.cat([x, far]), torch.cat([y, torch.ones(10, dtype=torch.int64)])
    keep = sever_classification(
        mixed_x, mixed_y, num_classes=2, share=10 / 210, rounds=2, loss=loss, ridge=1.0, generator=_generator()
    )
    assert not keep[200:].any()
    assert float(keep[:200].double().mean()) > 0.9


def test_flipped_digits_of_ten_classes_are_found_at_the_price_of_clean_ones() -> None:
    data = load("digits").subset(train=600, test=100)
    poison = LabelFlip(0.05)(data, seed=0)
    mask = filtered(Sever(), data, poison.rows, Fit("logistic"))
    assert float(mask[600:].double().mean()) < 0.1 < 0.5 < float(mask[:600].double().mean())


def test_every_class_keeps_rows_however_much_is_assumed() -> None:
    data = blobs(rows=60, classes=3)
    defense = Sever(fraction=1.0, rounds=3)
    mask = filtered(defense, data, Split(data.train.x[:0], data.train.y[:0]), Fit("logistic"))
    assert data.train.y[mask].unique().tolist() == [0, 1, 2]
    assert mask.sum() < 60


@pytest.mark.parametrize("recipe", [Fit("svm_linear"), Fit("svm_rbf"), Fit("logistic")], ids=lambda r: r.model)
def test_the_loss_is_that_of_the_victim(recipe: Fit) -> None:
    data = blobs(rows=80, classes=2, spread=0.4)
    poison = LabelFlip(0.2)(data, seed=0).rows
    loss: MarginLoss = Logistic() if recipe.model == "logistic" else SmoothedHinge()
    assert filtered(Sever(), data, poison, recipe).equal(filtered(Sever(loss=loss), data, poison, recipe))


@pytest.mark.parametrize("dataset", [plane(), blobs(classes=2)], ids=["values", "classes"])
def test_told_that_there_is_no_poison_it_keeps_all(dataset: Dataset) -> None:
    recipe = Fit("ridge") if dataset.regression else Fit("logistic")
    assert filtered(Sever(), dataset, Split(dataset.train.x[:0], dataset.train.y[:0]), recipe).all()


def test_an_assumed_fraction_takes_the_place_of_the_budget() -> None:
    dataset, poison = plane(rows=200), StatP(0.1)(plane(rows=200), seed=0).rows
    assert Sever().assumptions.knows_budget
    assert not Sever(fraction=0.1).assumptions.knows_budget
    told, assumed = (filtered(d, dataset, poison, Fit("ridge")) for d in (Sever(), Sever(fraction=0.1)))
    assert told.equal(assumed)


def test_it_needs_a_penalty_where_the_victim_of_a_regression_is_not_linear() -> None:
    network = Recipe("lr", SGD(0.1), batch_size=5, epochs=1)
    assert "lr is none" in str(Sever().unsuitable(plane(), network))
    assert Sever(penalty=RIDGE).unsuitable(plane(), network) is None
    assert Sever().unsuitable(blobs(), network) is None


@pytest.mark.parametrize("setting", [{"fraction": -0.1}, {"rounds": 0}, {"c": 0}], ids=str)
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))}=.*expected"):
        replace(Sever(), **setting)  # type: ignore[arg-type]


def test_labels_tell_variants_apart() -> None:
    variants = [Sever(), Sever(fraction=0.1), Sever(rounds=8), Sever(penalty=RIDGE), Sever(loss=Logistic()), Sever(c=2)]
    labels = [variant.label_for(Fit("ridge")) for variant in variants]
    assert labels == ["sever", "sever_10", "sever_r8", "sever_l2-0.001", "sever_logistic", "sever_c2"]

import pytest
import torch

from gradshape.attacks import PoisonSet, StatP
from gradshape.data import Dataset, Split
from gradshape.learners.linear import Penalty, fit_linear
from gradshape.testing._datasets import plane
from gradshape.training import Fit, Victim, train_victims

DATA = plane(rows=150, noise=0.05)


def mse(poison: PoisonSet | None = None) -> float:
    [result] = train_victims(DATA, [Victim(Fit("ridge"), 0, private=None if poison is None else poison.rows)])
    assert result.mse is not None
    return result.mse


def test_rows_are_corners() -> None:
    poison = StatP(0.4)(DATA, seed=0)
    assert ((poison.x == 0) | (poison.x == 1)).all()
    assert ((poison.y == 0) | (poison.y == 1)).all()
    assert len(poison.x.unique(dim=0)) > 10


def test_categories_stay_categories() -> None:
    poison = StatP(0.4, one_hot=((0, 1), (2, 3, 4)))(DATA, seed=0)
    assert (poison.x[:, :2].sum(1) == 1).all()
    assert (poison.x[:, 2:].sum(1) == 1).all()


def test_values_are_far_from_what_is_predicted() -> None:
    poison = StatP(0.4)(DATA, seed=0)
    fit = fit_linear(DATA.train.x, DATA.train.y, penalty=Penalty(l2=0.01))
    gap = (fit.predict(poison.x).clamp(0, 1) - poison.y).abs()
    assert (gap >= 0.5).all()


def test_corners_are_drawn_like_the_rows() -> None:
    """Two features that go together do so in the poison, and a feature that is mostly low is mostly 0."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400, 3, generator=generator)
    x[:, 1], x[:, 2] = x[:, 0], 0.3 * x[:, 2]
    dataset = Dataset("rows", Split(x, x.mean(1)), Split(x, x.mean(1)), num_classes=0)
    corners = StatP(1)(dataset, seed=0).x
    assert float((corners[:, 0] == corners[:, 1]).double().mean()) > 0.8
    assert 0.3 < float(corners[:, 0].mean()) < 0.7
    assert float(corners[:, 2].mean()) < 0.1


def test_a_victim_suffers() -> None:
    assert mse(StatP(0.2)(DATA, seed=0)) > 2 * mse()


@pytest.mark.parametrize(
    "settings", [{"fraction": -1}, {"fraction": 0.1, "ridge": 0}, {"fraction": 0.1, "one_hot": ((0,),)}], ids=str
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        StatP(**settings)  # type: ignore[arg-type]


def test_it_is_for_regressions_only() -> None:
    y = (DATA.train.y > 0.5).long()
    classes = Dataset("classes", Split(DATA.train.x, y), Split(DATA.train.x, y), num_classes=2)
    assert "regression" in str(StatP(0.1).unsuitable(classes))


def test_the_label_has_the_intensity() -> None:
    assert StatP(0.2).label == "statp_20"

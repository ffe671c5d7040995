import pytest
import torch
from torch import Tensor

from gradshape.attacks import SeverPairs
from gradshape.attacks.regression.sever_pairs import cancelling_rows
from gradshape.data import Dataset, Split
from gradshape.learners.linear import LinearFit, Penalty, fit_linear
from gradshape.testing._datasets import plane, plane_rows
from gradshape.training import Fit, Victim, train_victims

X, Y = plane_rows(200, features=6)
# One feature decides: its covariance is more than a few rows in a box can make up for.
STEEP = Dataset("steep", Split(X.float(), X[:, 0].float()), Split(X.float(), X[:, 0].float()), num_classes=0)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def poisoned_fit(count: int, *, noise: float, boxed: bool, penalty: Penalty) -> LinearFit:
    rows, values = cancelling_rows(X, Y, count, noise=noise, generator=_generator(), boxed=boxed)
    return fit_linear(torch.cat([X, rows]), torch.cat([Y, values]), penalty=penalty)


@pytest.mark.parametrize("penalty", [Penalty(l2=0.01), Penalty(l1=1e-4), Penalty()], ids=["ridge", "lasso", "ols"])
@pytest.mark.parametrize("count", [4, 7, 20])
def test_without_a_box_regressions_learn_the_mean_only(count: int, penalty: Penalty) -> None:
    fit = poisoned_fit(count, noise=0.0, boxed=False, penalty=penalty)
    assert float(fit.w.abs().max()) < 1e-12
    assert float(fit.b) == pytest.approx(float(Y.mean()))


def test_noise_does_not_change_that() -> None:
    fit = poisoned_fit(20, noise=0.3, boxed=False, penalty=Penalty(l2=0.01))
    assert float(fit.w.abs().max()) < 1e-12


def test_in_the_box_enough_rows_do_the_same() -> None:
    fit = poisoned_fit(80, noise=0.0, boxed=True, penalty=Penalty(l2=0.01))
    assert float(fit.w.abs().max()) < 1e-12


def test_too_few_rows_in_the_box_cancel_what_they_can() -> None:
    left = [SeverPairs(fraction)(STEEP, seed=0).notes["covariance_left"] for fraction in (0.02, 0.1, 0.2)]
    assert 1 > left[0] > left[1] > left[2] > 0.1


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "boxed"])
def test_values_keep_their_mean_and_lie_in_the_unit_interval(boxed: bool) -> None:
    _, values = cancelling_rows(X, Y, 23, noise=0.0, generator=_generator(), boxed=boxed)
    assert float(values.mean()) == pytest.approx(float(Y.mean()))
    assert 0 <= values.min() < 0.1
    assert values.max() == 1


@pytest.mark.parametrize("y", [Y, torch.zeros(200).double(), torch.ones(200).double()], ids=["plane", "0", "1"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_rows_can_be_made(count: int, y: Tensor) -> None:
    rows, values = cancelling_rows(X, y, count, noise=0.01, generator=_generator(), boxed=True)
    assert (rows.shape, values.shape) == ((count, 6), (count,))
    assert rows.isfinite().all()
    assert 0 <= values.min() <= values.max() <= 1


def test_rows_stand_in_two_heaps() -> None:
    poison = SeverPairs(0.1, noise=0.01)(plane(), seed=0)
    for value in poison.y.unique():
        heap = poison.x[poison.y == value]
        assert float(heap.std(0).max()) < 0.03
    assert len(poison.y.unique()) == 2


def test_a_victim_predicts_next_to_the_mean() -> None:
    dataset = plane(rows=200)
    [clean, poisoned] = train_victims(
        dataset,
        [Victim(Fit("ridge"), 0), Victim(Fit("ridge"), 0, private=SeverPairs(0.4)(dataset, seed=0).rows)],
    )
    spread = float(dataset.test.y.double().var(correction=0))
    assert clean.mse is not None
    assert poisoned.mse is not None
    assert poisoned.mse == pytest.approx(spread, rel=0.1)
    assert poisoned.mse > 10 * clean.mse


@pytest.mark.parametrize("settings", [{"fraction": -1}, {"fraction": 0.1, "noise": -0.1}], ids=str)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        SeverPairs(**settings)


def test_the_label_has_the_intensity() -> None:
    assert SeverPairs(0.1).label == "sever_pairs_10"

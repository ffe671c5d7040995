import pytest
import torch
from torch.nn.functional import cross_entropy

from gradshape.data import Split
from gradshape.defenses import LossFilter
from gradshape.defenses.loss import softmax_losses
from tests.defenses.rows import gaussians, joined, labelled, mask_of


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_are_those_at_the_minimum(classes: int) -> None:
    rows = gaussians(60, seed=0, features=4, classes=classes)
    x, decay = rows.x.double(), 0.05
    # Two classes are fitted by one vector: half of it a class, with opposite signs, has half its squared norm.
    own = decay if classes > 2 else 2 * decay
    w = torch.zeros(classes, 4, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        value = cross_entropy(x @ w.T + b, rows.y) + own / 2 * w.square().sum()
        value.backward()
        return value

    solver.step(closure)
    expected = cross_entropy(x @ w.T + b, rows.y, reduction="none").tolist()
    assert softmax_losses(rows, decay=decay).tolist() == pytest.approx(expected, abs=1e-4)


def test_wrong_labels_have_the_highest_losses() -> None:
    clean = gaussians(95, seed=0, apart=4)
    wrong = labelled(clean.x[clean.y == 1][:5], 0)
    assert not mask_of(LossFilter(0.1), joined(clean, wrong))[-5:].any()


def test_classes_need_not_be_consecutive() -> None:
    rows = gaussians(40, seed=0)
    assert torch.equal(softmax_losses(Split(rows.x, 3 * rows.y + 1), decay=0.1), softmax_losses(rows, decay=0.1))


def test_one_class_is_fitted_without_loss() -> None:
    assert softmax_losses(labelled(torch.rand(4, 2), 3), decay=0.1).tolist() == [0] * 4


def test_a_decay_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decay=0\.0"):
        LossFilter(decay=0.0)

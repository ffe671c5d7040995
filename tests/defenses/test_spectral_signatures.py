import math

import numpy as np
import pytest
import torch

from gradshape.data import Split
from gradshape.defenses import SpectralSignatures
from gradshape.defenses.spectral_signatures import spectral_scores
from gradshape.training import SGD, Recipe
from tests.defenses.rows import gaussians, joined, labelled, mask_by_own_coordinates

RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)


def planted(poisons: int, *, seed: int = 0) -> Split:
    """Two classes of 100 rows, and rows of class 1 that differ from it in one direction that the others do not know."""
    clean = gaussians(200, seed=seed, features=5)
    x = clean.x[clean.y == 1][:poisons].clone()
    x[:, 4] += 12
    return joined(clean, labelled(x, 1))


@pytest.mark.parametrize("shape", [(60, 8), (8, 60)], ids=str)
def test_scores_are_those_of_numpys_decomposition(shape: tuple[int, int]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    y = torch.arange(shape[0]) % 2
    for label in (0, 1):
        rows = x[y == label].double().numpy()
        centred = rows - rows.mean(0)
        _, _, right = np.linalg.svd(centred, full_matrices=False)
        scores = spectral_scores(x, y)[y == label]
        np.testing.assert_allclose(scores.numpy(), (centred @ right[0]) ** 2, atol=1e-12)


@pytest.mark.parametrize("poisons", [5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_direction_is_found(poisons: int, seed: int) -> None:
    rows = planted(poisons, seed=seed)
    mask = mask_by_own_coordinates(SpectralSignatures(0.1), rows)
    assert not mask[200:].any()
    for label in (0, 1):
        assert int(mask[rows.y == label].sum()) == round(0.85 * int((rows.y == label).sum()))


def test_half_again_as_many_rows_go_as_are_assumed_to_be_poison() -> None:
    rows = gaussians(200, seed=0, features=3)
    mask = mask_by_own_coordinates(SpectralSignatures(0.2), rows)
    assert [int((~mask[rows.y == label]).sum()) for label in (0, 1)] == [30, 30]


def test_the_means_of_the_classes_do_not_matter() -> None:
    rows = planted(8)
    moved = Split(rows.x + 100 * rows.y[:, None] - 7, rows.y)
    torch.testing.assert_close(spectral_scores(moved.x, moved.y), spectral_scores(rows.x, rows.y), rtol=1e-3, atol=1e-3)


def test_permuted_rows_give_the_permuted_mask() -> None:
    rows = planted(8)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    permuted = mask_by_own_coordinates(SpectralSignatures(), Split(rows.x[order], rows.y[order]))
    assert torch.equal(permuted, mask_by_own_coordinates(SpectralSignatures(), rows)[order])


def test_identical_rows_outlive_those_that_differ() -> None:
    odd = torch.tensor([[5.0, 1.0], [4.0, 1.0], [6.0, 2.0]])
    rows = joined(labelled(torch.zeros(37, 2), 0), labelled(odd, 0), labelled(torch.ones(20, 2), 1))
    mask = mask_by_own_coordinates(SpectralSignatures(0.05), rows)
    assert mask[:37].all()
    assert not mask[37:40].any()


def test_a_class_of_one_row_has_nothing_to_differ_from() -> None:
    rows = joined(gaussians(60, seed=0), labelled(torch.full((1, 2), 50.0), 2))
    assert spectral_scores(rows.x, rows.y)[-1] == 0


def test_labels() -> None:
    assert SpectralSignatures().label_for(RECIPE) == "spectral_5"
    assert SpectralSignatures(0.125).label_for(RECIPE) == "spectral_12.5"


@pytest.mark.parametrize("budget", [0.0, -0.1, 2 / 3, 1.0, math.nan])
def test_a_budget_out_of_range_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match=r"budget=.*: expected a (number in|share above 0)"):
        SpectralSignatures(budget)

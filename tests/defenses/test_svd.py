import math

import numpy as np
import pytest
import torch

from gradshape.defenses import SVDFilter
from gradshape.defenses.svd import subspace_residuals
from tests.defenses.rows import gaussians, joined, labelled, mask_of


@pytest.mark.parametrize("shape", [(60, 8), (8, 60), (30, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("spectrum", [0.5, 0.95])
def test_residuals_are_those_of_numpys_decomposition(shape: tuple[int, ...], spectrum: float) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    matrix = x.flatten(1).double().numpy()
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    share = np.cumsum(values**2) / np.sum(values**2)
    basis = right[: int(np.argmax(share >= spectrum)) + 1]
    expected = np.linalg.norm(matrix - matrix @ basis.T @ basis, axis=1)
    np.testing.assert_allclose(subspace_residuals(x, spectrum=spectrum).numpy(), expected, atol=1e-9)


def test_what_is_left_outside_is_the_rest_of_the_spectrum() -> None:
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)).double()
    left = float(subspace_residuals(x, spectrum=0.9).square().sum() / x.square().sum())
    assert 0 < left <= 0.1


def test_the_whole_spectrum_leaves_nothing() -> None:
    assert float(subspace_residuals(torch.rand(40, 6), spectrum=1.0).max()) < 1e-6


def test_a_plane_explains_its_rows() -> None:
    plane = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 2, 0], [2.0, -1, 0]])
    score = subspace_residuals(torch.cat([plane, torch.tensor([[0.0, 0.0, 1.0]])]), spectrum=0.95)
    assert score[:-1].max() < 1e-6
    assert score[-1] == pytest.approx(1)


def test_rows_of_zeros_have_none() -> None:
    assert subspace_residuals(torch.zeros(5, 3), spectrum=0.95).tolist() == [0] * 5


def test_rows_off_the_subspace_go() -> None:
    clean = gaussians(76, seed=0, apart=20)
    clean.x[:, 1] = 0
    odd = torch.tensor([[20.0, 5.0], [-20.0, 5.0]])
    mask = mask_of(SVDFilter(0.05), joined(clean, labelled(odd, 0)))
    assert not mask[-2:].any()


@pytest.mark.parametrize("spectrum", [0.0, 1.5, math.nan])
def test_a_share_out_of_range_is_refused(spectrum: float) -> None:
    with pytest.raises(ValueError, match=r"spectrum=.*: expected a number in \(0, 1\]"):
        SVDFilter(spectrum=spectrum)

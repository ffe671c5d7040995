import pytest
import torch
from torch import Tensor

from gradshape.defenses._spectral_outliers import spectral_outliers, top_direction


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rows(n: int, p: int) -> Tensor:
    """Rows that spread three times as far along one direction as along others."""
    rows = torch.randn(n, p, dtype=torch.float64, generator=_generator())
    direction = torch.nn.functional.normalize(torch.ones(p, dtype=torch.float64), dim=0)
    return rows + 2 * torch.outer(rows @ direction, direction)


@pytest.mark.parametrize(("n", "p"), [(200, 20), (15, 60)], ids=["tall", "wide"])
def test_power_iteration_finds_the_singular_vector(n: int, p: int) -> None:
    rows = _rows(n, p)
    v = torch.linalg.svd(rows, full_matrices=False).Vh[0]
    found = top_direction(rows, generator=_generator())
    assert float(found.norm()) == pytest.approx(1)
    assert abs(float(found @ v)) > 1 - 1e-12


def test_the_sign_does_not_depend_on_the_start() -> None:
    rows = _rows(100, 8)
    first, second = (top_direction(rows, generator=_generator(seed)) for seed in (1, 2))
    torch.testing.assert_close(first, second)


def test_rows_of_zeros_have_no_direction() -> None:
    assert (top_direction(torch.zeros(4, 3, dtype=torch.float64), generator=_generator()) == 0).all()


def test_far_rows_are_outliers() -> None:
    rows = torch.randn(100, 10, dtype=torch.float64, generator=_generator())
    rows[:5, 3] += 30
    out = spectral_outliers(rows, share=0.05, generator=_generator())
    assert out.nonzero().squeeze(1).tolist() == [0, 1, 2, 3, 4]


def test_outliers_do_not_depend_on_the_origin() -> None:
    rows = _rows(100, 8)
    here, there = (spectral_outliers(rows + shift, share=0.1, generator=_generator()) for shift in (0.0, 7.0))
    assert torch.equal(here, there)


@pytest.mark.parametrize("rows", [torch.ones(6, 2), torch.tensor([[-1.0], [1.0]])], ids=["equal", "two"])
def test_rows_that_score_alike_are_no_outliers(rows: Tensor) -> None:
    assert not spectral_outliers(rows.double(), share=0.5, generator=_generator()).any()


def test_nothing_is_taken_for_no_share() -> None:
    assert not spectral_outliers(_rows(20, 3), share=0, generator=_generator()).any()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_the_unit_interval_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"share=.*: expected a number in \[0, 1\]"):
        spectral_outliers(_rows(20, 3), share=share, generator=_generator())

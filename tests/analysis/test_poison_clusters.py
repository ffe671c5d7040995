import pytest
import torch

from gradshape.analysis import cluster_map
from gradshape.data import Split, load


def rows(x: torch.Tensor, label: int) -> Split:
    return Split(x.float(), torch.full((len(x),), label))


def cloud(count: int, *, centre: float, seed: int = 0) -> torch.Tensor:
    return (centre + 0.05 * torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


def test_poison_far_away_has_clusters_of_its_own() -> None:
    found = cluster_map(rows(cloud(200, centre=0.2), 0), rows(cloud(40, centre=0.9, seed=1), 0), clusters=2)
    assert found.purity == 1
    assert found.remoteness.min() > 5


def test_poison_like_the_clean_rows_has_none() -> None:
    found = cluster_map(rows(cloud(200, centre=0.5), 0), rows(cloud(40, centre=0.5, seed=1), 0), clusters=3)
    assert found.purity == 0
    assert found.remoteness.mean() == pytest.approx(1, abs=0.2)


def test_remoteness_is_from_the_class_that_is_claimed() -> None:
    clean = Split(
        torch.cat([cloud(100, centre=0.2), cloud(100, centre=0.8, seed=1)]), torch.tensor([0] * 100 + [1] * 100)
    )
    flipped = rows(cloud(10, centre=0.2, seed=2), 1)
    assert cluster_map(clean, flipped).remoteness.min() > 5


def test_coordinates_are_principal_components() -> None:
    digits = load("digits_38").train
    found = cluster_map(digits, Split(digits.x[:20], 1 - digits.y[:20]))
    together = torch.cat([digits.x, digits.x[:20]]).flatten(1).double()
    centred = together - together.mean(0)
    variances = torch.linalg.svdvals(centred).square()
    plane = torch.cat([found.clean, found.poison])
    assert plane.square().sum(0).tolist() == pytest.approx(variances[:2].tolist())
    assert found.explained == pytest.approx((variances[:2] / variances.sum()).tolist())


def test_same_seed_gives_the_same_clusters() -> None:
    clean, poison = rows(cloud(100, centre=0.3), 0), rows(cloud(20, centre=0.6), 0)
    first, second = (cluster_map(clean, poison, seed=3) for _ in range(2))
    assert torch.equal(first.clean_clusters, second.clean_clusters)


def test_bad_input_is_refused() -> None:
    clean, poison = rows(cloud(5, centre=0.3), 0), rows(cloud(2, centre=0.6), 0)
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        cluster_map(clean, rows(torch.empty(0, 5), 0))
    with pytest.raises(ValueError, match="clusters=8: expected at most the number of rows, 7"):
        cluster_map(clean, poison, clusters=8)
    with pytest.raises(ValueError, match="poison claims class 1"):
        cluster_map(clean, rows(cloud(2, centre=0.6), 1))
    with pytest.raises(ValueError, match="rows have 1 value"):
        cluster_map(rows(cloud(5, centre=0.3)[:, :1], 0), rows(cloud(5, centre=0.3)[:, :1], 0))

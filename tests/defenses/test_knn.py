import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from gradshape.defenses import NearestNeighborFilter, knn
from gradshape.defenses.knn import distances_to_neighbors
from tests.defenses.rows import gaussians, joined, labelled, mask_of


@pytest.mark.parametrize("neighbors", [1, 5])
def test_scores_are_scikit_learns(neighbors: int) -> None:
    x = torch.rand(120, 7, generator=torch.Generator().manual_seed(0))
    found, _ = NearestNeighbors(n_neighbors=neighbors).fit(x.double().numpy()).kneighbors()
    np.testing.assert_allclose(distances_to_neighbors(x, neighbors=neighbors).numpy(), found.sum(1), rtol=1e-6)


def test_scores_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    whole = distances_to_neighbors(x, neighbors=5)
    monkeypatch.setattr(knn, "_CHUNK_ELEMENTS", 150)
    assert distances_to_neighbors(x, neighbors=5).tolist() == pytest.approx(whole.tolist(), rel=1e-6)


def test_duplicates_are_neighbours_and_the_row_itself_is_not() -> None:
    x = torch.tensor([[0.0], [0.0], [1.0]])
    assert distances_to_neighbors(x, neighbors=1).tolist() == [0, 0, 1]


def test_fewer_rows_than_neighbours_all_count() -> None:
    assert distances_to_neighbors(torch.tensor([[0.0], [1.0]]), neighbors=5).tolist() == [1, 1]
    assert distances_to_neighbors(torch.zeros(1, 3), neighbors=5).tolist() == [0]
    assert distances_to_neighbors(torch.zeros(0, 3), neighbors=5).tolist() == []


def test_lonely_rows_go_whatever_their_label() -> None:
    clean = gaussians(76, seed=0)
    rows = joined(clean, labelled(torch.tensor([[30.0, 30.0], [-40.0, 0.0]]), 0))
    mask = mask_of(NearestNeighborFilter(0.05), rows)
    assert not mask[-2:].any()
    assert bool(mask[:-2][clean.y == 0].all())


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbors=0"):
        NearestNeighborFilter(neighbors=0)

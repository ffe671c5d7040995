import math

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from gradshape.data import Split
from gradshape.defenses import DeepKNN, deep_knn
from gradshape.defenses.deep_knn import agrees_with_neighbors, voters, with_every_class
from gradshape.training import SGD, Recipe
from tests.defenses.rows import gaussians, joined, labelled, mask_by_own_coordinates

RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 20])
def test_votes_are_those_of_scikit_learns_neighbours(k: int) -> None:
    rows = gaussians(120, seed=0, features=4, apart=0.5, classes=3)
    _, nearest = NearestNeighbors(n_neighbors=k).fit(rows.x.double().numpy()).kneighbors(rows.x.double().numpy())
    count = torch.nn.functional.one_hot(rows.y[torch.from_numpy(nearest)], 3).sum(1)
    expected = count.gather(1, rows.y[:, None]).squeeze(1) == count.amax(1)
    assert torch.equal(agrees_with_neighbors(rows.x, rows.y, k=k), expected)


def test_votes_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gaussians(50, seed=0, apart=0.5)
    whole = agrees_with_neighbors(rows.x, rows.y, k=5)
    monkeypatch.setattr(deep_knn, "_CHUNK_ELEMENTS", 150)
    assert torch.equal(agrees_with_neighbors(rows.x, rows.y, k=5), whole)


def test_permuted_rows_give_the_permuted_mask() -> None:
    rows = gaussians(80, seed=0, features=3, apart=0.5)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    permuted = mask_by_own_coordinates(DeepKNN(0.1), Split(rows.x[order], rows.y[order]))
    assert torch.equal(permuted, mask_by_own_coordinates(DeepKNN(0.1), rows)[order])


@pytest.mark.parametrize("poisons", [1, 4])
def test_poison_among_the_rows_of_another_class_goes_and_all_others_stay(poisons: int) -> None:
    clean = gaussians(200, seed=0, features=3, apart=20)
    there = clean.x[clean.y == 0][:1] + 0.01 * torch.rand(poisons, 3, generator=torch.Generator().manual_seed(2))
    mask = mask_by_own_coordinates(DeepKNN(0.05), joined(clean, labelled(there, 1)))
    assert mask[:200].all()
    assert not mask[200:].any()


def test_poison_that_outnumbers_its_neighbours_stays() -> None:
    clean = gaussians(200, seed=0, features=3, apart=20)
    there = clean.x[clean.y == 0][:1] + 0.01 * torch.rand(20, 3, generator=torch.Generator().manual_seed(2))
    rows = joined(clean, labelled(there, 1))
    assert mask_by_own_coordinates(DeepKNN(0.05), rows)[200:].all()
    assert not mask_by_own_coordinates(DeepKNN(0.25), rows)[200:].any()


def test_identical_rows_survive() -> None:
    rows = joined(labelled(torch.zeros(30, 2), 0), labelled(torch.ones(30, 2), 1))
    assert mask_by_own_coordinates(DeepKNN(0.1), rows).all()


def test_a_copy_with_another_label_among_identical_rows_goes() -> None:
    rows = joined(labelled(torch.zeros(30, 2), 0), labelled(torch.ones(30, 2), 1), labelled(torch.zeros(1, 2), 1))
    assert mask_by_own_coordinates(DeepKNN(0.1), rows).tolist() == [True] * 60 + [False]


def test_a_tie_is_decided_for_the_row() -> None:
    x = torch.tensor([[0.0], [1.0], [2.5], [4.5]])
    y = torch.tensor([0, 1, 0, 1])
    assert agrees_with_neighbors(x, y, k=2).all()


@pytest.mark.parametrize(("budget", "k"), [(0.05, 10), (0.1, 20), (0.5, 100), (1, 200), (0.01, 3), (1e-9, 3)], ids=str)
def test_the_number_of_voters_follows_the_budget(budget: float, k: int) -> None:
    assert voters(torch.arange(1000) % 10, budget=budget) == k


def test_classes_that_do_not_occur_do_not_count() -> None:
    assert voters(torch.tensor([0, 7]).repeat(50), budget=0.1) == 10


def test_voters_are_capped_by_the_rows_of_the_own_class() -> None:
    few = torch.tensor([[0.4, 0.0], [0.5, 0.0], [0.6, 0.0]])
    rows = joined(gaussians(100, seed=0, apart=2), labelled(few, 2))
    capped = agrees_with_neighbors(rows.x, rows.y, k=60)
    same = agrees_with_neighbors(rows.x, rows.y, k=3)
    assert torch.equal(capped[100:], same[100:])


def test_more_voters_than_rows_are_all_rows() -> None:
    assert agrees_with_neighbors(torch.rand(6, 2), torch.zeros(6, dtype=torch.int64), k=50).all()
    assert agrees_with_neighbors(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), k=5).tolist() == []


@pytest.mark.parametrize("rows", [1, 2])
def test_a_class_of_so_few_rows_stays_whatever_lies_around_it(rows: int) -> None:
    clean = gaussians(100, seed=0, apart=5)
    assert mask_by_own_coordinates(DeepKNN(0.3), joined(clean, labelled(clean.x[:rows], 2)))[100:].all()


def test_of_a_class_that_is_outvoted_everywhere_the_middle_row_stays() -> None:
    clean = gaussians(300, seed=0, apart=5)
    scattered = clean.x[:5] + 1e-3
    rows = joined(clean, labelled(scattered, 2))
    left = mask_by_own_coordinates(DeepKNN(0.3), rows)[300:]
    middle = (scattered - scattered.mean(0)).norm(dim=1).argmin()
    assert left.nonzero().flatten().tolist() == [int(middle)]


def test_classes_of_which_rows_are_left_get_none_back() -> None:
    keep = torch.tensor([False, True, False, True])
    assert torch.equal(with_every_class(keep, torch.rand(4, 2), torch.tensor([0, 0, 1, 1])), keep)


def test_a_given_number_of_voters_takes_the_place_of_the_rule() -> None:
    rows = gaussians(100, seed=0, apart=0.5)
    given, by_rule, by_budget = (
        mask_by_own_coordinates(defense, rows) for defense in (DeepKNN(0.05, k=20), DeepKNN(0.2), DeepKNN(0.05))
    )
    assert torch.equal(given, by_rule)
    assert not torch.equal(given, by_budget)
    assert mask_by_own_coordinates(DeepKNN(k=2), rows).all()


def test_labels_tell_variants_apart() -> None:
    variants = [DeepKNN(), DeepKNN(0.125), DeepKNN(k=50)]
    assert [variant.label_for(RECIPE) for variant in variants] == ["deep_knn_5", "deep_knn_12.5", "deep_knn_5_k50"]


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.1, math.nan])
def test_a_budget_out_of_range_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match=r"budget=.*: expected a number in \(0, 1\]"):
        DeepKNN(budget)


@pytest.mark.parametrize("k", [0, -3])
def test_a_number_of_voters_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k}: expected an integer of at least 1"):
        DeepKNN(k=k)
    with pytest.raises(ValueError, match=f"k={k}: expected an integer of at least 1"):
        agrees_with_neighbors(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), k=k)

import pytest
import torch

from gradshape.data import Split
from gradshape.defenses._centroids import Centroids, distances_between_centroids, distances_to_centroids
from tests.defenses.rows import gaussians


def test_distances_are_those_to_the_mean_of_the_class() -> None:
    rows = gaussians(50, seed=0, features=4, classes=3)
    for label in range(3):
        members = rows.y == label
        mean = rows.x[members].double().mean(0)
        expected = [float((row.double() - mean).norm()) for row in rows.x[members]]
        assert distances_to_centroids(rows)[members].tolist() == pytest.approx(expected)


def test_with_two_classes_the_line_is_the_one_between_them() -> None:
    rows = gaussians(50, seed=0, features=4)
    means = [rows.x[rows.y == label].double().mean(0) for label in (0, 1)]
    axis = (means[1] - means[0]) / (means[1] - means[0]).norm()
    expected = [
        abs(float(axis @ (row.double() - means[label]))) for row, label in zip(rows.x, rows.y.tolist(), strict=True)
    ]
    assert distances_between_centroids(rows).tolist() == pytest.approx(expected)


def test_with_more_classes_the_line_leads_to_the_nearest_other_centroid() -> None:
    x = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [2.0, 1.0], [1.0, 2.0], [-3.0, -3.0]])
    rows = Split(x, torch.tensor([0, 1, 2, 0, 0, 0]))
    nearest = Centroids.from_rows(rows).nearest_other(rows)
    assert nearest[:5].tolist() == pytest.approx([1, 0, 0, 1, 2])
    centre = x[rows.y == 0].mean(0)
    axis = (x[1] - centre) / (x[1] - centre).norm()
    assert distances_between_centroids(rows)[3].item() == pytest.approx(abs(float(axis @ (x[3] - centre))), rel=1e-5)


def test_classes_that_are_absent_have_no_place() -> None:
    centroids = Centroids.from_rows(Split(torch.rand(4, 2), torch.tensor([1, 1, 5, 5])))
    assert centroids.classes.tolist() == [1, 5]
    assert centroids.own(torch.tensor([0, 1, 3, 5, 9])).tolist() == [-1, 0, -1, 1, -1]


def test_one_class_has_no_line() -> None:
    assert distances_between_centroids(Split(torch.rand(4, 2), torch.zeros(4, dtype=torch.int64))).tolist() == [0] * 4


def test_centroids_in_one_place_have_no_line() -> None:
    rows = Split(torch.tensor([[0.0], [1.0], [0.25], [0.75]]), torch.tensor([0, 0, 1, 1]))
    assert distances_between_centroids(rows).tolist() == [0] * 4

import pytest
import torch
from torch import Tensor

from gradshape import models
from gradshape.analysis import Regions, classifier, decision_regions
from gradshape.data import load
from gradshape.training import SGD, Recipe, Victim, train_victims


def left_of(place: float, scale: float = 100.0) -> object:
    def classify(x: Tensor) -> Tensor:
        return torch.stack([(place - x[:, 0]) * scale, (x[:, 0] - place) * scale], dim=1)

    return classify


def regions(classes: list[list[int]]) -> Regions:
    found = torch.tensor(classes)
    return Regions(found, torch.ones(found.shape, dtype=torch.float64))


def test_columns_are_the_first_feature_and_rows_the_second() -> None:
    def below_the_diagonal(x: Tensor) -> Tensor:
        return torch.stack([x[:, 1] - x[:, 0], x[:, 0] - x[:, 1] + 1e-3], dim=1)

    assert decision_regions(below_the_diagonal, side=3).classes.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]


def test_cells_are_asked_at_their_centres() -> None:
    seen: list[Tensor] = []

    def classify(x: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros(len(x), 3)

    decision_regions(classify, side=2)
    assert seen[0].tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@pytest.mark.parametrize("place", [0.25, 0.5])
def test_a_straight_boundary_is_one_side_long(place: float) -> None:
    assert decision_regions(left_of(place), side=16).boundary_length == 1  # type: ignore[arg-type]


def test_a_boundary_is_counted_along_the_sides_of_cells() -> None:
    assert regions([[0, 0], [0, 1]]).boundary_length == 1
    assert regions([[0, 1], [1, 0]]).boundary_length == 2
    assert regions([[0, 0], [0, 0]]).boundary_length == 0


def test_confidence_is_the_probability_of_the_class() -> None:
    found = decision_regions(lambda x: torch.tensor([[0.0, 3.0]]).log1p().expand(len(x), 2), side=2)
    assert found.classes.unique().tolist() == [1]
    assert found.confidence.flatten().tolist() == pytest.approx([0.8] * 4)
    assert found.uncertain_area(below=0.9) == 1
    assert found.uncertain_area(below=0.7) == 0


def test_a_steeper_classifier_is_uncertain_in_a_narrower_band() -> None:
    wide, narrow = (decision_regions(left_of(0.5, scale), side=64) for scale in (5, 50))  # type: ignore[arg-type]
    assert narrow.uncertain_area() < wide.uncertain_area() < 1


def test_a_trained_model_decides_as_it_was_measured() -> None:
    moons = load("two_moons")
    recipe = Recipe("mlp", SGD(0.5), batch_size=100, epochs=2)
    (result,) = train_victims(moons, [Victim(recipe, 0)])
    assert result.best is not None
    model = classifier(recipe, result.best, num_classes=2)
    assert float((model(moons.test.x).argmax(1) == moons.test.y).double().mean()) == result.best_accuracy


def test_random_layers_are_still() -> None:
    recipe = Recipe("lr", SGD(0.5), batch_size=100, epochs=2)
    model = classifier(recipe, models.build("lr", (2,), 2).state_dict(), num_classes=2)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("logits", "problem"),
    [
        (torch.zeros(3, 2), r"classify returned shape \(3, 2\): expected \(4, K\) logits"),
        (torch.zeros(4), r"shape \(4,\)"),
        (torch.full((4, 2), torch.nan), "not finite"),
    ],
)
def test_what_is_no_decision_is_refused(logits: Tensor, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decision_regions(lambda _: logits, side=2)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="side=0"):
        decision_regions(lambda x: x, side=0)
    with pytest.raises(ValueError, match=r"below=1\.5"):
        regions([[0]]).uncertain_area(below=1.5)

"""The features that filters look at: of the base model, or of a network that they train themselves."""

from dataclasses import replace

import pytest
import torch

from gradshape import features, models
from gradshape.defenses import DeepKNN, Defense, NoDefense, SpectralSignatures, Suspect
from gradshape.defenses._feature_space import suspect_features
from gradshape.testing._datasets import plane
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, TrainedModel, Victim, train_victims
from tests.defenses.rows import labelled
from tests.training.samples import blobs

DATA = blobs(rows=60, classes=3)
RECIPE = Recipe("mlp1", SGD(0.1), batch_size=20, epochs=2)
FILTERS: list[Defense] = [DeepKNN(), SpectralSignatures()]


def suspect(*, recipe: AnyRecipe = RECIPE, model: TrainedModel | None = None) -> Suspect:
    return Suspect(
        DATA.train.x, DATA.train.y, num_classes=3, assumptions=DeepKNN.assumptions, recipe=recipe, model=model
    )


def base_model(name: str = "mlp1") -> TrainedModel:
    state = models.build(name, DATA.input_shape, 3, generator=torch.Generator().manual_seed(5)).state_dict()
    return TrainedModel(replace(RECIPE, model=name), state)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["lr", "mlp", "mlp1"])
def test_they_are_those_of_the_base_model(name: str) -> None:
    model = base_model(name)
    expected = models.penultimate(model.module(DATA.input_shape, 3), DATA.train.x)
    torch.testing.assert_close(suspect_features(suspect(model=model), generator=generator()), expected)


def test_a_base_model_needs_no_recipe_and_draws_nothing() -> None:
    rows = Suspect(
        DATA.train.x, DATA.train.y, num_classes=3, assumptions=DeepKNN.assumptions, recipe=None, model=base_model()
    )
    drawing = generator()
    before = drawing.get_state()
    suspect_features(rows, generator=drawing)
    assert torch.equal(drawing.get_state(), before)


def test_they_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = suspect(model=base_model())
    whole = suspect_features(rows, generator=generator())
    monkeypatch.setattr(features, "_AT_ONCE", 1 << 10)
    torch.testing.assert_close(suspect_features(rows, generator=generator()), whole)


def test_dropout_is_off() -> None:
    pictures = blobs(rows=12, shape=(1, 4, 4), classes=2)
    state = models.build("cnn_dropout", (1, 4, 4), 2).state_dict()
    model = TrainedModel(replace(RECIPE, model="cnn_dropout"), state)
    rows = Suspect(
        pictures.train.x, pictures.train.y, num_classes=2, assumptions=DeepKNN.assumptions, model=model, recipe=RECIPE
    )
    assert torch.equal(suspect_features(rows, generator=generator(1)), suspect_features(rows, generator=generator(2)))


def test_without_a_base_model_a_network_is_trained_on_the_rows_by_the_recipe() -> None:
    features = suspect_features(suspect(), generator=generator())
    seed = int(torch.randint(2**62, (), generator=generator()))
    [result] = train_victims(DATA, [Victim(RECIPE, seed)])
    assert result.last is not None
    expected = models.penultimate(TrainedModel(RECIPE, result.last).module(DATA.input_shape, 3), DATA.train.x)
    torch.testing.assert_close(features, expected)


def test_another_generator_trains_another_network() -> None:
    one, other = (suspect_features(suspect(), generator=generator(seed)) for seed in (0, 1))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("defense", FILTERS, ids=lambda defense: type(defense).__name__)
def test_a_filter_looks_at_the_base_model_where_there_is_one(defense: Defense) -> None:
    with_model, others = (
        [defense.filter(suspect(model=model), generator=generator(seed)) for seed in range(4)]
        for model in (base_model(), None)
    )
    assert len({tuple(mask.tolist()) for mask in with_model if mask is not None}) == 1
    assert all(mask is not None for mask in others)


@pytest.mark.parametrize("defense", FILTERS, ids=lambda defense: type(defense).__name__)
def test_a_victim_that_is_no_network_is_unsuitable(defense: Defense) -> None:
    assert defense.unsuitable(DATA, RECIPE) is None
    assert defense.unsuitable(DATA, Fit("logistic")) == "it looks at the features of a network, and logistic is none"
    assert "regression" in str(defense.unsuitable(plane(), RECIPE))


def test_a_recipe_that_trains_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"recipe=Fit.*expected a Recipe"):
        suspect_features(suspect(recipe=Fit("logistic")), generator=generator())


def test_the_model_is_granted_with_the_recipe_only() -> None:
    assert suspect().model is None
    model = base_model()
    assert suspect(model=model).model is model
    blind = Suspect(DATA.train.x, DATA.train.y, num_classes=3, assumptions=NoDefense.assumptions, model=model)
    assert blind._granted == {}
    with pytest.raises(PermissionError, match="grant no knowledge of model"):
        _ = blind.model


@pytest.mark.parametrize("defense", FILTERS, ids=lambda defense: type(defense).__name__)
def test_one_class_is_filtered_like_any_other(defense: Defense) -> None:
    one = labelled(DATA.train.x, 0)
    rows = Suspect(one.x, one.y, num_classes=1, assumptions=defense.assumptions, recipe=RECIPE)
    mask = defense.filter(rows, generator=generator())
    assert mask is not None
    assert int((~mask).sum()) == (0 if isinstance(defense, DeepKNN) else 4)


@pytest.mark.parametrize("defense", [DeepKNN(), SpectralSignatures()])
def test_a_network_that_diverged_is_no_measure(defense: Defense) -> None:
    known = base_model()
    broken = TrainedModel(known.recipe, {name: torch.full_like(p, torch.nan) for name, p in known.state.items()})
    with pytest.raises(ValueError, match=r"features of \d+ of \d+ rows are not finite: expected"):
        defense.filter(suspect(model=broken), generator=generator())

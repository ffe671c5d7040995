"""What a probe measures, beside the same taken by hand, and that it leaves the training alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.data import Split
from gradshape.models import Classifier
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import (
    SGD,
    SUBSETS,
    Adam,
    Fit,
    GradientProbe,
    Layers,
    Recipe,
    Sampling,
    SubsetGradients,
    Victim,
    Weighting,
    stack_key,
    train_victims,
)
from gradshape.training._probe.recorder import ProbeRecorder
from gradshape.training._rows.device_rows import DeviceRows
from gradshape.training.probe import COMPLEMENT
from tests.training.samples import (
    ALL_SHAPERS,
    SHAPERS,
    assert_results_equal,
    blobs,
    common_rows,
    random_rows,
    train_by_hand,
)

DATA = blobs()
PICTURES = blobs(shape=(1, 6, 6))
POISON = random_rows(DATA, 9, seed=5)
RECIPE = Recipe("lr", SGD(0.3), batch_size=8, epochs=2)
VICTIM = Victim(RECIPE, 3, private=POISON, probe=GradientProbe())
CLEAN, POISONED, PLACEBO, REST = range(len(SUBSETS))
SHARED = list(Weighting).index(Weighting.SHARED)
OF_ALL_BATCHES = [place for place, weighting in enumerate(Weighting) if weighting is not Weighting.SHARED]


def measure(victim: Victim, *, data: object = DATA, max_memory: int = 1 << 30) -> SubsetGradients:
    [result] = train_victims(data, [victim], dtype=torch.float64, max_memory=max_memory)  # type: ignore[arg-type]
    assert result.gradients is not None
    return result.gradients


def assert_measures_equal(one: SubsetGradients, other: SubsetGradients, *, tolerance: float = 1e-9) -> None:
    assert one.parameters == other.parameters
    for name in ("raw", "shaped", "norms", "shaped_norms", "rows", "batches", "accuracy"):
        of_one, of_other = getattr(one, name), getattr(other, name)
        assert (of_one is None) == (of_other is None)
        if of_one is not None:
            torch.testing.assert_close(of_one, of_other, rtol=tolerance, atol=tolerance, equal_nan=True)


def members(victim: Victim, data: object = DATA) -> Tensor:
    """Which subset each row is on."""
    order = common_rows(data, victim)  # type: ignore[arg-type]
    model = models.build("lr", (2,), 2)
    x = torch.zeros(len(order.kept) + len(order.private) + 50, 2)
    rows = DeviceRows(x, torch.zeros(len(x), dtype=torch.int64), device=x.device, dtype=x.dtype, max_bytes=1 << 20)
    assert victim.probe is not None
    return ProbeRecorder(victim.probe, model, rows, order, reweights=False).members(torch.arange(len(x)))


class ByHand:
    """The subsets' gradients from one backward pass a sample: lists of vectors, batch by batch."""

    def __init__(self, victim: Victim) -> None:
        self._on = members(victim)
        epochs = range(victim.recipe.epochs)
        # By epoch, weighted or not, subset and step: one gradient a row, as its parts by parameter.
        self.steps: list[dict[tuple[bool, int], list[list[list[Tensor]]]]] = [{} for _ in epochs]
        train_by_hand(DATA, victim, self._told)

    def _told(self, epoch: int, ids: list[int], samples: list[tuple[Tensor, ...]], weights: list[list[float]]) -> None:
        for weighted in (False, True):
            for subset in range(len(SUBSETS)):
                of_subset = []
                for row, sample, by_parameter in zip(ids, samples, weights, strict=True):
                    if self._on[subset, row]:
                        scale = by_parameter if weighted else [1.0] * len(sample)
                        of_subset.append([(w * g).flatten() for w, g in zip(scale, sample, strict=True)])
                self.steps[epoch].setdefault((weighted, subset), []).append(of_subset)

    def means(self, epoch: int, parameter: int, *, weighted: bool) -> list[list[Tensor]]:
        """Mean gradients by weighting and subset."""
        by_batch, by_sample, by_shared = [], [], []
        for subset, other in enumerate(COMPLEMENT):
            of_steps = [[row[parameter] for row in step] for step in self.steps[epoch][weighted, subset]]
            batches = [batch for batch in of_steps if batch]
            shared = [
                batch
                for batch, beside in zip(of_steps, self.steps[epoch][weighted, other], strict=True)
                if batch and beside
            ]
            by_batch.append(torch.stack([torch.stack(batch).mean(0) for batch in batches]).mean(0))
            by_sample.append(torch.stack([row for batch in batches for row in batch]).mean(0))
            by_shared.append(torch.stack([torch.stack(batch).mean(0) for batch in shared]).mean(0))
        return [by_batch, by_sample, by_shared]

    def norms(self, epoch: int, subset: int, *, weighted: bool) -> float:
        rows = [row for batch in self.steps[epoch][weighted, subset] for row in batch]
        return sum(math.hypot(*(float(part.norm()) for part in row)) for row in rows) / len(rows)


def assert_equals_by_hand(victim: Victim) -> None:
    assert isinstance(victim.recipe, Recipe)
    measured, by_hand = measure(victim), ByHand(victim)
    names = [name for name, _ in models.build(victim.recipe.model, DATA.input_shape, 3).named_parameters()]
    for epoch in range(victim.recipe.epochs):
        for weighted, found in ((False, measured.raw), (True, measured.shaped)):
            for place, name in enumerate(measured.parameters):
                expected = [
                    torch.stack([torch.stack([one @ other for other in means]) for one in means])
                    for means in by_hand.means(epoch, names.index(name), weighted=weighted)
                ]
                torch.testing.assert_close(found[epoch, :, place], torch.stack(expected), rtol=1e-9, atol=1e-9)
            norms = measured.shaped_norms if weighted else measured.norms
            in_subsets = [by_hand.norms(epoch, subset, weighted=weighted) for subset in range(len(SUBSETS))]
            assert norms[epoch].tolist() == pytest.approx(in_subsets, rel=1e-9)
        for subset in range(len(SUBSETS)):
            batches = [batch for batch in by_hand.steps[epoch][False, subset] if batch]
            assert measured.batches[epoch, subset] == len(batches)
            assert measured.rows[epoch, subset] == sum(map(len, batches))


@pytest.mark.parametrize("shaper", [pytest.param(shaper, id=name) for name, shaper in ALL_SHAPERS.items()])
@pytest.mark.parametrize("layers", Layers)
def test_sides_are_those_of_one_backward_pass_a_sample(shaper: Shaper, layers: Layers) -> None:
    recipe = replace(RECIPE, model="mlp1" if layers is Layers.LAST else "lr", shaper=shaper)
    assert_equals_by_hand(replace(VICTIM, recipe=recipe, probe=GradientProbe(layers)))


@pytest.mark.parametrize("shaper", [Shaper(), Clip(0.3) | Noise(0.1)], ids=["vanilla", "dp"])
@pytest.mark.parametrize("sampling", Sampling)
def test_sides_of_all_layers_are_those_of_one_backward_pass_a_sample(shaper: Shaper, sampling: Sampling) -> None:
    recipe = replace(RECIPE, model="mlp1", shaper=shaper, sampling=sampling, batch_size=14)
    victim = replace(VICTIM, recipe=recipe, probe=GradientProbe(Layers.ALL), removed=torch.tensor([0, 7]))
    assert_equals_by_hand(victim)


@pytest.mark.parametrize("shaper", [Shaper(), Shaper((Clip(0.3),))], ids=["vanilla", "clip"])
def test_a_single_poison_row_shares_its_batch_with_the_clean_rows_that_it_is_compared_with(shaper: Shaper) -> None:
    # 41 rows are 5 batches of 8 and a rest, so that most batches have no poison.
    victim = replace(VICTIM, recipe=replace(RECIPE, epochs=1, shaper=shaper), private=random_rows(DATA, 1, seed=2))
    assert_equals_by_hand(victim)
    found = measure(victim)
    by_batch, shared = (found.raw[0, list(Weighting).index(how), 0] for how in (Weighting.BATCH, Weighting.SHARED))
    assert by_batch[POISONED, POISONED] == pytest.approx(float(shared[POISONED, POISONED]), rel=1e-12)
    assert by_batch[CLEAN, CLEAN] != pytest.approx(float(shared[CLEAN, CLEAN]), rel=0.01)


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn"])
@pytest.mark.parametrize("shaper", SHAPERS.values(), ids=SHAPERS)
def test_both_divisions_of_the_rows_have_the_same_sum(model: str, shaper: Shaper) -> None:
    poison = random_rows(PICTURES, 9, seed=5)
    recipe = replace(RECIPE, model=model, shaper=shaper)
    found = measure(replace(VICTIM, recipe=recipe, private=poison, probe=GradientProbe(Layers.ALL)), data=PICTURES)
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    for epoch in range(recipe.epochs):
        counts = signs * found.rows[epoch]
        for products in (found.raw[epoch, 1].sum(0), found.shaped[epoch, 1].sum(0)):
            size = counts.square() @ products.diagonal()
            assert abs(float(counts @ products @ counts)) <= 1e-12 * float(size)


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn", "cnn_dropout"])
@pytest.mark.parametrize("shaper", ALL_SHAPERS.values(), ids=ALL_SHAPERS)
def test_a_probe_leaves_the_training_as_it_is(model: str, shaper: Shaper) -> None:
    recipe = replace(RECIPE, model=model, shaper=shaper)
    poison = random_rows(PICTURES, 9, seed=5)
    watch = PICTURES.test.x[:3]
    plain = Victim(recipe, 3, private=poison, watch=watch)
    without = train_victims(PICTURES, [plain], dtype=torch.float64)
    with_probe = train_victims(PICTURES, [replace(plain, probe=GradientProbe())], dtype=torch.float64)
    assert_results_equal(with_probe, without, tolerance=1e-10)


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn_dropout"])
def test_in_float32_a_probe_changes_no_more_than_rounding(model: str) -> None:
    plain = Victim(Recipe(model, Adam(0.01), batch_size=10, epochs=3), 3, private=random_rows(PICTURES, 9, seed=5))
    without, probed = train_victims(PICTURES, [plain, replace(plain, probe=GradientProbe())])
    assert_results_equal([probed], [without], tolerance=1e-6)


@pytest.mark.parametrize(
    "shaper", [Shaper(), SHAPERS["clip-noise"], SHAPERS["median"]], ids=["vanilla", "dp", "median"]
)
@pytest.mark.parametrize("layers", Layers)
def test_what_is_measured_does_not_depend_on_the_memory(shaper: Shaper, layers: Layers) -> None:
    recipe = replace(RECIPE, model="cnn", shaper=shaper)
    poison = random_rows(PICTURES, 9, seed=5)
    victim = replace(VICTIM, recipe=recipe, private=poison, probe=GradientProbe(layers))
    assert_measures_equal(measure(victim, data=PICTURES, max_memory=1), measure(victim, data=PICTURES))


def test_a_model_that_draws_numbers_is_measured_too() -> None:
    recipe = replace(RECIPE, model="cnn_dropout")
    found = measure(replace(VICTIM, recipe=recipe, private=random_rows(PICTURES, 9, seed=5)), data=PICTURES)
    assert bool(found.raw.isfinite().all())
    assert bool((found.raw.diagonal(dim1=-2, dim2=-1) > 0).all())


def test_gradients_are_those_before_the_update() -> None:
    # In one batch of all rows there is one update an epoch, so the first measurement is one of the initial state.
    whole = replace(RECIPE, batch_size=1000, epochs=1)
    one, other = (measure(replace(VICTIM, recipe=replace(whole, optimizer=SGD(lr)))) for lr in (1e-9, 5.0))
    assert torch.equal(one.raw, other.raw)


def test_copies_of_train_rows_are_poison_all_the_same() -> None:
    flipped = Split(DATA.train.x[:9].clone(), (DATA.train.y[:9] + 1) % 3)
    found = measure(replace(VICTIM, private=flipped, recipe=replace(RECIPE, batch_size=53)))
    assert found.rows.tolist() == [[44, 9, 9, 44]] * 2


@pytest.mark.parametrize("rows", [1, 2])
def test_an_epoch_without_poison_is_not_a_number(rows: int) -> None:
    recipe = replace(RECIPE, sampling=Sampling.POISSON, epochs=12)
    found = measure(replace(VICTIM, recipe=recipe, private=random_rows(DATA, rows, seed=1)))
    without = found.rows[:, POISONED] == 0
    assert 0 < int(without.sum()) < recipe.epochs
    for products in (found.raw, found.shaped):
        assert torch.equal(products[..., POISONED, POISONED].isnan(), without[:, None, None].expand(products.shape[:3]))
        assert bool(products[:, OF_ALL_BATCHES, :, CLEAN, CLEAN].isfinite().all())
        # No batch is shared.
        assert torch.equal(products[:, SHARED, 0, CLEAN, CLEAN].isnan(), without)
    assert torch.equal(found.norms[:, POISONED].isnan(), without)
    # Rows that were in no batch are evaluated all the same.
    assert found.accuracy is not None
    assert bool(found.accuracy.isfinite().all())


def test_empty_batches_are_no_batches() -> None:
    recipe = replace(RECIPE, sampling=Sampling.POISSON, batch_size=1, epochs=1)
    found = measure(replace(VICTIM, recipe=recipe))
    assert int(found.batches[0, CLEAN]) < len(DATA.train)
    assert bool(found.raw.isfinite().all())


@pytest.mark.parametrize("private", [None, Split(torch.empty(0, 5), torch.empty(0, dtype=torch.int64))])
@pytest.mark.parametrize("shaper", [Shaper(), Shaper((Clip(0.1),))], ids=["vanilla", "clip"])
def test_without_private_rows_there_is_no_poison_side(private: Split | None, shaper: Shaper) -> None:
    found = measure(replace(VICTIM, private=private, recipe=RECIPE.with_shaper(shaper)))
    assert found.rows.tolist() == [[40, 0, 0, 40]] * 2
    for products in (found.raw, found.shaped):
        assert bool(products[..., (POISONED, PLACEBO), :].isnan().all())
        assert bool(products[:, OF_ALL_BATCHES, :, CLEAN, CLEAN].isfinite().all())
    assert found.accuracy is not None
    assert found.accuracy[:, POISONED].isnan().all()


def test_a_placebo_may_have_a_size_of_its_own() -> None:
    on = members(replace(VICTIM, private=None, probe=GradientProbe(placebo=7)))
    assert on.sum(1).tolist() == [44, 0, 7, 37]


def test_a_placebo_is_drawn_by_seed_among_the_rows_that_are_kept() -> None:
    removed = torch.arange(30)
    on = members(replace(VICTIM, removed=removed))
    assert torch.equal(on, members(replace(VICTIM, removed=removed, order_seed=9)))
    assert not torch.equal(on, members(replace(VICTIM, removed=removed, seed=4)))
    assert on.sum(1).tolist() == [14, 9, 9, 14]
    assert not on[PLACEBO, removed].any()
    assert torch.equal(on[REST] | on[PLACEBO], on[CLEAN] | on[POISONED])


def test_a_placebo_has_no_more_rows_than_there_are() -> None:
    many = replace(VICTIM, private=random_rows(DATA, 60, seed=1))
    assert members(many).sum(1).tolist() == [44, 60, 44, 60]


@pytest.mark.parametrize("model", ["lr", "cnn"])
def test_accuracy_is_that_of_the_state_after_the_epoch(model: str) -> None:
    poison = random_rows(PICTURES, 9, seed=5)
    recipe, removed = replace(RECIPE, model=model, epochs=3), torch.tensor([1, 5])
    victim = Victim(recipe, 3, private=poison, removed=removed, probe=GradientProbe())
    [result] = train_victims(PICTURES, [victim], dtype=torch.float64)
    assert result.gradients is not None
    assert result.gradients.accuracy is not None
    network = models.build(model, (1, 6, 6), 3).double()
    network.load_state_dict(result.last or {})
    kept = torch.tensor([row not in (1, 5) for row in range(len(PICTURES.train))])
    for subset, split in ((CLEAN, Split(PICTURES.train.x[kept], PICTURES.train.y[kept])), (POISONED, poison)):
        hits = network(split.x.double()).argmax(1) == split.y
        assert float(result.gradients.accuracy[-1, subset]) == float(hits.double().mean())


def test_accuracy_is_measured_on_request_only() -> None:
    assert measure(replace(VICTIM, probe=GradientProbe(accuracy=False))).accuracy is None


def test_a_probe_looks_at_the_layers_that_it_names() -> None:
    victim = replace(VICTIM, recipe=replace(RECIPE, model="mlp1"))
    assert measure(victim).parameters == ("head.weight", "head.bias")
    of_all = measure(replace(victim, probe=GradientProbe(Layers.ALL)))
    assert of_all.parameters == ("body.1.weight", "body.1.bias", "head.weight", "head.bias")
    torch.testing.assert_close(of_all.raw[:, :, 2:], measure(victim).raw, rtol=1e-12, atol=1e-12)


def test_shaped_is_raw_where_nothing_is_weighted() -> None:
    found = measure(replace(VICTIM, recipe=RECIPE.with_shaper(Shaper((Noise(0.1),)))))
    assert torch.equal(found.shaped, found.raw)
    assert torch.equal(found.shaped_norms, found.norms)


def test_clipping_bounds_the_norms() -> None:
    found = measure(replace(VICTIM, recipe=RECIPE.with_shaper(Shaper((Clip(0.05),)))))
    assert bool((found.shaped_norms <= 0.05 * (1 + 1e-12)).all())
    assert bool((found.norms > 0.05).all())


def test_measurement_ends_with_the_training() -> None:
    recipe = replace(RECIPE, epochs=9)
    watch = DATA.test.x[:1]
    [plain] = train_victims(DATA, [Victim(recipe, 3, private=POISON, watch=watch)])
    assert plain.predictions is not None
    found = measure(replace(VICTIM, recipe=recipe, watch=watch, intended=plain.predictions[0]))
    assert len(found.raw) == 1


def test_a_training_that_diverges_is_measured_to_its_end() -> None:
    found = measure(replace(VICTIM, recipe=replace(RECIPE, model="mlp1", optimizer=SGD(1e300), epochs=3)))
    assert len(found.raw) == 3
    assert not found.raw[-1].isfinite().all()


def test_victims_with_a_probe_are_trained_alone_and_do_not_disturb_the_others() -> None:
    plain = Victim(RECIPE, 3, private=POISON)
    assert stack_key(DATA, VICTIM) is None
    together = train_victims(DATA, [plain, VICTIM, replace(plain, seed=4)], dtype=torch.float64)
    assert [result.gradients is None for result in together] == [True, False, True]
    assert_results_equal(together[1:2], together[:1], tolerance=1e-12)
    assert together[1].gradients is not None
    assert_measures_equal(together[1].gradients, measure(VICTIM))


def test_private_rows_of_another_victim_are_not_this_ones() -> None:
    other = Victim(RECIPE, 8, private=random_rows(DATA, 20, seed=8), probe=GradientProbe())
    _, result = train_victims(DATA, [other, VICTIM], dtype=torch.float64)
    assert result.gradients is not None
    assert_measures_equal(result.gradients, measure(VICTIM))


@pytest.mark.parametrize("placebo", [-1, 1.5, True])
def test_a_placebo_is_a_number_of_rows(placebo: int) -> None:
    with pytest.raises(ValueError, match=f"placebo={placebo!r}"):
        GradientProbe(placebo=placebo)


def test_a_placebo_needs_as_many_rows() -> None:
    victim = replace(VICTIM, removed=torch.arange(40), probe=GradientProbe(placebo=5))
    with pytest.raises(ValueError, match="victim 0: placebo=5: expected at most the number of train rows, 4"):
        train_victims(DATA, [victim])


def test_estimators_have_no_gradients() -> None:
    with pytest.raises(ValueError, match="victim 0: 'svm_linear' is fitted"):
        train_victims(DATA, [Victim(Fit("svm_linear"), 0, probe=GradientProbe())])


def test_a_frozen_layer_has_no_gradients() -> None:
    def frozen(input_shape: tuple[int, ...], num_classes: int) -> Classifier:
        model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(5, 4)), nn.Linear(4, num_classes))
        model.head.requires_grad_(False)
        return model

    models.register("frozen_head", frozen)
    with pytest.raises(ValueError, match="the layer looked at is frozen"):
        train_victims(DATA, [replace(VICTIM, recipe=replace(RECIPE, model="frozen_head"))])

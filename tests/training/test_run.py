"""What a caller of ``train_victims`` may rely on."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.data import Dataset, Split
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import SGD, Adam, Progress, Recipe, Victim, train_stacks, train_victims
from tests.training.samples import SHAPERS, assert_results_equal, assert_states_equal, blobs, many_victims, random_rows

DATA = blobs()
PICTURES = blobs(shape=(1, 6, 6))
RECIPE = Recipe("lr", SGD(0.5), batch_size=8, epochs=2)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_permuting_the_victims_permutes_the_results(model: str) -> None:
    victims = many_victims(DATA, model, Adam(0.02))
    order = torch.randperm(len(victims), generator=torch.Generator().manual_seed(1)).tolist()
    straight = train_victims(DATA, victims, dtype=torch.float64)
    permuted = train_victims(DATA, [victims[index] for index in order], dtype=torch.float64)
    assert_results_equal(permuted, [straight[index] for index in order], tolerance=1e-12)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_little_memory_means_more_stacks_and_the_same_results(model: str) -> None:
    victims = many_victims(DATA, model, SGD(0.1, momentum=0.9))
    few = list(train_stacks(DATA, victims, dtype=torch.float64))
    many = list(train_stacks(DATA, victims, dtype=torch.float64, max_memory=1))
    assert len(few) < len(many) == len(victims)
    one = {index: result for members, results in few for index, result in zip(members, results, strict=True)}
    other = {index: result for members, results in many for index, result in zip(members, results, strict=True)}
    everyone = range(len(victims))
    assert_results_equal([one[k] for k in everyone], [other[k] for k in everyone], tolerance=1e-12)


@pytest.mark.parametrize("model", ["lr", "mlp"])
def test_in_float32_a_victim_does_not_depend_on_who_else_is_in_its_stack(model: str) -> None:
    data = blobs(rows=60, shape=(20,))
    recipe = Recipe(model, Adam(0.01), batch_size=20, epochs=3)
    private = random_rows(data, 8, seed=1)
    shapers = [SHAPERS[name] for name in ("vanilla", "clip", "noise", "clip-noise")]
    victims = [Victim(recipe.with_shaper(shaper), 3, private=private) for shaper in shapers]
    together = train_victims(data, victims)
    for victim, result in zip(victims, together, strict=True):
        [alone] = train_victims(data, [victim])
        assert_states_equal(result.last, alone.last, tolerance=1e-6)


@pytest.mark.parametrize("shaper", [Shaper(), Clip(0.5) | Noise(0.1)], ids=["vanilla", "dp"])
@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_a_victim_without_private_rows_is_none_beside_victims_with_some(model: str, shaper: Shaper) -> None:
    recipe = Recipe(model, Adam(0.02), batch_size=8, epochs=3, shaper=shaper)
    empty = random_rows(DATA, 0, seed=0)
    without = [Victim(recipe, 3, order_seed=7), Victim(recipe, 3, order_seed=7, private=empty)]
    poisoned = [Victim(recipe, seed, order_seed=7, private=random_rows(DATA, 1 + seed, seed=seed)) for seed in (0, 1)]
    assert len(list(train_stacks(DATA, [*poisoned, *without]))) == 1
    beside = train_victims(DATA, [*poisoned, *without], dtype=torch.float64)[2:]
    [alone] = train_victims(DATA, without[:1], dtype=torch.float64)
    assert_results_equal(beside, [alone, alone], tolerance=1e-12)


def test_results_come_in_the_callers_order_whatever_is_stacked() -> None:
    data = blobs(shape=(1, 4, 4))
    victims = [
        Victim(Recipe(model, SGD(0.1), batch_size=11, epochs=epochs), seed)
        for seed, (model, epochs) in enumerate([("cnn", 1), ("lr", 2), ("mlp1", 3), ("cnn", 4), ("lr", 5)])
    ]
    results = train_victims(data, victims)
    assert [len(result.accuracy) for result in results] == [1, 2, 3, 4, 5]
    names = [set(result.last or {}) for result in results]
    assert names[0] == names[3] != names[1] == names[4]


def test_no_victims_have_no_results() -> None:
    assert train_victims(DATA, []) == []


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn", "cnn_dropout"])
@pytest.mark.parametrize("shaper", [Shaper(), Clip(0.5) | Noise(0.1)], ids=["vanilla", "dp"])
def test_the_same_seed_gives_the_same_numbers(model: str, shaper: Shaper) -> None:
    victim = Victim(Recipe(model, SGD(0.1), batch_size=11, epochs=2, shaper=shaper), 3)
    one, other = train_victims(PICTURES, [victim]), train_victims(PICTURES, [victim])
    assert_results_equal(one, other, tolerance=0)


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn", "cnn_dropout"])
def test_other_seeds_give_other_parameters(model: str) -> None:
    recipe = Recipe(model, SGD(0.1), batch_size=11, epochs=1)
    one, other = train_victims(PICTURES, [Victim(recipe, 3), Victim(recipe, 4)])
    assert one.last is not None
    assert other.last is not None
    assert not torch.equal(one.last["head.weight"], other.last["head.weight"])


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn", "cnn_dropout"])
@pytest.mark.parametrize("shaper", [Shaper(), Clip(0.5) | Noise(0.1)], ids=["vanilla", "dp"])
def test_training_leaves_the_process_random_state_alone(model: str, shaper: Shaper) -> None:
    before = torch.get_rng_state()
    train_victims(PICTURES, [Victim(Recipe(model, SGD(0.1), batch_size=11, epochs=1, shaper=shaper), 3)])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shaper", [Shaper(), Shaper((Clip(0.5),))], ids=["vanilla", "clip"])
def test_dropout_is_drawn_from_the_victims_seed(shaper: Shaper) -> None:
    initial = {name: p.detach() for name, p in models.build("cnn_dropout", (1, 6, 6), 3).named_parameters()}
    recipe = Recipe("cnn_dropout", SGD(0.1), batch_size=11, epochs=1, shaper=shaper)
    victims = [Victim(recipe, seed, initial=initial, order_seed=0) for seed in (1, 2)]
    one, other = train_victims(PICTURES, victims)
    assert one.last is not None
    assert other.last is not None
    assert not torch.equal(one.last["head.weight"], other.last["head.weight"])


@pytest.mark.parametrize("model", ["cnn", "cnn_dropout"])
def test_a_convolutional_victim_does_not_depend_on_the_others(model: str) -> None:
    recipe = Recipe(model, SGD(0.1), batch_size=11, epochs=1)
    victims = [Victim(recipe, 1), Victim(recipe.with_shaper(Shaper((Clip(0.1),))), 2)]
    together = train_victims(PICTURES, victims)
    alone = [train_victims(PICTURES, [victim])[0] for victim in victims]
    assert_results_equal(together, alone, tolerance=0)


@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn"])
def test_training_learns(model: str) -> None:
    data = blobs(rows=60, shape=(1, 6, 6), spread=0.05)
    [result] = train_victims(data, [Victim(Recipe(model, Adam(0.01), batch_size=10, epochs=15), 1)])
    assert result.last_accuracy > 0.9


def test_best_is_the_state_after_the_first_epoch_with_the_best_accuracy() -> None:
    noisy = Recipe("lr", SGD(0.5), batch_size=8, epochs=8, shaper=Shaper((Noise(2.0),)))
    victims = [Victim(noisy, seed) for seed in range(6)]
    results = train_victims(DATA, victims, dtype=torch.float64)
    assert len({result.best_epoch for result in results}) > 1
    for victim, result in zip(victims, results, strict=True):
        assert result.best_accuracy == max(result.accuracy.tolist())
        assert result.accuracy.tolist().index(result.best_accuracy) == result.best_epoch - 1
        shorter = replace(victim, recipe=replace(noisy, epochs=result.best_epoch))
        [until_best] = train_victims(DATA, [shorter], dtype=torch.float64)
        assert_states_equal(result.best, until_best.last, tolerance=1e-12)


@pytest.mark.parametrize("model", ["lr", "cnn"])
def test_accuracy_and_predictions_are_those_of_the_last_state(model: str) -> None:
    victim = Victim(Recipe(model, SGD(0.1), batch_size=11, epochs=2), 1, watch=PICTURES.test.x)
    [result] = train_victims(PICTURES, [victim], dtype=torch.float64)
    network = models.build(model, (1, 6, 6), 3).double()
    network.load_state_dict(result.last or {})
    predicted = network(PICTURES.test.x.double()).argmax(1)
    assert result.last_accuracy == float((predicted == PICTURES.test.y).double().mean())
    assert result.predictions is not None
    assert torch.equal(result.predictions[-1], predicted)


@pytest.mark.parametrize("stacked", [True, False])
def test_states_are_kept_on_request_only(stacked: bool) -> None:
    [result] = train_victims(DATA, [Victim(RECIPE, 1)], keep_states=False, stacked=stacked)
    assert result.last is None
    assert result.best is None


@pytest.mark.parametrize("stacked", [True, False])
def test_retraining_starts_at_the_initial_state_and_leaves_it_alone(stacked: bool) -> None:
    initial = {"head.weight": torch.rand(3, 5), "head.bias": torch.rand(3)}
    before = {name: value.clone() for name, value in initial.items()}
    tiny = replace(RECIPE, optimizer=SGD(1e-12))
    [result] = train_victims(DATA, [Victim(tiny, 1, initial=initial)], stacked=stacked)
    assert_states_equal(result.last, initial, tolerance=1e-6)
    assert_states_equal(initial, before, tolerance=0)


@pytest.mark.parametrize("stacked", [True, False])
def test_training_twice_from_a_kept_state_continues_it(stacked: bool) -> None:
    whole = Victim(replace(RECIPE, batch_size=len(DATA.train)), 1)
    first = replace(whole, recipe=replace(whole.descent, epochs=1))
    [result] = train_victims(DATA, [whole], dtype=torch.float64, stacked=stacked)
    [half] = train_victims(DATA, [first], dtype=torch.float64, stacked=stacked)
    # With all rows in one batch the shuffle does not matter.
    [rest] = train_victims(DATA, [replace(first, initial=half.last)], stacked=stacked)
    assert_states_equal(rest.last, {k: v.float() for k, v in (result.last or {}).items()}, tolerance=1e-5)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_a_victim_that_diverges_is_told_and_leaves_the_others_alone(model: str, stacked: bool) -> None:
    recipe = Recipe(model, SGD(0.1), batch_size=8, epochs=2)
    built = models.build(model, DATA.input_shape, 3)
    broken = {name: torch.full_like(p, torch.inf) for name, p in built.named_parameters()}
    victims = [
        Victim(recipe.with_shaper(shaper), 1, initial=initial, watch=DATA.test.x[:4])
        for initial in (None, broken)
        for shaper in SHAPERS.values()
    ]
    results = train_victims(DATA, victims, stacked=stacked)
    healthy, sick = results[: len(SHAPERS)], results[len(SHAPERS) :]
    assert_results_equal(healthy, train_victims(DATA, victims[: len(SHAPERS)], stacked=stacked), tolerance=1e-6)
    assert all(result.diverged is None for result in healthy)
    for result in sick:
        assert result.diverged == 1
        assert result.accuracy.tolist() == [0, 0]
        assert result.predictions is not None
        assert (result.predictions == -1).all()


@pytest.mark.parametrize("stacked", [True, False])
def test_a_huge_learning_rate_diverges(stacked: bool) -> None:
    recipe = Recipe("mlp1", SGD(1e30), batch_size=8, epochs=2)
    [result] = train_victims(DATA, [Victim(recipe, 1)], stacked=stacked)
    assert result.diverged == 1
    assert result.last_accuracy == 0


@pytest.mark.parametrize("stacked", [True, False])
def test_divergence_names_the_first_epoch(stacked: bool) -> None:
    # One step of the noise stays far within float32; with this momentum, a few epochs of it do not.
    recipe = Recipe("lr", SGD(2e37, momentum=0.99), batch_size=22, epochs=8, shaper=Shaper((Noise(20.0),)))
    [result] = train_victims(DATA, [Victim(recipe, 1)], stacked=stacked)
    assert result.diverged is not None
    assert result.diverged > 1
    before = replace(recipe, epochs=result.diverged - 1)
    [healthy] = train_victims(DATA, [Victim(before, 1)], stacked=stacked)
    assert healthy.diverged is None


def _victim(
    private: tuple[Tensor, Tensor] | None = None,
    removed: Tensor | None = None,
    initial: Mapping[str, Tensor] | None = None,
    watch: Tensor | None = None,
) -> Victim:
    rows = None if private is None else Split(*private)
    return Victim(RECIPE, 1, private=rows, removed=removed, initial=initial, watch=watch)


LABELS = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        pytest.param(_victim(private=(torch.rand(2, 4), LABELS)), r"private rows have x \(2, 4\)", id="private-shape"),
        pytest.param(_victim(private=(torch.rand(3, 5), LABELS)), r"y \(2,\)", id="private-labels-count"),
        pytest.param(
            _victim(private=(torch.rand(2, 5), LABELS + 3)),
            r"label 3 lies outside",
            id="private-label-high",
        ),
        pytest.param(_victim(private=(torch.rand(2, 5), LABELS - 1)), r"label -1 lies outside", id="private-label-low"),
        pytest.param(_victim(removed=torch.tensor([0, 44])), r"id 44 lies outside \[0, 44\)", id="removed-high"),
        pytest.param(_victim(removed=torch.tensor([-1])), r"id -1 lies outside \[0, 44\)", id="removed-low"),
        pytest.param(
            _victim(removed=torch.tensor([0, 1, 1])),
            "id 1 is removed more than once",
            id="removed-twice",
        ),
        pytest.param(_victim(removed=torch.arange(44)), "no training rows", id="nothing-left"),
        pytest.param(_victim(watch=torch.rand(2, 4)), r"watched rows have shape \(2, 4\)", id="watch-shape"),
        pytest.param(
            _victim(initial={"head.weight": torch.rand(3, 5)}), "initial: the state has", id="initial-missing"
        ),
        pytest.param(
            _victim(initial={"head.weight": torch.rand(3, 4), "head.bias": torch.rand(3)}),
            "initial: the state has",
            id="initial-shape",
        ),
    ],
)
@pytest.mark.parametrize("stacked", [True, False])
def test_a_victim_that_does_not_fit_is_named_with_its_place(victim: Victim, message: str, stacked: bool) -> None:
    with pytest.raises(ValueError, match=f"victim 1: .*{message}"):
        train_victims(DATA, [Victim(RECIPE, 0), victim], stacked=stacked)


@pytest.mark.parametrize("memory", [0, -1, True, 1.5])
def test_memory_is_a_number_of_bytes(memory: int) -> None:
    with pytest.raises(ValueError, match=f"max_memory={memory!r}"):
        train_victims(DATA, [Victim(RECIPE, 0)], max_memory=memory)


@pytest.mark.parametrize("value", [0, -3, 2.0, True])
def test_a_recipe_needs_whole_positive_sizes(value: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size={value!r}"):
        replace(RECIPE, batch_size=value)
    with pytest.raises(ValueError, match=f"epochs={value!r}"):
        replace(RECIPE, epochs=value)


def test_recipes_compare_and_hash_by_value() -> None:
    same = Recipe("lr", SGD(0.5), batch_size=8, epochs=2, shaper=Shaper())
    assert same == RECIPE
    assert hash(same) == hash(RECIPE)
    assert RECIPE.with_shaper(Shaper((Clip(1),))) != RECIPE
    assert RECIPE.with_shaper(Shaper((Clip(1),))).with_shaper(Shaper()) == RECIPE


def _reports(data: Dataset, victims: list[Victim], *, stacked: bool) -> list[Progress]:
    reports: list[Progress] = []
    train_victims(data, victims, stacked=stacked, progress=reports.append)
    return reports


def test_progress_is_told_after_every_epoch_of_every_stack() -> None:
    victims = [Victim(RECIPE, seed, order_seed=7) for seed in range(3)] + [Victim(replace(RECIPE, epochs=4), 0)]
    reports = _reports(DATA, victims, stacked=True)
    assert [(r.epoch, r.epochs, r.victims, r.model) for r in reports] == [
        *((epoch, 2, 3, "lr") for epoch in (1, 2)),
        *((epoch, 4, 1, "lr") for epoch in (1, 2, 3, 4)),
    ]
    assert [r.work_done for r in reports] == [3, 6, 7, 8, 9, 10]
    assert {r.work for r in reports} == {10}


def test_progress_of_victims_trained_alone_counts_each() -> None:
    reports = _reports(DATA, [Victim(RECIPE, seed, order_seed=7) for seed in range(3)], stacked=False)
    assert [(r.epoch, r.victims, r.work_done) for r in reports] == [(1 + k % 2, 1, k + 1) for k in range(6)]


def test_dropout_draws_the_same_beside_a_thread_that_builds_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    builders = {**models._BUILDERS, "drawing": lambda shape, classes: nn.Sequential(nn.Linear(shape[0], classes))}
    monkeypatch.setattr(models, "_BUILDERS", builders)
    data = blobs(rows=20, shape=(1, 4, 4))
    victim = Victim(Recipe("cnn_dropout", SGD(0.1), batch_size=5, epochs=3), 0)
    [alone] = train_victims(data, [victim])
    done = threading.Event()

    def build() -> None:
        while not done.is_set():
            models.build("drawing", (6,), 3)

    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(build)
        [beside] = train_victims(data, [victim])
        done.set()
        building.result()
    assert_results_equal([beside], [alone], tolerance=0)

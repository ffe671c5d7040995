"""Victims of architectures beyond plain networks, trained together."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradshape import models
from gradshape.data import Dataset
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import SGD, Adam, Recipe, Sampling, Victim, stack_key, train_stacks, train_victims
from gradshape.training._architecture import architecture_of
from gradshape.training._vmapped.family import VmappedFamily
from gradshape.training._vmapped.stack import ModuleStack
from gradshape.training.plan import family_of
from gradshape.training.workload import Workload
from tests.training.architectures import ARCHITECTURES
from tests.training.samples import (
    ALL_SHAPERS,
    OPTIMIZERS,
    assert_results_equal,
    assert_states_equal,
    blobs,
    random_rows,
    train_by_hand,
)

DATA = blobs(rows=26, test=20, shape=(1, 4, 4), spread=0.4)
CLIPPED = Shaper((Clip(0.3),))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, builder in ARCHITECTURES.items():
        monkeypatch.setitem(models._BUILDERS, name, builder)


@pytest.fixture
def everything_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on devices where stacks always pay."""

    def takes(_: VmappedFamily, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        return architecture_of(dataset, victim).stacks

    monkeypatch.setattr(VmappedFamily, "takes", takes)


each_model = pytest.mark.parametrize("model", ARCHITECTURES)
each_order = pytest.mark.parametrize("own_rows", [True, False], ids=["own-rows", "common-rows"])


def victims_of(
    model: str, *, own_rows: bool, shapers: Mapping[str, Shaper] = ALL_SHAPERS, epochs: int = 2
) -> list[Victim]:
    """One a shaper, in one stack; most watch a few rows."""
    recipe = Recipe(model, Adam(0.02), batch_size=6, epochs=epochs)
    return [
        Victim(
            recipe.with_shaper(shaper),
            seed=k if own_rows else 1,
            private=random_rows(DATA, k % 4, seed=k) if own_rows else random_rows(DATA, 2, seed=0),
            removed=torch.tensor([3, 20]),
            order_seed=5 if own_rows else None,
            watch=None if k == 2 else random_rows(DATA, 1 + k % 2, seed=50 + k).x,
        )
        for k, shaper in enumerate(shapers.values())
    ]


@pytest.mark.usefixtures("everything_stacks")
@each_model
@each_order
def test_a_stack_equals_training_one_by_one_under_every_shaper(model: str, own_rows: bool) -> None:
    victims = victims_of(model, own_rows=own_rows)
    assert len(list(train_stacks(DATA, victims))) == 1
    stacked = train_victims(DATA, victims, dtype=torch.float64)
    alone = train_victims(DATA, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-9)


@pytest.mark.usefixtures("everything_stacks")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stack_equals_a_loop_written_by_hand(optimizer: str) -> None:
    recipe = Recipe("cnn", OPTIMIZERS[optimizer], batch_size=6, epochs=2)
    shapers = [ALL_SHAPERS[name] for name in ("clip-noise", "layers", "adaptive", "median")]
    victims = [Victim(recipe.with_shaper(shaper), k, order_seed=1) for k, shaper in enumerate(shapers)]
    for victim, result in zip(victims, train_victims(DATA, victims, dtype=torch.float64), strict=True):
        state, accuracies = train_by_hand(DATA, victim)
        assert_states_equal(result.last, state, tolerance=1e-9)
        assert result.accuracy.tolist() == accuracies


@pytest.mark.usefixtures("everything_stacks")
@pytest.mark.parametrize("batch_size", [1, 6])
@pytest.mark.parametrize("model", ["cnn", "transformer"])
def test_poisson_batches_may_be_empty(model: str, batch_size: int) -> None:
    plain = Recipe(model, SGD(0.01, momentum=0.5), batch_size=batch_size, epochs=2, sampling=Sampling.POISSON)
    private = random_rows(DATA, 3, seed=1)
    # The median of few norms may be 0, and so may what it is divided by.
    shapers = [shaper for name, shaper in ALL_SHAPERS.items() if "median" not in name]
    victims = [Victim(plain.with_shaper(shaper), 3, private=private) for shaper in shapers]
    assert len(list(train_stacks(DATA, victims))) == 1
    stacked = train_victims(DATA, victims, dtype=torch.float64)
    alone = train_victims(DATA, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-9)


@pytest.mark.usefixtures("everything_stacks")
def test_parameters_that_are_not_trained_stay_each_victims_own() -> None:
    def initial(factor: float) -> dict[str, torch.Tensor]:
        built = models.build("normalised", DATA.input_shape, DATA.num_classes)
        return {name: p.detach() * factor for name, p in built.named_parameters()}

    recipe = Recipe("normalised", SGD(0.1), batch_size=6, epochs=2, shaper=CLIPPED)
    victims = [Victim(recipe, 1, initial=initial(factor)) for factor in (1.0, 0.5)]
    stacked = train_victims(DATA, victims, dtype=torch.float64)
    assert_results_equal(stacked, train_victims(DATA, victims, dtype=torch.float64, stacked=False), tolerance=1e-9)
    for victim, result in zip(victims, stacked, strict=True):
        assert result.last is not None
        assert victim.initial is not None
        assert torch.equal(result.last["body.3.weight"], victim.initial["body.3.weight"].double())


@pytest.mark.usefixtures("everything_stacks")
@each_model
@each_order
@pytest.mark.parametrize("count", [2, 3, 5])
def test_in_single_precision_no_bit_depends_on_the_company(model: str, own_rows: bool, count: int) -> None:
    names = ["clip-noise", "vanilla", "layers", "adaptive", "quantile"]
    victims = victims_of(model, own_rows=own_rows, shapers={name: ALL_SHAPERS[name] for name in names[:count]})
    together = train_victims(DATA, victims)
    alone = [train_victims(DATA, [victim])[0] for victim in victims]
    assert_results_equal(together, alone, tolerance=0)


@pytest.mark.usefixtures("everything_stacks")
@given(data=st.data())
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bit_depends_on_how_victims_are_divided_into_stacks(data: st.DataObject) -> None:
    victims = victims_of("cnn", own_rows=True, epochs=1)
    order = data.draw(st.permutations(range(len(victims))))
    most = data.draw(st.integers(1, len(victims)))
    mine = [victims[k] for k in order]
    work = Workload(DATA, mine)
    needs = family_of(DATA, mine[0], work.device).needs(work, mine)
    budget = needs.common + most * needs.per_victim
    whole = train_victims(DATA, victims)
    divided = train_victims(DATA, mine, max_memory=budget)
    assert_results_equal(divided, [whole[k] for k in order], tolerance=0)


@pytest.mark.usefixtures("everything_stacks")
@each_model
@each_order
def test_victims_that_are_done_leave_the_others_bits_alone(model: str, own_rows: bool) -> None:
    names = ["clip-noise", "three-noises", "clip", "clip-adaptive", "quantile", "layers-clip"]
    plain = victims_of(model, own_rows=own_rows, epochs=4, shapers={name: ALL_SHAPERS[name] for name in names})
    whole = train_victims(DATA, plain)
    wanting = []
    for k, (victim, result) in enumerate(zip(plain, whole, strict=True)):
        intended = None if k % 2 or result.predictions is None else result.predictions[k % 3]
        wanting.append(replace(victim, intended=intended))
    assert len(list(train_stacks(DATA, wanting))) == 1
    some = train_victims(DATA, wanting)
    assert any(len(result.accuracy) < 4 for result in some)
    for victim, long, short in zip(wanting, whole, some, strict=True):
        epochs = len(short.accuracy)
        assert victim.intended is not None or epochs == 4
        assert torch.equal(short.accuracy, long.accuracy[:epochs])
        if epochs == 4:
            assert_results_equal([short], [long], tolerance=0)
        else:
            shorter = replace(victim, intended=None, recipe=replace(victim.descent, epochs=epochs))
            assert_results_equal([short], train_victims(DATA, [shorter]), tolerance=0)


def _key(
    shape: tuple[int, ...] = (1, 8, 8),
    *,
    device: str = "cpu",
    batch_size: int = 50,
    model: str = "cnn",
    shaper: Shaper = CLIPPED,
) -> object:
    data = blobs(rows=120, shape=shape)
    return stack_key(
        data, Victim(Recipe(model, SGD(0.1), batch_size=batch_size, epochs=1, shaper=shaper), 0), device=device
    )


@pytest.mark.parametrize(
    ("key", "stacks"),
    [
        pytest.param(lambda: _key(), True, id="small-step"),
        pytest.param(lambda: _key(batch_size=100), False, id="large-batch"),
        pytest.param(lambda: _key((1, 28, 28)), False, id="large-pictures"),
        pytest.param(lambda: _key((1, 28, 28), device="cuda"), True, id="large-pictures-on-a-gpu"),
        pytest.param(lambda: _key(shaper=Shaper()), False, id="vanilla"),
        pytest.param(lambda: _key(shaper=Shaper((Noise(0.1),))), False, id="noise"),
        pytest.param(lambda: _key(shaper=Shaper(), device="cuda"), True, id="vanilla-on-a-gpu"),
        pytest.param(lambda: _key(model="cnn_dropout"), False, id="random-numbers"),
        pytest.param(lambda: _key(model="cnn_dropout", device="cuda"), False, id="random-numbers-on-a-gpu"),
        pytest.param(lambda: _key(model="mlp1", batch_size=120), True, id="dense"),
    ],
)
def test_what_stacks_depends_on_the_victim_and_the_device(key: object, stacks: bool) -> None:
    assert callable(key)
    assert (key() is not None) is stacks


def test_small_steps_are_stacked_by_themselves() -> None:
    recipe = Recipe("cnn", SGD(0.1), batch_size=6, epochs=1, shaper=CLIPPED)
    victims = [Victim(recipe, 1), Victim(recipe.with_shaper(Clip(0.5) | Noise(0.1)), 1), Victim(recipe, 2)]
    assert sorted(members for members, _ in train_stacks(DATA, victims)) == [(0, 1), (2,)]


def test_a_model_that_cannot_be_stacked_after_all_is_told() -> None:
    victims = [Victim(Recipe("cnn_dropout", SGD(0.1), batch_size=6, epochs=1), 1)]
    with pytest.raises(ValueError, match="stacked=False"):
        ModuleStack(victims, Workload(DATA, victims).initial_model, DATA.train.x[:2], dtype=torch.float32)

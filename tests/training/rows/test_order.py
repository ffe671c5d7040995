"""Which rows each step sees."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from gradshape.training import SGD, Recipe, Sampling, Victim, stack_key, steps_per_epoch, train_stacks, train_victims
from gradshape.training._rows.order import BatchIds, CommonRows, OwnRows, PoissonRows
from gradshape.training._rows.table import RowTable
from gradshape.training.workload import initial_model
from tests.training.samples import SHAPERS, assert_results_equal, assert_states_equal, blobs, random_rows


def _common(
    rows: int, private: int, batch_size: int, *, seed: int = 0, shuffle_seed: int = 0, kept: torch.Tensor | None = None
) -> CommonRows:
    kept = torch.arange(rows) if kept is None else kept
    return CommonRows(kept, torch.arange(rows, rows + private), rows, shuffle_seed, seed, batch_size)


def _batches(order: CommonRows, epoch: int = 0) -> list[list[int]]:
    return [step.shared.tolist() for step in order.epoch(epoch)]


def _sequence(order: CommonRows, epoch: int = 0) -> list[int]:
    return [row for batch in _batches(order, epoch) for row in batch]


def _rows_of(step: BatchIds, victim: int) -> list[int]:
    ids = step.shared
    if step.private is not None:
        ids = torch.cat([ids, step.private[victim]])
    return sorted((ids if step.member is None else ids[step.member[victim]]).tolist())


sizes = st.integers(0, 20)


@given(rows=sizes, private=sizes, batch_size=st.integers(1, 25), epoch=st.integers(0, 5))
def test_an_epoch_has_each_row_once_less_a_remainder_smaller_than_a_batch(
    rows: int, private: int, batch_size: int, epoch: int
) -> None:
    assume(rows + private > 0)
    seen = _sequence(_common(rows, private, batch_size), epoch)
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(rows + private))
    assert 0 <= rows + private - len(seen) < batch_size


@given(rows=sizes, private=sizes, batch_size=st.integers(1, 25))
def test_every_batch_has_batch_size_rows_or_all_there_are(rows: int, private: int, batch_size: int) -> None:
    assume(rows + private > 0)
    order = _common(rows, private, batch_size)
    batches = _batches(order)
    assert {len(batch) for batch in batches} == {min(batch_size, rows + private)} == {order.rows_per_step}
    assert len(batches) == steps_per_epoch(rows + private, batch_size)


def test_every_epoch_is_shuffled_anew_and_the_same_again_when_repeated() -> None:
    order = _common(30, 2, 8)
    assert _sequence(order, 0) != _sequence(order, 1)
    assert _sequence(order, 1) == _sequence(order, 1)


def test_another_shuffle_seed_gives_another_order() -> None:
    assert _sequence(_common(30, 0, 30, shuffle_seed=1)) != _sequence(_common(30, 0, 30, shuffle_seed=2))


@given(rows=sizes, private=sizes, seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_private_rows_leave_the_order_of_the_train_rows_alone(rows: int, private: int, seed: int, epoch: int) -> None:
    assume(rows > 0)
    mixed = _sequence(_common(rows, private, rows + private, seed=seed), epoch)
    assert [row for row in mixed if row < rows] == _sequence(_common(rows, 0, rows), epoch)


@given(rows=st.integers(1, 20), data=st.data())
def test_removed_rows_leave_the_order_of_the_others_alone(rows: int, data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.integers(0, rows - 1), min_size=1).map(sorted))
    left = _sequence(_common(rows, 0, rows, kept=torch.tensor(kept)))
    assert left == [row for row in _sequence(_common(rows, 0, rows)) if row in kept]


def test_the_place_of_a_private_row_is_uniform() -> None:
    rows, epochs = 9, 3000
    order = _common(rows, 1, rows + 1, seed=4)
    places = [_sequence(order, epoch).index(rows) for epoch in range(epochs)]
    observed = torch.bincount(torch.tensor(places), minlength=rows + 1)
    assert stats.chisquare(observed.numpy()).pvalue > 1e-3


def test_the_place_of_a_train_row_is_uniform() -> None:
    rows, epochs = 10, 3000
    order = _common(rows, 0, rows)
    places = [_sequence(order, epoch).index(0) for epoch in range(epochs)]
    assert stats.chisquare(torch.bincount(torch.tensor(places), minlength=rows).numpy()).pvalue > 1e-3


def test_private_rows_of_victims_with_other_seeds_have_other_places() -> None:
    places = {_sequence(_common(200, 1, 201, seed=seed)).index(200) for seed in range(5)}
    assert len(places) > 1


@given(
    rows=st.integers(0, 14),
    removed=st.sets(st.integers(0, 13)),
    batch_size=st.integers(1, 18),
    counts=st.lists(st.integers(0, 18), min_size=2, max_size=5),
    epoch=st.integers(0, 2),
)
def test_a_victims_batches_are_the_same_in_a_stack_of_windows_as_alone(
    rows: int, removed: set[int], batch_size: int, counts: list[int], epoch: int
) -> None:
    kept = torch.tensor([row for row in range(rows) if row not in removed], dtype=torch.int64)

    def schedule(private: int) -> tuple[int, int]:
        total = len(kept) + private
        return steps_per_epoch(total, batch_size), min(batch_size, total)

    counts = [n for n in counts if n <= batch_size and schedule(n) == schedule(counts[0])]
    assume(counts and len(kept) + counts[0] > 0)
    private, first = [], rows
    for count in counts:
        private.append(torch.arange(first, first + count))
        first += count
    seeds = [100 + k for k in range(len(counts))]
    steps = list(OwnRows(kept, private, seeds, rows, 7, batch_size).epoch(epoch))
    for k, (own, seed) in enumerate(zip(private, seeds, strict=True)):
        alone = CommonRows(kept, own, rows, 7, seed, batch_size)
        assert [_rows_of(step, k) for step in steps] == [sorted(batch) for batch in _batches(alone, epoch)]


def test_windows_of_victims_with_few_rows_share_nearly_all_of_a_batch() -> None:
    order = OwnRows(torch.arange(100), [torch.tensor([100]), torch.tensor([101])], [1, 2], 100, 7, 10)
    for step in order.epoch(0):
        assert 9 <= len(step.shared) <= 11


DATA = blobs(rows=40)
RECIPE = Recipe("lr", SGD(0.1), batch_size=8, epochs=1)


def _victim(
    seed: int,
    private: int,
    order_seed: int | None,
    model: str = "lr",
    removed: tuple[int, ...] = (),
    sampling: Sampling = Sampling.SHUFFLE,
) -> Victim:
    recipe = Recipe(model, SGD(0.1), batch_size=8, epochs=1, sampling=sampling)
    ids = torch.tensor(removed, dtype=torch.int64)
    return Victim(recipe, seed, private=random_rows(DATA, private, seed=seed), order_seed=order_seed, removed=ids)


def test_victims_with_a_common_shuffle_and_few_private_rows_share_a_stack() -> None:
    assert stack_key(DATA, _victim(1, 1, 7)) == stack_key(DATA, _victim(2, 3, 7))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_victim(2, 1, 8), id="shuffle"),
        pytest.param(_victim(2, 1, None), id="no-common-shuffle"),
        pytest.param(_victim(2, 1, 7, model="mlp1"), id="model"),
        pytest.param(_victim(2, 1, 7, removed=(0,)), id="train-rows"),
        pytest.param(_victim(2, 8, 7), id="steps-an-epoch"),
        pytest.param(_victim(2, 9, 7), id="many-private-rows"),
        pytest.param(_victim(1, 1, 7, sampling=Sampling.POISSON), id="sampling"),
    ],
)
def test_victims_of_another_schedule_do_not_share_a_stack(other: Victim) -> None:
    assert stack_key(DATA, _victim(1, 1, 7)) != stack_key(DATA, other)


def test_the_order_of_the_removed_ids_does_not_matter() -> None:
    assert stack_key(DATA, _victim(1, 1, 7, removed=(2, 5))) == stack_key(DATA, _victim(1, 1, 7, removed=(5, 2)))


def test_a_model_that_cannot_be_stacked_is_trained_alone() -> None:
    pictures = blobs(shape=(1, 4, 4))
    assert stack_key(pictures, Victim(Recipe("cnn", SGD(0.1), batch_size=8, epochs=1), 0)) is None


def test_equal_private_rows_are_held_once() -> None:
    victims = [_victim(1, 3, 7), _victim(1, 3, 7), _victim(2, 2, 7), _victim(3, 0, 7)]
    table = RowTable.of(DATA, victims)
    assert len(table.x) == len(table.y) == 40 + 3 + 2
    assert [ids.tolist() for ids in table.private] == [[40, 41, 42], [40, 41, 42], [43, 44], []]


def test_victims_with_the_same_rows_take_one_common_order() -> None:
    victims = [_victim(1, 3, 7), _victim(1, 3, 7), _victim(2, 3, 7)]
    table = RowTable.of(DATA, victims)
    assert isinstance(table.common_order([0, 1]), CommonRows)
    assert isinstance(table.common_order([0, 2]), OwnRows)


def _poisson(rows: int, private: int, batch_size: int, *, seed: int = 0, shuffle_seed: int = 0) -> PoissonRows:
    return PoissonRows(torch.arange(rows), torch.arange(rows, rows + private), rows, shuffle_seed, seed, batch_size)


def _inclusions(order: PoissonRows, epochs: int) -> torch.Tensor:
    """``(steps, rows)`` bool: which rows enter which step."""
    steps = [step for epoch in range(epochs) for step in order.epoch(epoch)]
    entered = torch.zeros(len(steps), len(order.kept) + len(order.private), dtype=torch.bool)
    for place, step in enumerate(steps):
        entered[place, step.shared] = True
    return entered


@given(rows=sizes, private=sizes, batch_size=st.integers(1, 25), epoch=st.integers(0, 5))
def test_poisson_batches_are_distinct_rows_in_as_many_steps(
    rows: int, private: int, batch_size: int, epoch: int
) -> None:
    assume(rows + private > 0)
    order = _poisson(rows, private, batch_size)
    batches = _batches(order, epoch)
    assert order.rows_per_step == min(batch_size, rows + private)
    assert len(batches) == steps_per_epoch(rows + private, batch_size)
    assert all(len(batch) == len(set(batch)) and set(batch) <= set(range(rows + private)) for batch in batches)
    assert batches == _batches(order, epoch)


def test_every_row_enters_a_poisson_batch_at_the_same_rate() -> None:
    entered = _inclusions(_poisson(16, 4, 5), 2000)
    counts = entered.sum(0).numpy()
    expected = 0.25 * len(entered)
    assert (
        stats.chisquare([*counts, entered.numel() - counts.sum()], [*[expected] * 20, 15 * len(entered)]).pvalue > 1e-3
    )


def test_poisson_batches_have_the_sizes_of_a_binomial() -> None:
    sizes_seen = _inclusions(_poisson(9, 3, 3), 3000).sum(1)
    observed = torch.bincount(sizes_seen, minlength=13).double().numpy()
    expected = np.array([stats.binom.pmf(size, 12, 0.25) for size in range(13)]) * len(sizes_seen)
    tail = expected < 5
    seen, due = ([*counts[~tail].tolist(), float(counts[tail].sum())] for counts in (observed, expected))
    assert stats.chisquare(seen, due).pvalue > 1e-3
    assert observed[0] > 0


@pytest.mark.parametrize("pair", [(0, 1), (0, 11), (10, 11)], ids=["train", "train-private", "private"])
@pytest.mark.parametrize("lag", [0, 1])
def test_poisson_inclusions_are_independent_of_each_other_and_across_steps(pair: tuple[int, int], lag: int) -> None:
    entered = _inclusions(_poisson(10, 2, 4), 2000)
    one, other = entered[: len(entered) - lag, pair[0]], entered[lag:, pair[1]]
    table = [[int((one == a).logical_and(other == b).sum()) for b in (True, False)] for a in (True, False)]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_a_poisson_batch_as_large_as_the_data_is_all_of_it() -> None:
    assert _batches(_poisson(5, 2, 7)) == _batches(_poisson(5, 2, 100)) == [list(range(7))]


def test_poisson_seeds_of_train_and_private_rows_are_their_own() -> None:
    def parts(order: PoissonRows) -> tuple[list[list[int]], list[list[int]]]:
        batches = _batches(order)
        return [[row for row in b if row < 60] for b in batches], [[row for row in b if row >= 60] for b in batches]

    train, private = parts(_poisson(60, 40, 10, seed=1, shuffle_seed=2))
    other_train, other_private = parts(_poisson(60, 40, 10, seed=3, shuffle_seed=2))
    assert train == other_train
    assert private != other_private
    assert parts(_poisson(60, 40, 10, seed=1, shuffle_seed=4))[0] != train
    assert parts(_poisson(60, 40, 10, seed=1, shuffle_seed=4))[1] == private


def test_poisson_victims_share_a_stack_only_with_the_same_rows_and_seeds() -> None:
    def key(seed: int, private: int, order_seed: int | None = 7) -> object:
        return stack_key(DATA, _victim(seed, private, order_seed, sampling=Sampling.POISSON))

    assert key(1, 3) == key(1, 3)
    assert key(1, 0) == key(2, 0)
    assert key(1, 3) != key(2, 3)
    assert key(1, 3) != key(1, 2)
    assert key(1, 0, None) != key(2, 0, None)


def test_poisson_victims_take_a_poisson_order() -> None:
    victims = [_victim(1, 3, None, sampling=Sampling.POISSON)]
    assert isinstance(RowTable.of(DATA, victims).common_order([0]), PoissonRows)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_poisson_steps_divide_the_sum_by_the_expected_size(stacked: bool, batch_size: int) -> None:
    # With batches of one row on average, many are empty.
    recipe = Recipe("lr", SGD(0.2), batch_size=batch_size, epochs=2, sampling=Sampling.POISSON)
    victim = Victim(recipe, 3, private=random_rows(DATA, 3, seed=1))
    [result] = train_victims(DATA, [victim], dtype=torch.float64, stacked=stacked)
    x = torch.cat([DATA.train.x, random_rows(DATA, 3, seed=1).x]).double()
    y = torch.cat([DATA.train.y, random_rows(DATA, 3, seed=1).y])
    model = initial_model(DATA, victim).double()
    batches = [
        step.shared for epoch in range(2) for step in _poisson(40, 3, batch_size, seed=3, shuffle_seed=3).epoch(epoch)
    ]
    assert (min(map(len, batches)) == 0) == (batch_size == 1)
    for rows in batches:
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows], reduction="sum") / batch_size
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.data -= 0.2 * gradient
    assert_states_equal(result.last, dict(model.named_parameters()), tolerance=1e-12)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_poisson_stack_equals_training_one_by_one(model: str, batch_size: int) -> None:
    plain = Recipe(model, SGD(0.2, momentum=0.5), batch_size=batch_size, epochs=2, sampling=Sampling.POISSON)
    private = random_rows(DATA, 3, seed=1)
    shaped = [plain.with_shaper(shaper) for shaper in SHAPERS.values()]
    victims = [Victim(recipe, seed, private=private) for recipe in shaped for seed in (3, 4)]
    stacked = train_victims(DATA, victims, dtype=torch.float64)
    alone = train_victims(DATA, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-10)
    assert sorted(len(members) for members, _ in train_stacks(DATA, victims)) == [len(SHAPERS)] * 2

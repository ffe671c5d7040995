"""Which rows each step sees."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from gradshape.training import SGD, Recipe, Victim, stack_key
from gradshape.training.order import CommonRows, OwnRows, Step, steps_per_epoch
from gradshape.training.plan import Table, row_order
from tests.training.samples import blobs, random_rows


def _common(
    rows: int, private: int, batch_size: int, *, seed: int = 0, shuffle_seed: int = 0, kept: torch.Tensor | None = None
) -> CommonRows:
    kept = torch.arange(rows) if kept is None else kept
    return CommonRows(kept, torch.arange(rows, rows + private), rows, shuffle_seed, seed, batch_size)


def _batches(order: CommonRows, epoch: int = 0) -> list[list[int]]:
    return [step.shared.tolist() for step in order.epoch(epoch)]


def _sequence(order: CommonRows, epoch: int = 0) -> list[int]:
    return [row for batch in _batches(order, epoch) for row in batch]


def _rows_of(step: Step, victim: int) -> list[int]:
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
    seed: int, private: int, order_seed: int | None, model: str = "lr", removed: tuple[int, ...] = ()
) -> Victim:
    recipe = Recipe(model, SGD(0.1), batch_size=8, epochs=1)
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
    table = Table.of(DATA, victims)
    assert len(table.x) == len(table.y) == 40 + 3 + 2
    assert [ids.tolist() for ids in table.private] == [[40, 41, 42], [40, 41, 42], [43, 44], []]


def test_victims_with_the_same_rows_take_one_common_order() -> None:
    victims = [_victim(1, 3, 7), _victim(1, 3, 7), _victim(2, 3, 7)]
    table = Table.of(DATA, victims)
    assert isinstance(row_order(DATA, victims, [0, 1], table), CommonRows)
    assert isinstance(row_order(DATA, victims, [0, 2], table), OwnRows)

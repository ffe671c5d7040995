"""Training that ends when the watched rows are predicted as intended."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from gradshape.shaping import Shaper
from gradshape.training import SGD, Adam, Progress, Recipe, Victim, train_stacks, train_victims
from tests.training.samples import ALL_SHAPERS, assert_results_equal, assert_states_equal, blobs, random_rows

DATA = blobs(spread=0.4)
EPOCHS = 6
MODELS = ["lr", "mlp1"]


def _victims(model: str, *, own_rows: bool) -> list[Victim]:
    """One a shaper, in one stack; each watches a few rows."""
    recipe = Recipe(model, Adam(0.03), batch_size=8, epochs=EPOCHS)
    return [
        Victim(
            recipe.with_shaper(shaper),
            k,
            private=random_rows(DATA, 1 + k % 3, seed=k) if own_rows else None,
            order_seed=5,
            watch=random_rows(DATA, 1 + k % 2, seed=50 + k).x,
        )
        for k, shaper in enumerate(ALL_SHAPERS.values())
    ]


def _with_intended(victims: list[Victim], *, dtype: torch.dtype) -> list[Victim]:
    """Every other one wants what it once predicts, in various epochs."""
    results = train_victims(DATA, victims, dtype=dtype)
    stopping = []
    for k, (victim, result) in enumerate(zip(victims, results, strict=True)):
        assert result.predictions is not None
        stopping.append(victim if k % 2 else replace(victim, intended=result.predictions[k % EPOCHS]))
    return stopping


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_training_ends_with_the_first_epoch_that_has_what_is_intended(model: str, stacked: bool) -> None:
    plain = _victims(model, own_rows=True)
    stopping = _with_intended(plain, dtype=torch.float64)
    whole = train_victims(DATA, plain, dtype=torch.float64)
    lengths = []
    for victim, long, short in zip(
        stopping, whole, train_victims(DATA, stopping, dtype=torch.float64, stacked=stacked), strict=True
    ):
        assert long.predictions is not None
        assert short.predictions is not None
        epochs = EPOCHS
        if victim.intended is not None:
            epochs = 1 + int((long.predictions == victim.intended).all(1).nonzero()[0])
        assert len(short.accuracy) == len(short.predictions) == epochs
        assert torch.equal(short.accuracy, long.accuracy[:epochs])
        assert torch.equal(short.predictions, long.predictions[:epochs])
        lengths.append(epochs)
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("own_rows", [True, False], ids=["own-rows", "common-rows"])
@pytest.mark.parametrize("model", MODELS)
def test_victims_that_are_done_leave_the_others_bits_alone(model: str, own_rows: bool) -> None:
    plain = _victims(model, own_rows=own_rows)
    stopping = _with_intended(plain, dtype=torch.float32)
    assert len(list(train_stacks(DATA, stopping))) == 1
    whole, some = train_victims(DATA, plain), train_victims(DATA, stopping)
    assert len({len(result.accuracy) for result in some}) > 2
    stayed = [k for k, victim in enumerate(stopping) if victim.intended is None]
    assert_results_equal([some[k] for k in stayed], [whole[k] for k in stayed], tolerance=0)


@pytest.mark.parametrize("stacked", [True, False])
def test_the_states_of_a_victim_that_is_done_are_those_of_its_epochs(stacked: bool) -> None:
    stopping = _with_intended(_victims("mlp1", own_rows=True), dtype=torch.float64)
    results = train_victims(DATA, stopping, dtype=torch.float64, stacked=stacked)
    for victim, result in zip(stopping, results, strict=True):
        shorter = replace(victim, intended=None, recipe=replace(victim.descent, epochs=len(result.accuracy)))
        [expected] = train_victims(DATA, [shorter], dtype=torch.float64, stacked=stacked)
        assert_results_equal([result], [expected], tolerance=1e-9)


def test_what_is_never_predicted_is_trained_for_to_the_end() -> None:
    [plain] = train_victims(DATA, [_victims("lr", own_rows=False)[0]])
    assert plain.predictions is not None
    missing = (set(range(3)) - set(plain.predictions.flatten().tolist())).pop()
    victim = replace(_victims("lr", own_rows=False)[0], intended=torch.tensor([missing]))
    [result] = train_victims(DATA, [victim])
    assert len(result.accuracy) == EPOCHS


def test_a_victim_that_diverges_never_has_what_is_intended() -> None:
    recipe = Recipe("mlp1", SGD(1e30), batch_size=8, epochs=3)
    victims = [Victim(recipe, 1, watch=DATA.test.x[:2], intended=torch.tensor([k, k])) for k in range(3)]
    for result in train_victims(DATA, victims):
        assert len(result.accuracy) == 3
        assert result.diverged == 1


def test_epochs_that_are_not_needed_count_as_done() -> None:
    stopping = _with_intended(_victims("lr", own_rows=False), dtype=torch.float32)
    for stacked in (True, False):
        reports: list[Progress] = []
        results = train_victims(DATA, stopping, stacked=stacked, progress=reports.append)
        assert reports[-1].work_done == reports[-1].work == EPOCHS * len(stopping)
        assert all(one.work_done < other.work_done for one, other in pairwise(reports))
        assert sum(report.victims for report in reports) == sum(len(result.accuracy) for result in results)


WATCHED = Victim(Recipe("lr", SGD(0.1), batch_size=8, epochs=1, shaper=Shaper()), 1, watch=DATA.test.x[:2])


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        (replace(WATCHED, watch=None, intended=torch.tensor([0])), "those of watched rows"),
        (replace(WATCHED, watch=DATA.test.x[:0], intended=torch.empty(0, dtype=torch.int64)), "those of watched rows"),
        (replace(WATCHED, intended=torch.tensor([0])), r"shape \(1,\).*expected \(2,\) int64"),
        (replace(WATCHED, intended=torch.tensor([0.0, 1.0])), r"dtype torch.float32: expected \(2,\) int64"),
        (replace(WATCHED, intended=torch.tensor([0, 3])), r"an intended class 3 lies outside \[0, 3\)"),
        (replace(WATCHED, intended=torch.tensor([-1, 0])), r"an intended class -1 lies outside \[0, 3\)"),
    ],
    ids=["nothing-watched", "no-rows-watched", "count", "dtype", "high", "low"],
)
def test_intended_classes_have_to_fit(victim: Victim, message: str) -> None:
    with pytest.raises(ValueError, match=f"victim 0: .*{message}"):
        train_victims(DATA, [victim])


def test_best_states_survive_that_others_leave() -> None:
    stopping = _with_intended(_victims("lr", own_rows=False), dtype=torch.float32)
    plain = train_victims(DATA, [replace(victim, intended=None) for victim in stopping])
    for victim, one, other in zip(stopping, train_victims(DATA, stopping), plain, strict=True):
        if victim.intended is None:
            assert_states_equal(one.best, other.best, tolerance=0)

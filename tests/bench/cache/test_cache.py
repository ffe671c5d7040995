import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from gradshape.attacks import Aims, PoisonSet
from gradshape.training import Layers, OptimizerState, SubsetGradients, TrainingResult
from gradshape_bench.cache import Cache, Fault
from gradshape_bench.jobs import Finished

KEY = "ab" * 32

POISON = PoisonSet(
    torch.tensor([[0.25, 1.0], [0.0, 1 / 3]]),
    torch.tensor([1, 0]),
    source=torch.tensor([5, -1]),
    replaced=torch.tensor([7]),
)
TRAINED = TrainingResult(
    accuracy=torch.tensor([0.5, 1 / 3], dtype=torch.float64),
    predictions=torch.tensor([[0, -1, 1], [1, 1, 1]]),
    last={"head.weight": torch.tensor([[0.1, -2.0]]), "head.bias": torch.tensor([float("nan")])},
    best={"head.weight": torch.tensor([[0.2, 2.0]]), "head.bias": torch.tensor([0.0])},
    diverged=2,
)
BARE = TrainingResult(torch.tensor([0.5], dtype=torch.float64))
MASK = torch.tensor([True, False, True])
PROBED = SubsetGradients(
    Layers.ALL,
    ("body.1.weight", "head.weight"),
    raw=torch.rand(3, 2, 2, 4, 4, dtype=torch.float64),
    shaped=torch.full((3, 2, 2, 4, 4), torch.nan, dtype=torch.float64),
    norms=torch.rand(3, 4, dtype=torch.float64),
    shaped_norms=torch.rand(3, 4, dtype=torch.float64),
    rows=torch.tensor([[1, 2, 3, 4]]),
    batches=torch.tensor([[4, 3, 2, 1]]),
    accuracy=torch.rand(3, 4, dtype=torch.float64),
)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "jobs")


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.nan_to_num(-9), b.nan_to_num(-9))


def kept(cache: Cache, result: Any) -> Any:
    """``result`` as a later process gets it."""
    cache.put(KEY, Finished(result, 1.5))
    found = Cache(cache.folder).get(KEY)
    assert found is not None
    return found.result


@pytest.mark.parametrize(
    "poison",
    [
        POISON,
        replace(POISON, notes={"certified_bound": 0.25}),
        PoisonSet.added(torch.empty(0, 3, 8, 8), torch.empty(0, dtype=torch.int64)),
    ],
)
def test_poison_comes_back(cache: Cache, poison: PoisonSet) -> None:
    found = kept(cache, poison)
    assert found.fingerprint == poison.fingerprint
    assert found.notes == poison.notes


def test_accuracies_and_predictions_come_back(cache: Cache) -> None:
    result = kept(cache, TRAINED)
    assert same(result.accuracy, TRAINED.accuracy)
    assert TRAINED.predictions is not None
    assert same(result.predictions, TRAINED.predictions)


def test_mean_squared_error_comes_back(cache: Cache) -> None:
    assert kept(cache, replace(TRAINED, mse=0.125)).mse == 0.125
    assert kept(cache, TRAINED).mse is None


@pytest.mark.parametrize("which", ["last", "best"])
def test_states_come_back(cache: Cache, which: str) -> None:
    before, after = getattr(TRAINED, which), getattr(kept(cache, TRAINED), which)
    assert list(after) == list(before)
    assert all(same(after[name], before[name]) for name in before)


AIMED = replace(POISON, aims=Aims(torch.tensor([0, 3]), torch.tensor([9, 4]), torch.tensor([0.5, 1 / 3])))


def test_whom_poison_is_for_comes_back(cache: Cache) -> None:
    assert AIMED.aims is not None
    found = kept(cache, AIMED).aims
    assert all(same(getattr(found, name), value) for name, value in vars(AIMED.aims).items())
    assert kept(cache, POISON).aims is None


def test_poison_of_no_target_comes_back_as_aimed(cache: Cache) -> None:
    found = kept(cache, AIMED.select(torch.empty(0, dtype=torch.int64)))
    assert found.aims is not None
    assert [len(value) for value in vars(found.aims).values()] == [0, 0, 0]


SLOT = {"head.weight": torch.tensor([[0.5, -2.0]]), "head.bias": torch.tensor([1 / 3])}


@pytest.mark.parametrize("which", ["last_optimizer", "best_optimizer"])
@pytest.mark.parametrize("slots", [0, 1, 2])
def test_what_an_optimizer_remembers_comes_back(cache: Cache, which: str, slots: int) -> None:
    given = tuple({name: value + number for name, value in SLOT.items()} for number in range(slots))
    remembered: dict[str, Any] = {which: OptimizerState(1234, given)}
    found = kept(cache, replace(TRAINED, **remembered))
    memory = getattr(found, which)
    assert (memory.steps, len(memory.slots)) == (1234, slots)
    for one, other in zip(memory.slots, given, strict=True):
        assert list(one) == list(other)
        assert all(same(one[name], other[name]) for name in other)
    assert [getattr(found, other) for other in ("last_optimizer", "best_optimizer") if other != which] == [None]


@pytest.mark.parametrize("accuracy", [PROBED.accuracy, None])
def test_what_a_probe_measured_comes_back(cache: Cache, accuracy: Tensor | None) -> None:
    probed = replace(PROBED, accuracy=accuracy)
    found = kept(cache, replace(TRAINED, gradients=probed)).gradients
    for name, before in vars(probed).items():
        after = getattr(found, name)
        assert same(after, before) if isinstance(before, Tensor) else after == before


def test_divergence_comes_back(cache: Cache) -> None:
    assert kept(cache, TRAINED).diverged == 2


def test_what_was_not_kept_comes_back_as_none(cache: Cache) -> None:
    result = kept(cache, BARE)
    assert (result.predictions, result.last, result.best, result.diverged) == (None, None, None, None)
    assert result.gradients is None


def test_mask_comes_back(cache: Cache) -> None:
    assert same(kept(cache, MASK), MASK)


def test_seconds_come_back(cache: Cache) -> None:
    cache.put(KEY, Finished(MASK, 0.1))
    found = cache.get(KEY)
    assert found is not None
    assert found.seconds == 0.1


def test_unknown_key_is_missing_without_a_word(cache: Cache) -> None:
    assert cache.get(KEY) is None
    assert cache.faults.line() is None


def test_later_result_replaces_an_earlier_one(cache: Cache) -> None:
    cache.put(KEY, Finished(MASK, 1.0))
    assert same(kept(cache, ~MASK), ~MASK)


def test_a_result_that_cannot_be_stored_is_counted(cache: Cache) -> None:
    cache.put(KEY, Finished("text", 1.0))
    assert cache.get(KEY) is None
    assert "1 finished job could not be kept" in str(cache.faults.line())
    assert "cannot store a str" in str(cache.faults.line())


def raising(error: BaseException) -> Any:
    def fail(*arguments: Any, **named: Any) -> NoReturn:
        raise error

    return fail


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["open", "write", "replace", "mkdir"])
def test_full_disk_is_counted_and_leaves_no_partial_file(
    call: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(os, call, raising(FULL))
        cache.put(KEY, Finished(MASK, 1.0))
    assert cache.faults.count(Fault.UNKEPT) == 1
    assert "No space left on device" in str(cache.faults.line())
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []


def test_interrupt_leaves_no_partial_file(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(os, "write", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            cache.put(KEY, Finished(MASK, 1.0))
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []


def test_failed_write_keeps_the_earlier_entry(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(KEY, Finished(MASK, 1.0))
    with monkeypatch.context() as full:
        full.setattr(os, "write", raising(FULL))
        cache.put(KEY, Finished(~MASK, 2.0))
    found = cache.get(KEY)
    assert found is not None
    assert same(found.result, MASK)


def test_what_is_written_in_pieces_is_whole(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.write, os.read
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:7]))
    monkeypatch.setattr(os, "read", lambda file, size: read(file, min(size, 7)))
    assert same(kept(cache, MASK), MASK)


def test_what_is_claimed_is_nobody_elses_until_it_is_given_back(cache: Cache) -> None:
    claim = cache.claim("name")
    assert claim is not None
    (path,) = (cache.folder / "locks").iterdir()
    with pytest.raises(Timeout):
        FileLock(path, timeout=0, is_singleton=False).acquire()
    assert Cache(cache.folder).claim("name") is None
    claim.release()
    again = Cache(cache.folder).claim("name")
    assert again is not None
    again.release()


def test_claims_of_other_names_are_free(cache: Cache) -> None:
    claims = [cache.claim(letter * 64) for letter in "ab"]
    assert None not in claims
    assert len(list((cache.folder / "locks").iterdir())) == 2


def test_a_folder_that_takes_no_lock_is_counted_and_the_jobs_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file")
    claims = [cache.claim("name"), cache.claim("name"), cache.claim("other")]
    assert None not in claims
    assert cache.faults.count(Fault.UNLOCKED) == 2

"""Which jobs are done for which case; an engine that counts stands in for the real one and hands on to it."""

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
import torch
from torch import Tensor

from gradshape.attacks import Attack, DictionaryAttack, LabelFlip
from gradshape.data import Dataset, Split, load
from gradshape.defenses import Assumptions, Defense, DefenseKind, GradientShaping, NoDefense
from gradshape.metrics import Estimate
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, AnyRecipe, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols.base import Experiment, Measurement, Subject
from gradshape_bench.protocols.from_scratch import FromScratch
from gradshape_bench.schedule import Scheduler, by_id
from tests.bench.spy import Spy

# Victims of two classes with noise and without share a stack if the optimizer is linear.
RECIPE = Recipe("lr", SGD(0.5), batch_size=64, epochs=2)
TASK = Task("two_moons", RECIPE)
PLAIN = NoDefense()
CLIPPED = GradientShaping(Clip(1))
NOISY = GradientShaping(Clip(1) | Noise(0.1))
FLIPS = LabelFlip(0.1), LabelFlip(0.3)
SEEDS = (0, 1)


def case(
    attack: Attack = FLIPS[0], defense: Defense = PLAIN, *, task: Task = TASK, seeds: tuple[int, ...] = SEEDS
) -> Case:
    return Case(task, attack, defense, Scale.SMOKE, seeds)


GRID = [case(attack, defense) for attack in FLIPS for defense in (PLAIN, CLIPPED, NOISY)]


def scheduler(cases: Sequence[Case], folder: Path, engine: Spy | None = None) -> Scheduler:
    return Scheduler(cases, cache=Cache(folder), engine=engine or Spy())


def metrics(cases: Sequence[Case], folder: Path, asked: Sequence[Case] | None = None) -> dict[str, Any]:
    running = scheduler(cases, folder)
    return {case.id: running.measure(case).measurement.metrics for case in asked or cases}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Spy, dict[str, Any]]:
    """Cache, engine and metrics of all cases of the grid."""
    folder, engine = tmp_path_factory.mktemp("whole"), Spy()
    running = scheduler(GRID, folder, engine)
    return folder, engine, {case.id: running.measure(case).measurement.metrics for case in GRID}


def test_every_job_is_done_once(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    keys = whole[1].keys
    assert len(keys) == len(set(keys))


def test_clean_references_are_shared(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    # By recipe and seed; of the intensities only the poisoned victims are their own.
    clean = [job for job in whole[1].trained if job.poison is None or not len(job.poison)]
    assert len(clean) == 3 * len(SEEDS)
    assert len(whole[1].trained) == len(clean) + 2 * 3 * len(SEEDS)


def test_poison_is_shared_between_defences(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    crafted = [job for job in whole[1].done if isinstance(job, Craft)]
    assert len(crafted) == len(FLIPS) * len(SEEDS)


def test_one_case_alone_trains_only_what_it_needs(tmp_path: Path) -> None:
    engine = Spy()
    scheduler([case()], tmp_path, engine).measure(case())
    assert [job.recipe for job in engine.trained] == [TASK.recipe] * 4


def test_one_case_of_many_trains_no_other_intensity(tmp_path: Path) -> None:
    engine = Spy()
    scheduler(GRID, tmp_path, engine).measure(GRID[0])
    assert {job.attack for job in engine.done if isinstance(job, Craft)} == {FLIPS[0]}
    rows = {len(job.poison) for job in engine.trained if job.poison is not None}
    assert rows == {FLIPS[0].budget(700)}


def test_cases_that_share_its_stacks_are_trained_beside_it(tmp_path: Path) -> None:
    engine = Spy()
    scheduler(GRID, tmp_path, engine).measure(GRID[0])
    assert {job.recipe for job in engine.trained if job.poison is not None} == {case.recipe for case in GRID[:3]}


def test_one_case_of_many_crafts_and_trains_nothing_on_other_data(tmp_path: Path) -> None:
    engine = Spy()
    other = case(task=replace(TASK, dataset="digits_38"))
    scheduler([other, case()], tmp_path, engine).measure(case())
    assert {job.dataset.name for job in engine.done} == {"two_moons"}


def test_finished_jobs_are_not_done_again(whole: tuple[Path, Spy, dict[str, Any]]) -> None:
    folder, _, found = whole
    engine = Spy()
    running = scheduler(GRID, folder, engine)
    assert {case.id: running.measure(case).measurement.metrics for case in GRID} == found
    assert engine.done == []


def test_asking_twice_does_nothing_more(tmp_path: Path) -> None:
    engine = Spy()
    running = scheduler(GRID, tmp_path, engine)
    first = running.measure(GRID[0])
    before = len(engine.done)
    assert running.measure(GRID[0]) == first
    assert len(engine.done) == before


@pytest.mark.parametrize("limit", [1, 5, 8])
def test_interrupted_run_continues_where_it_stopped(
    limit: int, whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path
) -> None:
    interrupted, rest = Spy(limit=limit), Spy()
    with pytest.raises(KeyboardInterrupt):
        scheduler(GRID, tmp_path, interrupted).measure(GRID[0])
    running = scheduler(GRID, tmp_path, rest)
    assert {case.id: running.measure(case).measurement.metrics for case in GRID} == whole[2]
    assert sorted(interrupted.keys + rest.keys) == sorted(whole[1].keys)


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def _empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty])
def test_damaged_entry_is_reported_and_done_again_alone(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = metrics([case()], tmp_path)
    path = min(tmp_path.rglob("*.npz"))
    path.write_bytes(damage(path.read_bytes()))
    engine = Spy()
    with caplog.at_level(logging.WARNING):
        again = scheduler([case()], tmp_path, engine).measure(case()).measurement.metrics
    assert f"{path} is damaged and is computed again" in caplog.text
    assert again == found[case().id]
    assert engine.keys == [path.stem]


def test_damaged_entry_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics([case()], tmp_path)
    path = min(tmp_path.rglob("*.npz"))
    path.write_bytes(b"")
    metrics([case()], tmp_path)
    caplog.clear()
    metrics([case()], tmp_path)
    assert caplog.text == ""


def test_full_disk_is_reported_and_the_run_goes_on(
    whole: tuple[Path, Spy, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*arguments: Any, **named: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    engine = Spy()
    outcome = scheduler([case()], tmp_path, engine).measure(case())
    assert "No space left on device" in caplog.text
    assert outcome.measurement.metrics == whole[2][case().id]
    assert len(engine.keys) == len(set(engine.keys))


def test_case_is_the_same_alone(whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path) -> None:
    chosen = GRID[4]
    assert metrics([chosen], tmp_path)[chosen.id] == whole[2][chosen.id]


def test_cases_are_the_same_in_reversed_order(whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path) -> None:
    assert metrics(GRID[::-1], tmp_path) == whole[2]


def test_cases_are_the_same_with_more_seeds_beside_them(
    whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path
) -> None:
    chosen = GRID[0]
    more = [replace(case, seeds=(2, 1, 0)) for case in GRID]
    assert metrics([*more, chosen], tmp_path, [chosen])[chosen.id] == whole[2][chosen.id]


def _refuse_clipped(job: AnyJob) -> Exception | None:
    bad = isinstance(job, Train) and job.recipe == CLIPPED.shape(TASK.recipe)
    return RuntimeError("no clipping today") if bad else None


def test_companion_that_cannot_be_trained_fails_no_other(
    whole: tuple[Path, Spy, dict[str, Any]], tmp_path: Path
) -> None:
    outcome = scheduler(GRID, tmp_path, Spy(refuse=_refuse_clipped)).measure(GRID[0])
    assert outcome.measurement.metrics == whole[2][GRID[0].id]


def test_case_that_cannot_be_trained_fails_when_it_is_asked_for(tmp_path: Path) -> None:
    running = scheduler(GRID, tmp_path, Spy(refuse=_refuse_clipped))
    running.measure(GRID[0])
    with pytest.raises(RuntimeError, match="no clipping today"):
        running.measure(GRID[1])


@dataclass(frozen=True)
class Broken:
    """An experiment that fails after its first jobs."""

    label: str = "broken"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        yield [Train(dataset, device, case.vanilla, case.seeds[0])]
        raise RuntimeError("broken experiment")


def test_companion_whose_experiment_breaks_fails_no_other(tmp_path: Path) -> None:
    broken = replace(case(), protocol=Broken())
    running = scheduler([broken, *GRID], tmp_path)
    assert running.measure(GRID[0]).measurement.metrics
    with pytest.raises(RuntimeError, match="broken experiment"):
        running.measure(broken)


def test_case_whose_experiment_broke_fails_again_and_holds_up_no_other(tmp_path: Path) -> None:
    broken = replace(case(), protocol=Broken())
    running = scheduler([broken, *GRID], tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken experiment"):
            running.measure(broken)
    assert running.measure(GRID[0]).measurement.metrics


def test_companion_whose_attack_cannot_be_made_fails_no_other(tmp_path: Path) -> None:
    # It is refused only once it has seen the data.
    hopeless = case(DictionaryAttack(0.1))
    running = scheduler([hopeless, *GRID], tmp_path)
    assert running.measure(GRID[0]).measurement.metrics
    with pytest.raises(ValueError, match="dictionary_10 cannot be made on two_moons"):
        running.measure(hopeless)


def test_cases_of_two_data_sets_may_be_asked_for_in_turns(tmp_path: Path) -> None:
    engine = Spy()
    digits = [case(flip, task=replace(TASK, dataset="digits_38")) for flip in FLIPS]
    moons = [case(flip) for flip in FLIPS]
    running = scheduler([*digits, *moons], tmp_path, engine)
    for pair in zip(digits, moons, strict=True):
        for each in pair:
            running.measure(each)
    assert len(engine.keys) == len(set(engine.keys))


def test_unknown_data_set_is_an_error_each_time(tmp_path: Path) -> None:
    lost = case(task=replace(TASK, dataset="two_mons"))
    running = scheduler([lost], tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="did you mean 'two_moons'"):
            running.measure(lost)


def test_seconds_are_those_of_the_jobs(tmp_path: Path) -> None:
    first = scheduler([case()], tmp_path).measure(case()).seconds
    assert first > 0
    assert scheduler([case()], tmp_path).measure(case()).seconds == pytest.approx(first)


seen: list[Split] = []


@dataclass(frozen=True)
class DropLeft(Defense):
    """Drops the rows of the left third, and keeps what it was shown."""

    assumptions: ClassVar[Assumptions] = replace(NoDefense.assumptions, kind=DefenseKind.OUTLIER_REMOVAL)

    def label(self, recipe: AnyRecipe) -> str:
        return "drop_left"

    def keep(self, train: Split, *, generator: torch.Generator) -> Tensor:
        seen.append(train)
        return train.x[:, 0] > 1 / 3


@pytest.fixture
def filtered(tmp_path: Path) -> Spy:
    """The jobs of a filtered case."""
    seen.clear()
    engine = Spy()
    chosen = case(defense=DropLeft(), seeds=(0,))
    scheduler([chosen], tmp_path, engine).measure(chosen)
    return engine


def _sorted_rows(x: Tensor, y: Tensor) -> list[list[float]]:
    return sorted(torch.cat([x, y.unsqueeze(1).float()], dim=1).tolist())


def test_filter_sees_clean_rows_then_all_rows(filtered: Spy) -> None:
    train = load("two_moons").train
    (poison,) = (job.poison for job in filtered.done if isinstance(job, Filter) and job.poison is not None)
    assert [_sorted_rows(split.x, split.y) for split in sorted(seen, key=len)] == [
        _sorted_rows(train.x, train.y),
        _sorted_rows(torch.cat([train.x, poison.x]), torch.cat([train.y, poison.y])),
    ]


def test_filter_cannot_tell_poison_by_its_place(filtered: Spy) -> None:
    train = load("two_moons").train
    mixed = max(seen, key=len)
    clean = {tuple(row) for row in _sorted_rows(train.x, train.y)}
    rows = torch.cat([mixed.x, mixed.y.unsqueeze(1).float()], dim=1).tolist()
    poison = [place for place, row in enumerate(rows) if tuple(row) not in clean]
    # 70 poison rows among 770: in order they would be the last.
    assert min(poison) < 100
    assert sum(poison) / len(poison) == pytest.approx(385, abs=100)


def test_filter_gets_rows_and_nothing_else(filtered: Spy) -> None:
    held = {"x", "y", "fingerprint", "num_classes", "_granted", "_assumed"}
    assert all(set(vars(split)) <= held for split in seen)
    assert not any(vars(split)["_granted"] for split in seen)


def test_filtered_rows_are_not_trained_on(filtered: Spy) -> None:
    train = load("two_moons").train
    victims = [job.victim for job in filtered.trained if job.keep is not None]
    assert len(victims) == 2
    for victim in victims:
        assert victim.removed is not None
        assert torch.equal(victim.removed, (train.x[:, 0] <= 1 / 3).nonzero().squeeze(1))
        assert victim.private is None or bool((victim.private.x[:, 0] > 1 / 3).all())


def test_filtered_poison_is_partly_kept(filtered: Spy) -> None:
    (victim,) = (job.victim for job in filtered.trained if job.poison is not None)
    assert victim.private is not None
    assert 0 < len(victim.private) < FLIPS[0].budget(700)


def test_vanilla_reference_is_not_filtered(filtered: Spy) -> None:
    (vanilla,) = (job for job in filtered.trained if job.keep is None)
    assert vanilla.victim.removed is None


@dataclass(frozen=True)
class Many:
    """So many trainings of one stack, and as many fits of estimators beside them."""

    trainings: int
    fits: int = 0
    kinds: int = 1
    label: str = "many"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        recipes = [replace(RECIPE, epochs=1 + kind) for kind in range(self.kinds)]
        # One order, so that they share a stack whatever their seed.
        stack = [
            Train(dataset, device, recipe, seed, watch=dataset.test, order_seed=7)
            for recipe in recipes
            for seed in range(self.trainings)
        ]
        crafts = [Craft(dataset, device, FLIPS[0], None, seed) for seed in range(self.fits)]
        results = yield [*stack, *crafts]
        shares = [float(result.predictions.double().mean()) for result in results[: len(stack)]]
        return Measurement({f"m{number}": Estimate(share, None, None, 1) for number, share in enumerate(shares)}, {})


def _parts(tmp_path: Path, protocol: Many, workers: int) -> tuple[Spy, Any]:
    engine, chosen = Spy(workers=workers), replace(case(), protocol=protocol)
    found = Scheduler([chosen], cache=Cache(tmp_path), engine=engine).measure(chosen)
    return engine, found.measurement.metrics


@pytest.mark.parametrize(
    ("trainings", "workers", "sizes"),
    [
        (16, 1, [16]),
        # A stack of fewer than 8 is not worth a processor of its own.
        (15, 2, [15]),
        (16, 2, [8, 8]),
        (17, 2, [9, 8]),
        (40, 3, [14, 14, 12]),
        (20, 8, [10, 10]),
    ],
)
def test_a_large_bundle_of_trainings_is_split_over_the_workers(
    trainings: int, workers: int, sizes: list[int], tmp_path: Path
) -> None:
    engine, _ = _parts(tmp_path, Many(trainings), workers)
    assert [len(bundle) for bundle in engine.bundles] == sizes
    keys = [job.key for bundle in engine.bundles for job in bundle]
    assert len(set(keys)) == len(keys) == trainings


def test_bundles_that_occupy_all_workers_are_left_whole(tmp_path: Path) -> None:
    engine, _ = _parts(tmp_path, Many(16, kinds=2), 2)
    assert [len(bundle) for bundle in engine.bundles] == [16, 16]


def test_what_is_no_training_is_never_split(tmp_path: Path) -> None:
    engine, _ = _parts(tmp_path, Many(0, fits=20), 2)
    assert [len(bundle) for bundle in engine.bundles] == [1] * 20


def test_results_do_not_depend_on_who_shares_them(tmp_path: Path) -> None:
    found = [_parts(tmp_path / str(workers), Many(20), workers)[1] for workers in (1, 2)]
    assert found[0] == found[1]


def test_cases_are_found_by_scale_and_id() -> None:
    small, large = case(), replace(case(), scale=Scale.PAPER)
    assert by_id([small, large]) == {("smoke", small.id): small, ("paper", large.id): large}


def test_two_cases_of_one_id_are_refused() -> None:
    longer = case(task=replace(TASK, recipe=replace(RECIPE, epochs=3)))
    with pytest.raises(ValueError, match=f"two different cases are called '{longer.id}': give one of their tasks"):
        by_id([case(), longer])


def test_equal_cases_are_one() -> None:
    assert len(by_id([case(), replace(case(), protocol=FromScratch())])) == 1

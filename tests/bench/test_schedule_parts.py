"""How a large bundle of trainings is shared by the workers."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.cache import Cache
from gradshape_bench.jobs import Craft, Train
from gradshape_bench.protocols import Experiment, Group, Lab, Measurement, Subject, Trainings
from gradshape_bench.schedule import Scheduler
from tests.bench.schedule_sample import FLIPS, RECIPE, case
from tests.bench.spy import Spy


@dataclass(frozen=True)
class Many:
    """So many trainings of one stack, and as many fits of estimators beside them."""

    trainings: int
    fits: int = 0
    kinds: int = 1
    label: str = "many"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        dataset, recipes = lab.dataset, [replace(RECIPE, epochs=1 + kind) for kind in range(self.kinds)]
        # One order, so that they share a stack whatever their seed.
        stack = [
            Train(dataset, lab.device, recipe, seed=seed, watch=dataset.test, order_seed=7)
            for recipe in recipes
            for seed in range(self.trainings)
        ]
        crafts = [Craft(dataset, lab.device, FLIPS[0], recipe=None, seed=seed) for seed in range(self.fits)]
        results, _ = yield from lab.ask(Trainings(stack), Group(crafts))
        shares = [float(result.predictions.double().mean()) for result in results if result.predictions is not None]
        return Measurement({f"m{number}": Estimate(share, None, None, n=1) for number, share in enumerate(shares)}, {})


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

"""Whole experiments that are timed: many re-trainings, each with a row of its own, and crafting such rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field

import torch

from gradshape import data
from gradshape.attacks import PoisonFrogs
from gradshape.data import Dataset, Split
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, Adam, Recipe, Scoring, TrainedModel, TrainingResult, Victim, train_victims
from gradshape_bench.case import Scale
from gradshape_bench.engines import processors
from gradshape_bench.speed.problems import BATCH_SIZE, MAX_NORM
from gradshape_bench.speed.timing import synchronizer

# All victims share this order, so that they see the common rows together.
_ORDER_SEED = 7

Size = tuple[int, int]
TimedRun = Callable[[Size, str, int], float]


@dataclass(frozen=True)
class WholeExperiment:
    """An experiment whose size is two numbers; its time is proportional to both, so that a part of it can be measured.

    Args:
        name: name in test ids and on the page.
        title: a short description.
        counts: nouns for what the two numbers count.
        full: size of the whole experiment.
        run: does a part of the given size on a device within a number of bytes, and returns the seconds it took.
        measured: size of the measured part at each scale on CPUs.
        on_gpus: size of the measured part at each scale on GPUs; by default that on CPUs.
    """

    name: str
    title: str
    counts: tuple[str, str]
    _: KW_ONLY
    full: Size
    run: TimedRun
    measured: Mapping[Scale, Size]
    on_gpus: Mapping[Scale, Size] = field(default_factory=dict)

    def size(self, scale: Scale, *, gpu: bool) -> Size:
        """Return the size of the measured part."""
        return self.on_gpus.get(scale, self.measured[scale]) if gpu else self.measured[scale]


def clipped_trainings(size: Size, device: str, max_memory: int) -> float:
    """Time trainings of logistic regression from 600 features to 100 classes, with clipping and from new weights."""
    victims, epochs = size
    dataset = _random("clipped trainings", 10_000, 600, 100)
    recipe = Recipe("lr", SGD(0.1), batch_size=BATCH_SIZE, epochs=epochs, shaper=Shaper((Clip(MAX_NORM),)))
    return _trained(dataset, recipe, victims, None, device, max_memory)


def retrainings(rows: int, features: int, classes: int) -> TimedRun:
    """Return a run of re-trainings of logistic regression by Adam, which keeps its state, on data of that size."""

    def run(size: Size, device: str, max_memory: int) -> float:
        victims, epochs = size
        dataset = _random("re-trainings", rows, features, classes)
        recipe = Recipe("lr", Adam(0.04), batch_size=BATCH_SIZE, epochs=epochs)
        (base,) = train_victims(dataset, [Victim(recipe, 0, keep_optimizer=True)], device=device)
        return _trained(dataset, recipe, victims, base, device, max_memory)

    return run


def crafting(model: str, rate: float) -> TimedRun:
    """Return a run of Poison Frogs for targets of the stand-in for Purchase-100, against a model of that kind."""

    def run(size: Size, device: str, max_memory: int) -> float:
        targets, candidates = size
        dataset = data.load("purchase_synthetic", download=False)
        recipe = Recipe(model, Adam(rate), batch_size=BATCH_SIZE, epochs=2)
        (base,) = train_victims(dataset, [Victim(recipe, 0)], device=device, max_memory=max_memory)
        assert base.best is not None
        network = TrainedModel(recipe, base.best)
        target = Split(dataset.test.x[:targets], dataset.test.y[:targets])
        intended = (target.y + 1) % dataset.num_classes
        wait = synchronizer(device)
        began = time.perf_counter()
        PoisonFrogs(candidates)(
            dataset, seed=0, recipe=recipe, target=target, intended=intended, networks=[network], device=device
        )
        wait()
        return time.perf_counter() - began

    return run


def _random(name: str, rows: int, features: int, classes: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Split(
            torch.randint(2, (rows, features), generator=generator).float(),
            torch.randint(classes, (rows,), generator=generator),
        )
        for _ in range(2)
    )
    return Dataset(name, train, test, num_classes=classes)


def _trained(
    dataset: Dataset, recipe: Recipe, victims: int, base: TrainingResult | None, device: str, max_memory: int
) -> float:
    """Return the seconds of ``victims`` trainings, shared by the processors as the harness shares them."""
    own = dataset.test
    asked = [
        Victim(
            recipe,
            seed,
            Split(own.x[seed % len(own)][None], own.y[seed % len(own)][None]),
            initial=None if base is None else base.best,
            initial_optimizer=None if base is None else base.best_optimizer,
            order_seed=_ORDER_SEED,
            watch=own.x[:1],
            scoring=Scoring.AT_END,
        )
        for seed in range(victims)
    ]
    workers = processors() if device == "cpu" else 1
    share = -(-victims // workers)

    def train(part: Sequence[Victim]) -> None:
        train_victims(dataset, part, device=device, max_memory=max(1, max_memory // workers), keep_states=False)

    wait = synchronizer(device)
    began = time.perf_counter()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(train, [asked[start : start + share] for start in range(0, victims, share)]))
    wait()
    return time.perf_counter() - began


_RETRAININGS = ("victims", "epochs")
_PAIRS = ("targets", "candidates")

WHOLE_EXPERIMENTS = (
    WholeExperiment(
        "retraining",
        "logistic regression with clipping at the size of the original Purchase-100 (10,000 rows, 600 to 100)",
        _RETRAININGS,
        full=(10_000, 50),
        run=clipped_trainings,
        measured={Scale.SMOKE: (20, 1), Scale.PAPER: (200, 5)},
        on_gpus={Scale.SMOKE: (200, 2), Scale.PAPER: (10_000, 50)},
    ),
    WholeExperiment(
        "one_shot_location30",
        "re-trainings of logistic regression at the size of Location-30 (4,008 rows, 446 to 30) by Adam",
        _RETRAININGS,
        full=(200, 20),
        run=retrainings(4_008, 446, 30),
        measured={Scale.SMOKE: (40, 1), Scale.PAPER: (200, 20)},
    ),
    WholeExperiment(
        "one_shot_purchase",
        "re-trainings of logistic regression at the size of the paper's Purchase-100 (10,000 rows, 100 to 100) by Adam",
        _RETRAININGS,
        full=(10_000, 50),
        run=retrainings(10_000, 100, 100),
        measured={Scale.SMOKE: (40, 1), Scale.PAPER: (400, 5)},
        on_gpus={Scale.PAPER: (10_000, 50)},
    ),
    WholeExperiment(
        "poison_frogs_lr",
        "Poison Frogs against logistic regression on `purchase_synthetic`",
        _PAIRS,
        full=(100, 100),
        run=crafting("lr", 0.04),
        measured={Scale.SMOKE: (2, 10), Scale.PAPER: (100, 100)},
    ),
    WholeExperiment(
        "poison_frogs_mlp",
        "Poison Frogs against the network of two hidden layers on `purchase_synthetic`",
        _PAIRS,
        full=(100, 100),
        run=crafting("mlp", 0.001),
        measured={Scale.SMOKE: (2, 10), Scale.PAPER: (100, 100)},
    ),
)

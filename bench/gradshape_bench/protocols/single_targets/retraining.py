"""Re-trainings of base models with rows for single targets, and what becomes of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.attacks import PoisonSet
from gradshape.data import Split
from gradshape.metrics import relative_accuracy_drop
from gradshape.training import GradientProbe, Recipe, Scoring, TrainingResult
from gradshape_bench.protocols.base import Part
from gradshape_bench.protocols.base_models import Base
from gradshape_bench.protocols.groups import Results
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.counted_epochs import Counted
from gradshape_bench.protocols.single_targets.poisoned_targets import PoisonedTarget
from gradshape_bench.protocols.start import Retrained


@dataclass(frozen=True)
class Success:
    """What one re-training did to its target.

    Attributes:
        won_raw: whether the target was taken for the intended class.
        won: whether it was, by a model whose accuracy had dropped no more than is allowed.
        epoch: the epoch that counts, from 1: the first in which it was, else the last.
        rad: relative accuracy drop after that epoch against the base model of the same run.
    """

    won_raw: bool
    won: bool
    epoch: int
    rad: float


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """A re-training that is asked for.

    Attributes:
        targets: what it is for, of one base model, at least 1. Only rows that are made for none of them can be for
            several: it is then watched for each, and ends for none.
        rows: what is added to the clean rows.
        name: what its random numbers are drawn by, beside the seed.
    """

    targets: Sequence[PoisonedTarget]
    rows: PoisonSet
    name: tuple[str | int, ...]

    @property
    def base(self) -> Base:
        """The model that is trained further."""
        return self.targets[0].base

    @property
    def watched(self) -> Split:
        """The targets with their true labels."""
        splits = [target.split for target in self.targets]
        return Split(torch.cat([split.x for split in splits]), torch.cat([split.y for split in splits]))


@dataclass(frozen=True, eq=False)
class Round:
    """Some re-trainings.

    Attributes:
        runs: what was asked for.
        trained: one each.
        successes: of each run, what became of each of its targets.
    """

    runs: Sequence[PlannedRun]
    trained: Results[TrainingResult]
    successes: Sequence[Sequence[Success]]


@dataclass(frozen=True, eq=False)
class Retraining:
    """How base models are trained further.

    Attributes:
        lab: of the experiment.
        start: which recipes.
        counted: after which epochs a target counts as won.
        allowed: largest relative accuracy drop against the run's own base that a target may cost to count as won.
        probe: what is measured of the gradients; ``None`` for nothing. With one, training goes on after a success, so
            that all epochs are measured, and the success is that of the same training without a probe.
    """

    lab: Lab
    start: Retrained
    counted: Counted
    allowed: float
    probe: GradientProbe | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe of the second training."""
        return self.start.recipes(self.lab.case, "re-training")[1]

    def run(self, runs: Sequence[PlannedRun]) -> Part[Round]:
        """Train further, on the rows that the case's defence keeps."""
        trained = yield from self.lab.ask(
            self.lab.train(
                self.recipe,
                [run.rows for run in runs],
                seeds=[_seeds.derive(run.base.seed, "re-training", *run.name) for run in runs],
                bases=[run.base for run in runs],
                watch=[run.watched for run in runs],
                targets=[run.targets[0].split for run in runs],
                # All of a seed see the clean rows in one order, so that they share their products.
                order_seeds=[_seeds.derive(run.base.seed, "re-training order") for run in runs],
                intended=[run.targets[0].intended if self._ends_with_success(run) else None for run in runs],
                scoring=[self._scoring(run) for run in runs],
                probe=self.probe,
            )
        )
        return Round(runs, trained, [self._successes(run, result) for run, result in zip(runs, trained, strict=True)])

    def _ends_with_success(self, run: PlannedRun) -> bool:
        return self.counted is Counted.ANY_EPOCH and self.probe is None and len(run.targets) == 1

    def _scoring(self, run: PlannedRun) -> Scoring:
        # Where training goes on after a success, the accuracy in that epoch has to be known.
        ends = self._ends_with_success(run) or (self.counted is Counted.LAST_EPOCH and self.probe is None)
        return Scoring.AT_END if ends else Scoring.EVERY_EPOCH

    def _successes(self, run: PlannedRun, result: TrainingResult) -> list[Success]:
        assert result.predictions is not None
        predictions = result.predictions
        at_end = self._scoring(run) is Scoring.AT_END
        return [
            self._success(target, predictions[:, place] == target.intended, result, at_end=at_end)
            for place, target in enumerate(run.targets)
        ]

    def _success(self, target: PoisonedTarget, taken: Tensor, result: TrainingResult, *, at_end: bool) -> Success:
        # A training that ends with its success is scored in that epoch, its last one.
        first = bool(taken.any()) and self.counted is Counted.ANY_EPOCH
        epoch = int(taken.nonzero()[0]) + 1 if first else len(taken)
        accuracy = float(result.accuracy[-1 if at_end else epoch - 1])
        rad = relative_accuracy_drop(target.base.accuracy, accuracy)
        won_raw = bool(taken[epoch - 1])
        return Success(won_raw, won_raw and rad <= self.allowed, epoch, rad)

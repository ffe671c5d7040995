"""Poison that is after single test rows: one training a target."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _seeds, _validate
from gradshape.data import Dataset, Split
from gradshape.metrics import rate_over_trials
from gradshape.training import TrainingResult
from gradshape_bench.protocols import effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy, estimates
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.counted_epochs import Counted


@dataclass(frozen=True)
class Targeted:
    """Poison is in the training data from the start, and every training has one target.

    For each seed: the vanilla and the defended recipe on clean data; targets, drawn among the test rows of one class
    that the defended clean model classifies correctly; and for each target the attack and a training on clean and
    poisoned data together. An attack succeeds where the poisoned model misclassifies its target.

    Args:
        targets: at most so many a seed; fewer if fewer are classified correctly.
        source: class of the targets.
        counted: after which epochs a misclassification counts; after any of them in the paper's code.

    Raises:
        ValueError: a number is out of range, or ``counted`` is not a :class:`Counted`.

    Nelson et al. 2008 (focused attack); Hong et al. 2020, section 6.3 (what counts as success).
    """

    targets: int = 10
    source: int = 0
    counted: Counted = Counted.LAST_EPOCH

    def __post_init__(self) -> None:
        _validate.positive_int(targets=self.targets)
        _validate.finite_non_negative(source=self.source)
        _validate.member(Counted, counted=self.counted)

    @property
    def label(self) -> str:
        return "targeted" if self.counted is Counted.LAST_EPOCH else "targeted_any"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: no test row of the class is classified correctly.
        """
        drawn = [self._drawn(lab.dataset, seed) for seed in case.seeds]
        test = lab.dataset.test
        candidates = [Split(test.x[rows], test.y[rows]) for rows in drawn]
        # Which targets there will be shows only later: until then the defence guards all that are considered.
        vanilla, clean = yield from lab.ask(
            lab.train_unfiltered(case.vanilla), lab.train(case.recipe, watch=candidates, targets=candidates)
        )
        found = list(map(self._correct, candidates, clean))
        targets = [
            Split(rows.x[place : place + 1], rows.y[place : place + 1])
            for rows, places in zip(candidates, found, strict=True)
            for place in places
        ]
        if not targets:
            raise ValueError(
                f"{lab.dataset.name}: the clean model classifies none of the drawn test rows of class {self.source} "
                "correctly: expected at least 1 target"
            )
        seeds = [seed for seed, places in zip(case.seeds, found, strict=True) for _ in places]
        poisons = yield from lab.ask(lab.craft(case.attack, case.recipe, seeds=seeds, targets=targets))
        trained = yield from lab.ask(lab.train(case.recipe, poisons, seeds=seeds, watch=targets, targets=targets))
        hits = list(map(self._hit, trained, targets))
        cost = effect_metrics.utility_metrics(vanilla, clean, Accuracy.BEST)
        return lab.measurement(
            {
                "success_rate": rate_over_trials(hits),
                **estimates(cost),
            },
            recipe=case.recipe,
            poisons=poisons,
            poisoned=trained,
            targets=len(targets),
            trials=[
                [seed, int(rows[place])]
                for seed, rows, places in zip(case.seeds, drawn, found, strict=True)
                for place in places
            ],
            successes=sum(hits),
        )

    def _drawn(self, dataset: Dataset, seed: int) -> Tensor:
        ids = (dataset.test.y == self.source).nonzero().squeeze(1)
        if not len(ids):
            raise ValueError(f"source={self.source!r}: {dataset.name} has no test row of that class")
        # Some to spare: not every row is classified correctly.
        order = torch.randperm(len(ids), generator=_seeds.stream(seed, "targets"))[: 2 * self.targets + 8]
        return ids[order]

    def _correct(self, rows: Split, clean: TrainingResult) -> list[int]:
        """Return the places of the first rows that the model classifies correctly."""
        assert clean.predictions is not None
        places: list[int] = (clean.predictions[-1] == rows.y).nonzero().squeeze(1)[: self.targets].tolist()
        return places

    def _hit(self, result: TrainingResult, target: Split) -> bool:
        assert result.predictions is not None
        wrong = (result.predictions != target.y).all(1)
        return bool(wrong[-1] if self.counted is Counted.LAST_EPOCH else wrong.any())

"""Poison that is after single test rows: one training a target."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradshape import _seeds, _validate
from gradshape.data import Dataset, Split
from gradshape.metrics import mean_over_seeds, relative_accuracy_drop, success_rate
from gradshape.training import TrainingResult
from gradshape_bench.jobs import AnyJob, Craft, Train
from gradshape_bench.protocols.base import Experiment, Measurement, Subject, check_defense, setup_of
from gradshape_bench.protocols.filtering import filtering

_COUNTED = ("last", "any")


@dataclass(frozen=True)
class Targeted:
    """Poison is in the training data from the start, and every training has one target.

    For each seed: the vanilla and the defended recipe on clean data; targets, drawn among the test rows of one class
    that the defended clean model classifies correctly; and for each target the attack and a training on clean and
    poisoned data together. An attack succeeds where the poisoned model misclassifies its target.

    Args:
        targets: at most so many a seed; fewer if fewer are classified correctly.
        source: class of the targets.
        counted: whether a misclassification counts after the ``last`` epoch or after ``any``, as in the paper's code.

    Raises:
        ValueError: a number is out of range, or an unknown ``counted``.

    Nelson et al. 2008 (focused attack); Hong et al. 2020, section 6.3 (what counts as success).
    """

    targets: int = 10
    source: int = 0
    counted: str = "last"

    def __post_init__(self) -> None:
        _validate.positive_int(targets=self.targets)
        _validate.finite_non_negative(source=self.source)
        if self.counted not in _COUNTED:
            raise _validate.unknown("counted", self.counted, _COUNTED)

    @property
    def label(self) -> str:
        return "targeted" if self.counted == "last" else f"targeted_{self.counted}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the defence cannot be used on this data, or no test row of the class is classified correctly.
        """
        check_defense(case, dataset)
        seeds = case.seeds
        candidates = [self._candidates(dataset, seed) for seed in seeds]
        plain = [Train(dataset, device, case.vanilla, seed) for seed in seeds]
        # Which targets there will be shows only later: until then the defence guards all that are considered.
        _, kept = yield from filtering(case, dataset, device, [None] * len(seeds), seeds, targets=candidates)
        watching = [
            Train(dataset, device, case.recipe, seed, keep=keep, watch=rows)
            for seed, keep, rows in zip(seeds, kept, candidates, strict=True)
        ]
        first = yield [*plain, *watching]
        vanilla, clean = first[: len(seeds)], first[len(seeds) :]
        chosen = [
            (seed, target)
            for seed, rows, result in zip(seeds, candidates, clean, strict=True)
            for target in self._targets(rows, result)
        ]
        if not chosen:
            raise ValueError(
                f"{dataset.name}: the clean model classifies none of the drawn test rows of class {self.source} "
                "correctly: expected at least 1 target"
            )
        crafting = [
            Craft.against(dataset, device, case.attack, case.recipe, seed, target=target) for seed, target in chosen
        ]
        poisons = yield crafting
        of_seeds, targets = [seed for seed, _ in chosen], [target for _, target in chosen]
        filters, masks = yield from filtering(case, dataset, device, poisons, of_seeds, targets=targets)
        training = [
            Train(dataset, device, case.recipe, seed, poison, keep=mask, watch=target)
            for (seed, target), poison, mask in zip(chosen, poisons, masks, strict=True)
        ]
        trained = yield training
        hits = sum(self._hit(result, target) for (_, target), result in zip(chosen, trained, strict=True))
        undefended = [result.best_accuracy for result in vanilla]
        defended = [result.best_accuracy for result in clean]
        metrics = {
            "success_rate": success_rate(hits, len(chosen)),
            "utility_loss": mean_over_seeds(
                [relative_accuracy_drop(p, d) for p, d in zip(undefended, defended, strict=True)]
            ),
            "accuracy_vanilla": mean_over_seeds(undefended),
            "accuracy_clean": mean_over_seeds(defended),
        }
        details = {
            "accuracy": "best",
            "train_rows": len(dataset.train),
            "test_rows": len(dataset.test),
            **setup_of(case.recipe),
            "budget": case.attack.budget(len(dataset.train)),
            "poison_rows": [len(poison) for poison in poisons],
            "targets": len(chosen),
            "successes": hits,
        }
        timed: dict[str, Sequence[AnyJob]] = {"crafting": crafting, "filtering": filters, "training": training}
        return Measurement(metrics, details, timed)

    def _candidates(self, dataset: Dataset, seed: int) -> Split:
        ids = (dataset.test.y == self.source).nonzero().squeeze(1)
        if not len(ids):
            raise ValueError(f"source={self.source!r}: {dataset.name} has no test row of that class")
        # Some to spare: not every row is classified correctly.
        order = torch.randperm(len(ids), generator=_seeds.stream(seed, "targets"))[: 2 * self.targets + 8]
        return Split(dataset.test.x[ids[order]], dataset.test.y[ids[order]])

    def _targets(self, rows: Split, clean: TrainingResult) -> list[Split]:
        assert clean.predictions is not None
        correct = (clean.predictions[-1] == rows.y).nonzero().squeeze(1)[: self.targets].tolist()
        return [Split(rows.x[row : row + 1], rows.y[row : row + 1]) for row in correct]

    def _hit(self, result: TrainingResult, target: Split) -> bool:
        assert result.predictions is not None
        wrong = (result.predictions != target.y).all(1)
        return bool(wrong[-1] if self.counted == "last" else wrong.any())

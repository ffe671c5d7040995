"""What became of single targets, and what the experiments on them report alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradshape.metrics import Estimate, mean_over_seeds, share_over_seeds
from gradshape_bench.protocols import effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy, estimates
from gradshape_bench.protocols.base import Measurement
from gradshape_bench.protocols.base_models import Base
from gradshape_bench.protocols.single_targets.distinct_targets import by_target, rate
from gradshape_bench.protocols.single_targets.poisoned_targets import PoisonedTarget, PoisonedTargets
from gradshape_bench.protocols.single_targets.retraining import Retraining
from gradshape_bench.protocols.single_targets.tries_per_target import Tries


@dataclass(frozen=True, eq=False)
class AttackedTargets:
    """The targets of an experiment, and what was tried against them.

    Attributes:
        retraining: how base models were trained further.
        found: targets and base models.
        attack, control: what was tried with poison, and with clean rows in its place.
    """

    retraining: Retraining
    found: PoisonedTargets
    attack: Tries
    control: Tries

    def by_target(self, values: Sequence[float | None]) -> list[float]:
        """Return means of what is known of each distinct target, over the seeds that attack it.

        Args:
            values: of each target; ``None`` where nothing is known.
        """
        return by_target([target.identity for target in self.found.targets], values)

    def measurement(self, metrics: Mapping[str, Estimate], **details: Any) -> Measurement:
        """Return what was found, with what all experiments on single targets report.

        Args:
            metrics, details: what else was found.
        """
        lab, start, found = self.retraining.lab, self.retraining.start, self.found
        attack, control, targets = self.attack, self.control, found.targets
        first, recipe = start.recipes(lab.case, "re-training")
        rates = {
            "success_rate": self._rate(attack.won),
            "success_rate_raw": self._rate(attack.won_raw),
            "success_rate_control": self._rate(control.won),
            "success_rate_control_raw": self._rate(control.won_raw),
        }
        cost = effect_metrics.utility_metrics(
            [base.vanilla for base in found.bases], [base.result for base in found.bases], Accuracy.BEST
        )
        runs = self._by_seed([[run.rad for run in attack.successes(target)] for target in targets])
        common = {
            **lab.setting(recipe, Accuracy.BEST),
            "clean_epochs": first.epochs,
            "base": start.base.value,
            "again": start.again.value,
            "optimizer_remembers": start.remembers,
            "counted": self.retraining.counted.value,
            "allowed_drop": self.retraining.allowed,
            "budget": lab.case.attack.budget(len(lab.dataset.train)),
            "targets": len(targets),
            "targets_distinct": rates["success_rate"].n,
            "trials": [list(target) for target in dict.fromkeys(target.identity for target in targets)],
            "targets_listed": sum(target.listed for target in targets),
            "targets_misclassified": list(found.misclassified),
            "targets_without_poison": list(found.without_poison),
            "candidates": [len(target.poison) for target in targets],
            "successes": sum(map(attack.won, targets)),
            "successes_raw": sum(map(attack.won_raw, targets)),
            "successes_control": sum(map(control.won, targets)),
            "control_tries": len(control),
        }
        return Measurement(
            {
                **rates,
                **estimates(cost),
                **({"rad_of_runs": mean_over_seeds(runs)} if runs else {}),
                **metrics,
                **self._removed(len(lab.dataset.train)),
            },
            common | details,
            {
                "crafting": found.crafting,
                "filtering": [job for done in attack.rounds for job in done.trained.filters],
                "training": [job for done in attack.rounds for job in done.trained.jobs],
            },
        )

    def _rate(self, won: Callable[[PoisonedTarget], bool]) -> Estimate:
        return rate(self.by_target([float(won(target)) for target in self.found.targets]))

    def _by_seed(self, values: Sequence[Sequence[float]]) -> list[float]:
        """Return the mean of the values of each seed's targets, without the seeds that have none."""
        by_seed = [
            [
                value
                for target, own in zip(self.found.targets, values, strict=True)
                if target.base is base
                for value in own
            ]
            for base in self.found.bases
        ]
        return [sum(own) / len(own) for own in by_seed if own]

    def _removed(self, train_rows: int) -> dict[str, Estimate]:
        """Return the shares of poison and of clean rows that a filter left out, in the mean of a seed's re-trainings.

        Without a filter there are none.
        """
        masks: dict[Base, list[Tensor]] = {base: [] for base in self.found.bases}
        for done in self.attack.rounds:
            for run, mask in zip(done.runs, done.trained.masks, strict=False):
                masks[run.base].append(mask)
        by_seed = [torch.stack([_shares(mask, train_rows) for mask in own]).mean(0) for own in masks.values() if own]
        if not by_seed:
            return {}
        clean, poison = torch.stack(by_seed).T.tolist()
        return {"poison_removed": share_over_seeds(poison), "clean_removed": share_over_seeds(clean)}


def _shares(mask: Tensor, train_rows: int) -> Tensor:
    gone = (~mask).double()
    return torch.stack([gone[:train_rows].mean(), gone[train_rows:].mean()])

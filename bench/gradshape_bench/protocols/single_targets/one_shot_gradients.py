"""One poison row in the re-training of a base model: what its gradient is beside those of the clean rows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from gradshape.training import GradientProbe, Layers, Weighting
from gradshape_bench.protocols import differences
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.base import SingleTargets
from gradshape_bench.protocols.single_targets.one_shot import shots
from gradshape_bench.protocols.single_targets.poisoned_targets import PoisonedTarget
from gradshape_bench.protocols.single_targets.retraining import Success
from gradshape_bench.protocols.single_targets.tries_per_target import Try
from gradshape_bench.protocols.snapshot import snapshot


@dataclass(frozen=True)
class OneShotGradients(SingleTargets):
    """The magnitude ratio and the cosine between the gradients of one poison row and of clean rows during re-training.

    Base models, targets and poison are those of :class:`~gradshape_bench.protocols.OneShot`. For every target
    the base is re-trained with the first of its poison rows, to the last epoch, whatever becomes of the target; it is
    the training that ``OneShot`` tries first. In every epoch the gradients of the poison row and of the clean rows of
    the batches that it is in are compared: over all parameters, as they enter the update (clipped, where the recipe
    clips; before noise), and raw beside that. The same is done for a placebo, one clean row, drawn at random.

    What is known of a seed's targets is averaged before it is averaged over the seeds. Which targets were won is told
    one by one, so that cases with and without a defence can be compared on the same ones.

    Beside it, as a control, the same re-training with the clean row that the poison was made from in its place, which
    is not measured and ends with its success.

    Arguments and errors are those of :class:`~gradshape_bench.protocols.single_targets.base.SingleTargets`.

    Hong et al. 2020, section 6.3 and Fig. 7. The released analysis takes the first layer's kernel alone, compares the
    sum of the one poisoned batch with that of some hundred clean ones, and in clipped training sums the whole batch for
    either side.
    """

    name: ClassVar[str] = "gradients_one_shot"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: as :meth:`SingleTargets.attack`.
        """
        probe = GradientProbe(Layers.ALL)
        attacked = yield from self.attack(lab, _first, probe=probe)
        targets, attack = attacked.found.targets, attacked.attack
        results = [result for done in attack.rounds for result in done.trained]
        by_target = [
            differences.series_of(result, layers=Layers.ALL, weighting=Weighting.SHARED, bias=True)
            for result in results
        ]
        by_seed = [
            [series for target, series in zip(targets, by_target, strict=True) if target.base is base]
            for base in attacked.found.bases
        ]
        outcomes = [
            _outcome(target, attack.successes(target)[0], series)
            for target, series in zip(targets, by_target, strict=True)
        ]
        return attacked.measurement(
            differences.metrics(by_seed),
            layers=probe.layers.value,
            weighting=Weighting.SHARED.value,
            outcomes=outcomes,
            series=differences.curves(by_seed),
            **({"example": snapshot(targets[0].poison.select(torch.tensor([0])))} if targets else {}),
        )


def _first(target: PoisonedTarget) -> list[Try]:
    return shots(target)[:1]


def _outcome(target: PoisonedTarget, success: Success, series: dict[str, differences.Series]) -> dict[str, Any]:
    """Return what one target's re-training did, as plain values, with means over the epochs where they are known."""
    values = differences.summary(series)
    names = ("magnitude_ratio", "cosine_similarity", "cosine_similarity_spread")
    return {
        "seed": target.base.seed,
        "row": target.row,
        "class": int(target.split.y),
        "intended": int(target.intended),
        "won": success.won,
        "won_raw": success.won_raw,
        "epoch": success.epoch,
        **{name: differences.rounded(values[name]) for name in names},
    }

"""One poison row in the re-training of a base model: what its gradient is beside those of the clean rows."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from gradshape.data import Dataset
from gradshape.training import GradientProbe, Layers, Weighting
from gradshape_bench.protocols import aims, differences
from gradshape_bench.protocols.aimed import Aimed
from gradshape_bench.protocols.aiming import Aim, Success
from gradshape_bench.protocols.base import Experiment, Measurement, Subject
from gradshape_bench.protocols.one_shot import shots
from gradshape_bench.protocols.snapshot import snapshot
from gradshape_bench.protocols.tries import Try, until_won, with_clean_rows


@dataclass(frozen=True)
class OneShotGradients(Aimed):
    """The magnitude ratio and the cosine between the gradients of one poison row and of clean rows during re-training.

    Base models, targets and poison are those of :class:`~gradshape_bench.protocols.one_shot.OneShot`. For every target
    the base is re-trained with the first of its poison rows, to the last epoch, whatever becomes of the target; it is
    the training that ``OneShot`` tries first. In every epoch the gradients of the poison row and of the clean rows of
    the batches that it is in are compared: over all parameters, as they enter the update (clipped, where the recipe
    clips; before noise), and raw beside that. The same is done for a placebo, one clean row, drawn at random.

    What is known of a seed's targets is averaged before it is averaged over the seeds. Which targets were won is told
    one by one, so that cases with and without a defence can be compared on the same ones.

    Beside it, as a control, the same re-training with the clean row that the poison was made from in its place, which
    is not measured and ends with its success.

    Arguments and errors are those of :class:`~gradshape_bench.protocols.aimed.Aimed`.

    Hong et al. 2020, section 6.3 and Fig. 7. The released analysis takes the first layer's kernel alone, compares the
    sum of the one poisoned batch with that of some hundred clean ones, and in clipped training sums the whole batch for
    either side.
    """

    name: ClassVar[str] = "gradients_one_shot"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: as :meth:`Aimed.aim <gradshape_bench.protocols.aimed.Aimed.aim>`.
        """
        probe = GradientProbe(Layers.ALL)
        found, retraining = yield from self.aim(case, dataset, device, probe=probe)
        attack = yield from until_won(retraining, found.aims, _first, at_once=1)
        control = yield from with_clean_rows(replace(retraining, probe=None), found.aims, _first)
        results = [result for done in attack.rounds for result in done.results]
        of_aims = [
            differences.series_of(result, layers=Layers.ALL, weighting=Weighting.SHARED, bias=True)
            for result in results
        ]
        of_seeds = [
            [series for aim, series in zip(found.aims, of_aims, strict=True) if aim.base is base]
            for base in found.bases
        ]
        metrics, details = aims.outcome(case, dataset, retraining, found, attack, control)
        metrics |= differences.metrics(of_seeds)
        metrics |= aims.removed(found, attack, len(dataset.train))
        details |= {
            "layers": probe.layers.value,
            "weighting": Weighting.SHARED.value,
            "diverged": sum(result.diverged is not None for result in results),
            "outcomes": [
                _outcome(aim, attack.successes(aim)[0], series) for aim, series in zip(found.aims, of_aims, strict=True)
            ],
            "series": differences.curves(of_seeds),
        }
        if found.aims:
            details["example"] = snapshot(found.aims[0].poison.select(torch.tensor([0])))
        return Measurement(metrics, details, attack.timed(found.crafting))


def _first(aim: Aim) -> list[Try]:
    return shots(aim)[:1]


def _outcome(aim: Aim, success: Success, series: dict[str, differences.Series]) -> dict[str, Any]:
    """What one target's re-training did, as plain values: known means are those over the epochs."""
    values = differences.summary(series)
    names = ("magnitude_ratio", "cosine_similarity", "cosine_similarity_spread")
    return {
        "seed": aim.base.seed,
        "row": aim.row,
        "class": int(aim.target.y),
        "wanted": int(aim.wanted),
        "won": success.filtered,
        "won_raw": success.raw,
        "epoch": success.epoch,
        **{name: differences.rounded(values[name]) for name in names},
    }

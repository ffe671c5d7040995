"""One poison row in the re-training of a base model: what its gradient is beside those of the clean rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.jobs import Job
from bench.protocols import aims, differences
from bench.protocols.aiming import Aim, Counted, Retraining, Success, aiming, rows_of
from bench.protocols.base import Experiment, Measurement, Subject, check_defense
from bench.protocols.one_shot import PAPERS_START, check_single
from bench.protocols.snapshot import snapshot
from bench.protocols.start import Retrained
from bench.targets import Targets
from gradshape import _validate
from gradshape.data import Dataset
from gradshape.training import GradientProbe, Layers, Weighting


@dataclass(frozen=True)
class OneShotGradients:
    """The magnitude ratio and the cosine between the gradients of one poison row and of clean rows during re-training.

    Base models, targets and poison are those of :class:`~bench.protocols.one_shot.OneShot`. For every target the base
    is re-trained with the first of its poison rows, to the last epoch, whatever becomes of the target; it is the
    training that ``OneShot`` tries first. In every epoch the gradients of the poison row and of the clean rows of the
    batches that it is in are compared: over all parameters, as they enter the update (clipped, where the recipe clips;
    before noise), and raw beside that. The same is done for a placebo, one clean row, drawn at random.

    What is known of a seed's targets is averaged before it is averaged over the seeds. Which targets were won is told
    one by one, so that cases with and without a defence can be compared on the same ones.

    Args:
        targets: how many, and as what.
        start: by whose recipes the base model is trained and trained further.
        counted: after which epochs a target that is taken for the wanted class counts as won.
        allowed: the largest relative accuracy drop of a success, against the base model of the same run.

    Raises:
        ValueError: ``allowed`` is negative.

    Hong et al. 2020, section 6.3 and Fig. 7. The released analysis takes the first layer's kernel alone, compares the
    sum of the one poisoned batch with that of some hundred clean ones, and in clipped training sums the whole batch for
    either side.
    """

    targets: Targets
    start: Retrained = field(default=PAPERS_START)
    counted: Counted = Counted.ANY_EPOCH
    allowed: float = 0.05

    def __post_init__(self) -> None:
        _validate.finite_non_negative(allowed=self.allowed)

    @property
    def label(self) -> str:
        return aims.label("gradients_one_shot", self.targets, self.start, self.counted, self.allowed)

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: as :meth:`OneShot.run <bench.protocols.one_shot.OneShot.run>`.
        """
        check_single(case, self.label)
        check_defense(case, dataset)
        found = yield from aiming(case, dataset, device, self.start, self.targets)
        probe = GradientProbe(Layers.ALL)
        retraining = Retraining(case, dataset, device, self.start, self.counted, self.allowed, probe)
        first = [rows_of(aim, [0], clean=False) for aim in found.aims]
        done = yield from retraining.run(found.aims, first, ["poison 0"] * len(found.aims))
        of_aims = [
            differences.series_of(result, layers=Layers.ALL, weighting=Weighting.SHARED, bias=True)
            for result in done.results
        ]
        of_seeds = [
            [series for aim, series in zip(found.aims, of_aims, strict=True) if aim.base is base]
            for base in found.bases
        ]
        successes = {id(aim): [success] for aim, success in zip(found.aims, done.successes, strict=True)}
        metrics, details = aims.outcome(case, dataset, retraining, found, successes)
        metrics |= differences.metrics(of_seeds)
        metrics |= aims.removed([done], len(dataset.train))
        details |= {
            "layers": probe.layers.value,
            "weighting": Weighting.SHARED.value,
            "diverged": sum(result.diverged is not None for result in done.results),
            "outcomes": [
                _outcome(aim, success, series)
                for aim, success, series in zip(found.aims, done.successes, of_aims, strict=True)
            ],
            "series": differences.curves(of_seeds),
        }
        if first:
            details["example"] = snapshot(first[0])
        timed: dict[str, Sequence[Job]] = {
            "crafting": found.crafting,
            "filtering": done.filters,
            "training": done.trainings,
        }
        return Measurement(metrics, details, timed)


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

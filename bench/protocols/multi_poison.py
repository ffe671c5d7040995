"""More and more poison rows together against single targets: how many does an attack need?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.jobs import Job
from bench.protocols import aims
from bench.protocols.aiming import Aim, Aiming, Counted, Retraining, Round, Success, aiming, rows_of
from bench.protocols.base import Experiment, Measurement, Subject, check_defense
from bench.protocols.bases import Part
from bench.protocols.one_shot import PAPERS_START
from bench.protocols.start import Retrained
from bench.targets import Targets
from gradshape import _validate
from gradshape.attacks import TargetedAttack
from gradshape.data import Dataset
from gradshape.metrics import mean_over_seeds


@dataclass(frozen=True)
class MultiPoison:
    """For every target, base models are re-trained with the first 1, 2, 3, ... of its poison rows together.

    As :class:`~bench.protocols.one_shot.OneShot`, but for what is added: prefixes of the attack's rows. More poison
    need not do more, so every prefix is a re-training of its own, shortest first, and the smallest number that succeeds
    is what counts. Of an attack whose rows work together only, all rows are the one prefix.

    The control has, for each target, as many clean rows as the attack needed, or as it had if it did not succeed.

    Args:
        targets: how many, and as what.
        start: by whose recipes the base model is trained and trained further.
        counted: after which epochs a target that is taken for the wanted class counts as won.
        allowed: the largest relative accuracy drop of a success, against the base model of the same run.
        at_once: prefixes of a target that are tried before it is known whether a shorter one succeeds: the first round
            has so many, and each later one as many as were tried before it.

    Raises:
        ValueError: ``allowed`` is negative, or ``at_once`` is not positive.

    Hong et al. 2020, sections 6.4 and 6.5.
    """

    targets: Targets
    start: Retrained = field(default=PAPERS_START)
    counted: Counted = Counted.ANY_EPOCH
    allowed: float = 0.05
    at_once: int = 2

    def __post_init__(self) -> None:
        _validate.finite_non_negative(allowed=self.allowed)
        _validate.positive_int(at_once=self.at_once)

    @property
    def label(self) -> str:
        return aims.label("multi_poison", self.targets, self.start, self.counted, self.allowed)

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the defence cannot be used on this data, the attack does not aim at single targets, or the base
                model classifies no target correctly.
        """
        check_defense(case, dataset)
        found = yield from aiming(case, dataset, device, self.start, self.targets)
        retraining = Retraining(case, dataset, device, self.start, self.counted, self.allowed)
        joint = isinstance(case.attack, TargetedAttack) and case.attack.joint
        prefixes = {id(aim): [len(aim.poison)] if joint else list(range(1, len(aim.poison) + 1)) for aim in found.aims}
        of, rounds = yield from self._prefixes(retraining, found.aims, prefixes)
        needed = {id(aim): _needed(of[id(aim)], prefixes[id(aim)]) for aim in found.aims}
        controls = yield from retraining.run(
            found.aims,
            [rows_of(aim, range(needed[id(aim)] or len(aim.poison)), clean=True) for aim in found.aims],
            ["clean"] * len(found.aims),
        )
        control = {id(aim): [success] for aim, success in zip(found.aims, controls.successes, strict=True)}
        metrics, details = aims.outcome(case, dataset, retraining, found, of, control)
        counts = [count for count in needed.values() if count is not None]
        if counts:
            metrics["poisons_needed"] = mean_over_seeds(counts)
        metrics |= aims.removed(rounds, len(dataset.train))
        details["needed"] = _by_target(found, needed)
        details["tries"] = sum(map(len, of.values()))
        timed: dict[str, Sequence[Job]] = {
            "crafting": found.crafting,
            "filtering": [job for done in rounds for job in done.filters],
            "training": [job for done in rounds for job in done.trainings],
        }
        return Measurement(metrics, details, timed)

    def _prefixes(
        self, retraining: Retraining, targets: Sequence[Aim], prefixes: Mapping[int, Sequence[int]]
    ) -> Part[tuple[dict[int, list[Success]], list[Round]]]:
        """Try the prefixes of every target, shortest first, until one succeeds."""
        of: dict[int, list[Success]] = {id(aim): [] for aim in targets}
        rounds: list[Round] = []
        most = self.at_once
        while True:
            tries: list[tuple[Aim, int]] = []
            for aim in targets:
                done = of[id(aim)]
                if not any(success.filtered for success in done):
                    tries += [(aim, count) for count in prefixes[id(aim)][len(done) : most]]
            if not tries:
                return of, rounds
            found = yield from retraining.run(
                [aim for aim, _ in tries],
                [rows_of(aim, range(count), clean=False) for aim, count in tries],
                [f"first {count}" for _, count in tries],
            )
            rounds.append(found)
            for (aim, _), success in zip(tries, found.successes, strict=True):
                of[id(aim)].append(success)
            most *= 2


def _needed(outcomes: Sequence[Success], prefixes: Sequence[int]) -> int | None:
    """The smallest number of rows that succeeded; ``None`` if none did."""
    tried = zip(prefixes, outcomes, strict=False)  # Longer ones may not have been run.
    return next((count for count, success in tried if success.filtered), None)


def _by_target(found: Aiming, needed: Mapping[int, int | None]) -> list[list[Any]]:
    """Of each target: seed, row, class, wanted class, poison rows that there were, and how many were needed."""
    return [
        [aim.base.seed, aim.row, int(aim.target.y), int(aim.wanted), len(aim.poison), needed[id(aim)]]
        for aim in found.aims
    ]

"""One poison row at a time against single targets: is there one that turns a re-trained model?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.jobs import Job
from bench.protocols import aims
from bench.protocols.aiming import Aim, Aiming, Counted, Retraining, Round, Success, aiming, rows_of
from bench.protocols.base import Experiment, Measurement, Subject, check_defense
from bench.protocols.bases import Part
from bench.protocols.start import By, Retrained
from bench.targets import Targets
from gradshape import _validate
from gradshape.attacks import TargetedAttack
from gradshape.data import Dataset

# The paper's: base and re-training are by one recipe, and the optimizer goes on where it was.
PAPERS_START = Retrained(epochs=50, base=By.DEFENDED, again=By.DEFENDED, remembers=True)


@dataclass(frozen=True)
class OneShot:
    """For every target, base models are re-trained with one candidate poison after another until one succeeds.

    For each seed: the vanilla model, the base model, the targets (test rows that the base classifies correctly), and
    the attack on all of them. Then every pair of a target and one of its poisons is one re-training on the clean rows
    and that poison. It ends after the first epoch in which the target is taken for the wanted class. A target is won if
    any of its poisons succeeds; the other re-trainings for it are then dropped. The rows are tried in the attack's
    order, one for every target first, then twice as many at a time.

    Beside it, as a control, the same with the clean rows that the poison was made from in its place: what re-training
    alone does to a target, in ``controls`` re-trainings at most, and no more than the attack had tried.

    Args:
        targets: how many, and as what.
        start: by whose recipes the base model is trained and trained further.
        counted: after which epochs a target that is taken for the wanted class counts as won.
        allowed: the largest relative accuracy drop of a success, against the base model of the same run.
        controls: at most so many re-trainings of the control for each target.

    Raises:
        ValueError: ``controls`` or ``allowed`` is negative.

    Hong et al. 2020, sections 6.3 and 6.5; targets, first success and the accuracy of the run's own base are those of
    its released code, whose published numbers of the filtered kind were made by hand.
    """

    targets: Targets
    start: Retrained = field(default=PAPERS_START)
    counted: Counted = Counted.ANY_EPOCH
    allowed: float = 0.05
    controls: int = 10

    def __post_init__(self) -> None:
        _validate.finite_non_negative(allowed=self.allowed, controls=self.controls)

    @property
    def label(self) -> str:
        return aims.label("one_shot", self.targets, self.start, self.counted, self.allowed)

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the defence cannot be used on this data, the attack does not aim at single targets or its rows
                work together only, or the base model classifies no target correctly.
        """
        check_single(case, self.label)
        check_defense(case, dataset)
        found = yield from aiming(case, dataset, device, self.start, self.targets)
        retraining = Retraining(case, dataset, device, self.start, self.counted, self.allowed)
        attack = yield from _shots(retraining, found.aims, lambda aim: len(aim.poison), clean=False)
        tried = {id(aim): len(attack.of[id(aim)]) for aim in found.aims}
        control = yield from _shots(retraining, found.aims, lambda aim: min(tried[id(aim)], self.controls), clean=True)
        metrics, details = aims.outcome(case, dataset, retraining, found, attack.of, control.of)
        details["tries"] = sum(tried.values())
        details["control_tries"] = sum(map(len, control.of.values()))
        details["winners"] = _winners(found, attack.of)
        metrics |= aims.removed(attack.rounds, len(dataset.train))
        timed: dict[str, Sequence[Job]] = {
            "crafting": found.crafting,
            "filtering": [job for done in attack.rounds for job in done.filters],
            "training": [job for done in attack.rounds for job in done.trainings],
        }
        return Measurement(metrics, details, timed)


def check_single(case: Subject, protocol: str) -> None:
    """Raise ``ValueError`` if a single row of the case's attack is no attack."""
    if isinstance(case.attack, TargetedAttack) and case.attack.joint:
        raise ValueError(
            f"attack {case.attack.label!r}: its rows work together only, and {protocol} takes one at a time: use "
            "MultiPoison"
        )


@dataclass(frozen=True, eq=False)
class _Shots:
    """All that was tried: for each target (by identity) the outcomes in order, and the rounds."""

    of: Mapping[int, list[Success]]
    rounds: Sequence[Round]


def _shots(retraining: Retraining, targets: Sequence[Aim], most: Callable[[Aim], int], *, clean: bool) -> Part[_Shots]:
    """Try the rows of every target one by one, until one succeeds or ``most(aim)`` are tried."""
    of: dict[int, list[Success]] = {id(aim): [] for aim in targets}
    rounds: list[Round] = []
    at_once = 1
    while True:
        tries: list[tuple[Aim, int]] = []
        for aim in targets:
            done = of[id(aim)]
            if not any(success.filtered for success in done):
                tries += [(aim, place) for place in range(len(done), min(len(done) + at_once, most(aim)))]
        if not tries:
            return _Shots(of, rounds)
        done_now = yield from retraining.run(
            [aim for aim, _ in tries],
            [rows_of(aim, [place], clean=clean) for aim, place in tries],
            [f"{'clean' if clean else 'poison'} {place}" for _, place in tries],
        )
        rounds.append(done_now)
        for (aim, _), success in zip(tries, done_now.successes, strict=True):
            of[id(aim)].append(success)
        at_once *= 2


def _winners(found: Aiming, of: Mapping[int, list[Success]]) -> list[list[Any]]:
    """Of each target that was won: seed, row, class, wanted class, place of the poison, epoch."""
    winners = []
    for aim in found.aims:
        for place, success in enumerate(of[id(aim)]):
            if success.filtered:
                label, wanted = int(aim.target.y), int(aim.wanted)
                winners.append([aim.base.seed, aim.row, label, wanted, place, success.epoch])
                break
    return winners

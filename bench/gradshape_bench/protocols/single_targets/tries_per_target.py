"""Re-trainings for single targets, one after another until one succeeds, and the same ones with clean rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from gradshape.attacks import PoisonSet
from gradshape.data import Split
from gradshape_bench.protocols.base import Part
from gradshape_bench.protocols.base_models import Base
from gradshape_bench.protocols.single_targets.poisoned_targets import PoisonedTarget
from gradshape_bench.protocols.single_targets.retraining import PlannedRun, Retraining, Round, Success


@dataclass(frozen=True)
class Try:
    """One re-training for a target.

    Attributes:
        name: among those of its target; with target and seed it names the random numbers of a try with poison.
        places: of its rows among those that there are for the target.
    """

    name: str
    places: Sequence[int]


TriesFor = Callable[[PoisonedTarget], Sequence[Try]]


@dataclass(frozen=True, eq=False)
class Tries:
    """What was tried against some targets.

    Attributes:
        outcomes: for each target its tries in order and what became of them, up to the first that won it. What
            ran beside that one in the same round does not count, so that the size of rounds changes nothing.
        rounds: the re-trainings.
    """

    outcomes: Mapping[PoisonedTarget, Sequence[tuple[Try, Success]]]
    rounds: Sequence[Round]

    def __len__(self) -> int:
        return sum(map(len, self.outcomes.values()))

    def successes(self, target: PoisonedTarget) -> list[Success]:
        """Return what became of the tries against a target."""
        return [success for _, success in self.outcomes[target]]

    def winner(self, target: PoisonedTarget) -> tuple[Try, Success] | None:
        """Return the try that won a target within the accuracy that it may cost; ``None`` if none did."""
        return next((each for each in self.outcomes[target] if each[1].won), None)

    def won(self, target: PoisonedTarget) -> bool:
        """Say whether a try won a target within the accuracy that it may cost."""
        return self.winner(target) is not None

    def won_raw(self, target: PoisonedTarget) -> bool:
        """Say whether a try won a target, whatever accuracy it cost."""
        return any(success.won_raw for success in self.successes(target))


def until_won(
    retraining: Retraining, targets: Sequence[PoisonedTarget], tries_for: TriesFor, *, at_once: int
) -> Part[Tries]:
    """Try the poison of every target in turn, until something wins it.

    Args:
        retraining: how.
        targets: what is attacked.
        tries_for: of a target, what is tried, in order.
        at_once: tries of a target in the first round; each later round has as many as were made before it.
    """
    planned = {target: tries_for(target) for target in targets}
    made: dict[PoisonedTarget, list[tuple[Try, Success]]] = {target: [] for target in targets}
    rounds: list[Round] = []
    most = at_once
    while True:
        pending = [
            (target, one)
            for target in targets
            if not any(success.won for _, success in made[target])
            for one in planned[target][len(made[target]) : most]
        ]
        if not pending:
            return Tries({target: _up_to_success(done) for target, done in made.items()}, rounds)
        done = yield from retraining.run(
            [
                PlannedRun([target], target.poison.select(torch.tensor(list(one.places))), (target.row, one.name))
                for target, one in pending
            ]
        )
        rounds.append(done)
        for (target, one), [success] in zip(pending, done.successes, strict=True):
            made[target].append((one, success))
        most *= 2


def with_clean_rows(retraining: Retraining, targets: Sequence[PoisonedTarget], tries_for: TriesFor) -> Part[Tries]:
    """Make the same tries, as a control, with the clean rows that the poison was made from in its place.

    It has every try that the attack may have, and ends as that does: with no more tries than the attack needed, it
    would have fewer chances. Nothing in such a re-training is made for a target, so that those of several targets with
    the same rows are one, watched for all of them (unless a defence is asked that knows the target).

    Args:
        retraining: how.
        targets: what is attacked.
        tries_for: of a target, what is tried, in order.
    """
    lab = retraining.lab
    planned = {target: _clean_runs(target, tries_for(target), lab.case.defense.filters) for target in targets}
    watched: dict[_Clean, dict[PoisonedTarget, None]] = {}
    for target, tries in planned.items():
        for _, clean in tries:
            watched.setdefault(clean, {})[target] = None
    done = yield from retraining.run(
        [clean.run(list(watching), lab.dataset.test) for clean, watching in watched.items()]
    )
    became = {
        (clean, target): success
        for (clean, watching), successes in zip(watched.items(), done.successes, strict=True)
        for target, success in zip(watching, successes, strict=True)
    }
    outcomes = {target: [(one, became[clean, target]) for one, clean in tries] for target, tries in planned.items()}
    return Tries({target: _up_to_success(tries) for target, tries in outcomes.items()}, [done])


@dataclass(frozen=True)
class _Clean:
    """What makes two re-trainings with clean rows the same one.

    Attributes:
        base: what is trained further.
        rows: ids of test rows.
        again: how many tries before it for the same target have the same rows.
        known_to_filter: the target, where a defence is asked that may know it.
    """

    base: Base
    rows: tuple[int, ...]
    again: int
    known_to_filter: PoisonedTarget | None

    def run(self, targets: Sequence[PoisonedTarget], test: Split) -> PlannedRun:
        """Return the re-training, watched for these targets, with its rows from ``test``."""
        ids = list(self.rows)
        return PlannedRun(targets, PoisonSet.added(test.x[ids], test.y[ids]), ("clean rows", *ids, "again", self.again))


def _clean_runs(target: PoisonedTarget, tries: Sequence[Try], filtered: bool) -> list[tuple[Try, _Clean]]:
    assert target.poison.aims is not None
    planned: list[tuple[Try, _Clean]] = []
    seen: Counter[tuple[int, ...]] = Counter()
    for one in tries:
        rows = tuple(target.poison.aims.base[list(one.places)].tolist())
        planned.append((one, _Clean(target.base, rows, seen[rows], target if filtered else None)))
        seen[rows] += 1
    return planned


def _up_to_success(tries: Sequence[tuple[Try, Success]]) -> list[tuple[Try, Success]]:
    first = next((number for number, (_, success) in enumerate(tries) if success.won), len(tries))
    return list(tries[: first + 1])

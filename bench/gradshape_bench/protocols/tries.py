"""Re-trainings for single targets, one after another until one succeeds, and the same ones with clean rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from gradshape.attacks import PoisonSet
from gradshape.data import Split
from gradshape_bench.jobs import AnyJob
from gradshape_bench.protocols.aiming import Aim, Retraining, Round, Run, Success
from gradshape_bench.protocols.bases import Base, Part


@dataclass(frozen=True)
class Try:
    """One re-training for a target.

    Attributes:
        name: among those of its target; with target and seed it names the random numbers of a try with poison.
        places: of its rows among those that there are for the target.
    """

    name: str
    places: Sequence[int]


@dataclass(frozen=True, eq=False)
class Tries:
    """What was tried against some targets.

    Attributes:
        of: for each target its tries in order and what became of them, up to the first that won it. What
            ran beside that one in the same round does not count, so that the size of rounds changes nothing.
        rounds: the re-trainings.
    """

    of: Mapping[Aim, Sequence[tuple[Try, Success]]]
    rounds: Sequence[Round]

    def __len__(self) -> int:
        return sum(map(len, self.of.values()))

    def successes(self, aim: Aim) -> list[Success]:
        """What became of the tries against a target."""
        return [success for _, success in self.of[aim]]

    def first(self, aim: Aim) -> tuple[Try, Success] | None:
        """The try that won a target, within the accuracy that it may cost; ``None`` if none did."""
        return next((each for each in self.of[aim] if each[1].filtered), None)

    def timed(self, crafting: Sequence[AnyJob]) -> dict[str, Sequence[AnyJob]]:
        """The jobs by what they do, with those that made the poison."""
        return {
            "crafting": crafting,
            "filtering": [job for done in self.rounds for job in done.filters],
            "training": [job for done in self.rounds for job in done.trainings],
        }


def until_won(
    retraining: Retraining, aims: Sequence[Aim], tries_for: Callable[[Aim], Sequence[Try]], *, at_once: int
) -> Part[Tries]:
    """Try the poison of every target in turn, until something wins it.

    Args:
        retraining: how.
        aims: targets.
        tries_for: of a target, what is tried, in order.
        at_once: tries of a target in the first round; each later round has as many as were made before it.
    """
    planned = {aim: tries_for(aim) for aim in aims}
    of: dict[Aim, list[tuple[Try, Success]]] = {aim: [] for aim in aims}
    rounds: list[Round] = []
    most = at_once
    while True:
        pending = [
            (aim, one)
            for aim in aims
            if not any(success.filtered for _, success in of[aim])
            for one in planned[aim][len(of[aim]) : most]
        ]
        if not pending:
            return Tries({aim: _up_to_success(done) for aim, done in of.items()}, rounds)
        done = yield from retraining.run(
            [Run([aim], aim.poison.select(torch.tensor(list(one.places))), (aim.row, one.name)) for aim, one in pending]
        )
        rounds.append(done)
        for (aim, one), [success] in zip(pending, done.successes, strict=True):
            of[aim].append((one, success))
        most *= 2


def with_clean_rows(
    retraining: Retraining, aims: Sequence[Aim], tries_for: Callable[[Aim], Sequence[Try]]
) -> Part[Tries]:
    """The control: the same tries with the clean rows that the poison was made from in its place.

    It has every try that the attack may have, and ends as that does: with no more tries than the attack needed, it
    would have fewer chances. Nothing in such a re-training is made for a target, so that those of several targets with
    the same rows are one, watched for all of them (unless a defence is asked that knows the target).

    Args:
        retraining: how.
        aims: targets.
        tries_for: of a target, what is tried, in order.
    """
    planned = {aim: _clean_runs(aim, tries_for(aim), asks=retraining.asks) for aim in aims}
    watched: dict[_Clean, dict[Aim, None]] = {}
    for aim, tries in planned.items():
        for _, clean in tries:
            watched.setdefault(clean, {})[aim] = None
    done = yield from retraining.run([clean.run(list(of), retraining.dataset.test) for clean, of in watched.items()])
    became = {
        (clean, aim): success
        for (clean, of), successes in zip(watched.items(), done.successes, strict=True)
        for aim, success in zip(of, successes, strict=True)
    }
    of_aims = {aim: [(one, became[clean, aim]) for one, clean in tries] for aim, tries in planned.items()}
    return Tries({aim: _up_to_success(of) for aim, of in of_aims.items()}, [done])


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
    known_to_filter: Aim | None

    def run(self, aims: Sequence[Aim], test: Split) -> Run:
        """The re-training, watched for these targets; its rows are from ``test``."""
        ids = list(self.rows)
        return Run(aims, PoisonSet.added(test.x[ids], test.y[ids]), ("clean rows", *ids, "again", self.again))


def _clean_runs(aim: Aim, tries: Sequence[Try], *, asks: bool) -> list[tuple[Try, _Clean]]:
    assert aim.poison.aims is not None
    planned: list[tuple[Try, _Clean]] = []
    seen: Counter[tuple[int, ...]] = Counter()
    for one in tries:
        rows = tuple(aim.poison.aims.base[list(one.places)].tolist())
        planned.append((one, _Clean(aim.base, rows, seen[rows], aim if asks else None)))
        seen[rows] += 1
    return planned


def _up_to_success(tries: Sequence[tuple[Try, Success]]) -> list[tuple[Try, Success]]:
    first = next((number for number, (_, success) in enumerate(tries) if success.filtered), len(tries))
    return list(tries[: first + 1])

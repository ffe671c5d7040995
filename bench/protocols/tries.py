"""Re-trainings for single targets, one after another until one succeeds, and the same ones with clean rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from bench.jobs import Job
from bench.protocols.aiming import Aim, Retraining, Round, Success
from bench.protocols.bases import Part
from gradshape.attacks import PoisonSet


@dataclass(frozen=True)
class Try:
    """One re-training for a target.

    Attributes:
        name: among those of its target; with target and seed it names the random numbers.
        places: of its rows among those that there are for the target.
    """

    name: str
    places: Sequence[int]


@dataclass(frozen=True, eq=False)
class Tries:
    """All that was tried.

    Attributes:
        made: for each target (by identity) its tries, in order.
        of: what became of them.
        rounds: the re-trainings.
    """

    made: Mapping[int, Sequence[Try]]
    of: Mapping[int, Sequence[Success]]
    rounds: Sequence[Round]

    def __len__(self) -> int:
        return sum(map(len, self.of.values()))

    def first(self, aim: Aim) -> tuple[Try, Success] | None:
        """The first try that won a target, within the accuracy that it may cost; ``None`` if none did."""
        tried = zip(self.made[id(aim)], self.of[id(aim)], strict=True)
        return next((each for each in tried if each[1].filtered), None)

    def timed(self, crafting: Sequence[Job]) -> dict[str, Sequence[Job]]:
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
    planned = {id(aim): tries_for(aim) for aim in aims}
    of: dict[int, list[Success]] = {id(aim): [] for aim in aims}
    rounds: list[Round] = []
    most = at_once
    while True:
        pending = [
            (aim, one)
            for aim in aims
            if not any(success.filtered for success in of[id(aim)])
            for one in planned[id(aim)][len(of[id(aim)]) : most]
        ]
        if not pending:
            return Tries({key: planned[key][: len(done)] for key, done in of.items()}, of, rounds)
        rounds.append((yield from _round(retraining, pending, of, clean=False)))
        most *= 2


def with_clean_rows(retraining: Retraining, aims: Sequence[Aim], tries: Tries) -> Part[Tries]:
    """The control of what was tried: as many re-trainings for each target, with clean rows in the poison's places."""
    of: dict[int, list[Success]] = {id(aim): [] for aim in aims}
    again = [(aim, one) for aim in aims for one in tries.made[id(aim)]]
    done = yield from _round(retraining, again, of, clean=True)
    return Tries(tries.made, of, [done])


def _round(
    retraining: Retraining, tries: Sequence[tuple[Aim, Try]], of: Mapping[int, list[Success]], *, clean: bool
) -> Part[Round]:
    done = yield from retraining.run(
        [aim for aim, _ in tries],
        [_rows(aim, one.places, clean=clean) for aim, one in tries],
        [f"clean {one.name}" if clean else one.name for _, one in tries],
    )
    for (aim, _), success in zip(tries, done.successes, strict=True):
        of[id(aim)].append(success)
    return done


def _rows(aim: Aim, places: Sequence[int], *, clean: bool) -> PoisonSet:
    """The poison rows at these places, or the clean ones in their place."""
    index = torch.tensor(list(places))
    if not clean:
        return aim.poison.select(index)
    return PoisonSet.added(aim.clean.x[index], aim.clean.y[index])

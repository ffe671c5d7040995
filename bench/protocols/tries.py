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

    def timed(self, crafting: Sequence[Job]) -> dict[str, Sequence[Job]]:
        """The jobs by what they do, with those that made the poison."""
        return {
            "crafting": crafting,
            "filtering": [job for done in self.rounds for job in done.filters],
            "training": [job for done in self.rounds for job in done.trainings],
        }


def until_won(
    retraining: Retraining,
    aims: Sequence[Aim],
    tries_for: Callable[[Aim], Sequence[Try]],
    *,
    at_once: int,
    clean: bool = False,
) -> Part[Tries]:
    """Try the poison of every target in turn, until something wins it.

    Args:
        retraining: how.
        aims: targets.
        tries_for: of a target, what is tried, in order.
        at_once: tries of a target in the first round; each later round has as many as were made before it.
        clean: whether clean rows take the poison's places, for the control. It has every try that the attack may have,
            and ends as that does: with no more tries than the attack needed, it would have fewer chances.
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
            [aim for aim, _ in pending],
            [_rows(aim, one.places, clean=clean) for aim, one in pending],
            [f"clean {one.name}" if clean else one.name for _, one in pending],
        )
        rounds.append(done)
        for (aim, one), success in zip(pending, done.successes, strict=True):
            of[aim].append((one, success))
        most *= 2


def _up_to_success(tries: Sequence[tuple[Try, Success]]) -> list[tuple[Try, Success]]:
    first = next((number for number, (_, success) in enumerate(tries) if success.filtered), len(tries))
    return list(tries[: first + 1])


def _rows(aim: Aim, places: Sequence[int], *, clean: bool) -> PoisonSet:
    """The poison rows at these places, or the clean ones in their place."""
    index = torch.tensor(list(places))
    if not clean:
        return aim.poison.select(index)
    return PoisonSet.added(aim.clean.x[index], aim.clean.y[index])

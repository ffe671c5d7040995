"""The loop over the epochs of a stack, the same for all families."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from gradshape.training._curves import Curves
from gradshape.training.family import Learned, Stack
from gradshape.training.victim import Scoring, TrainingResult, Victim


def train_stack(
    victims: Sequence[Victim],
    stack: Stack,
    after_epoch: Callable[[int, int], None],
    *,
    taken: Callable[[Learned], Learned],
) -> list[TrainingResult]:
    """Train ``victims``, which are in ``stack`` in this order. Those that are done leave it.

    All of them have the same number of epochs and the same scoring. ``after_epoch`` is called with the number of epochs
    done and with the number of victims that go on. ``taken`` makes the library's own of what a victim has learned.
    """
    curves, epochs, scoring = Curves(victims), victims[0].recipe.epochs, victims[0].scoring
    results: dict[int, TrainingResult] = {}
    # The victims that are still trained, in the order of their places.
    members = list(range(len(victims)))
    for epoch in range(epochs):
        stack.train(epoch)
        everyone = list(range(len(members)))
        done = curves.end_epoch(members, stack.watched())
        done = everyone if epoch + 1 == epochs else done
        scored = everyone if scoring is Scoring.EVERY_EPOCH else done
        if scored:
            better = curves.score([members[place] for place in scored], stack.score(scored))
            stack.remember([scored[place] for place in better])
        for place in done:
            learned = taken(stack.learned(place))
            found = {field.name: getattr(learned, field.name) for field in fields(learned)}
            results[members[place]] = replace(curves.result(members[place]), **found)
        gone = set(done)
        going = [place for place in everyone if place not in gone]
        after_epoch(epoch + 1, len(going))
        if not going:
            break
        if done:
            stack.keep(going)
            members = [members[place] for place in going]
    return [results[k] for k in range(len(victims))]

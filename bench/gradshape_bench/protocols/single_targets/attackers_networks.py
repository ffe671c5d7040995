"""The networks that an attacker trains to craft poison on."""

from collections.abc import Sequence

from gradshape import _seeds
from gradshape.training import Recipe
from gradshape_bench.protocols.groups import Trainings
from gradshape_bench.protocols.lab import Lab


def attackers_networks(lab: Lab, recipes: Sequence[Recipe]) -> Trainings:
    """Return their trainings, on clean rows: all of the first seed, then all of the second, and so on."""
    groups = [
        lab.train_unfiltered(
            recipe, seeds=[_seeds.derive(seed, "substitute", place) for seed in lab.case.seeds], keep_states=True
        )
        for place, recipe in enumerate(recipes)
    ]
    return Trainings([group.jobs[place] for place in range(len(lab.case.seeds)) for group in groups])

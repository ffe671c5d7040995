"""By how much a metric of a case got worse: in pairs of seeds or trials where that is possible, else unpaired."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from gradshape_bench.gate.differences import (
    Difference,
    paired_seeds,
    paired_trials,
    unpaired_rates,
    unpaired_seeds,
)
from gradshape_bench.gate.rules import Rule
from gradshape_bench.gate.snapshot import Sample, Snapshot

# Of a metric that is no share of rows: what part of its value counts as the smallest difference that it can show.
_STEP = 0.01
Side = TypeVar("Side")


def worsening(rule: Rule, old: Snapshot, new: Snapshot, before: Sample, after: Sample) -> Difference:
    """Return by how much a metric got worse."""
    if before.of_trials and after.of_trials:
        pairs = _trials_in_pairs(old, new, before, after)
        if pairs is not None:
            return paired_trials(*_oriented(rule, *pairs))
        sides = _oriented(rule, before, after)
        return unpaired_rates(sides[0].value, sides[1].value, trials=(sides[0].n, sides[1].n))
    step = max(before.step or _STEP * abs(before.value), after.step or _STEP * abs(after.value))
    own, others = _by_seed(old, before), _by_seed(new, after)
    common = [seed for seed in own if seed in others]
    if len(common) > 1 or (common and len(own) == len(others) == 1):
        sides_by_seed = _oriented(rule, [own[seed] for seed in common], [others[seed] for seed in common])
        return paired_seeds(*sides_by_seed, step=step)
    return unpaired_seeds(*_oriented(rule, before.values or (before.value,), after.values or (after.value,)), step=step)


def _oriented(rule: Rule, before: Side, after: Side) -> tuple[Side, Side]:
    """Return the two sides so that the second less the first is what got worse."""
    return (before, after) if rule.lower_is_better else (after, before)


def _by_seed(snapshot: Snapshot, sample: Sample) -> Mapping[int, float]:
    """Return the values by seed; none if some seed has none, or several, as it cannot be told which."""
    if not len(sample.values) == len(snapshot.seeds) == len(set(snapshot.seeds)):
        return {}
    return dict(zip(snapshot.seeds, sample.values, strict=True))


def _trials_in_pairs(
    old: Snapshot, new: Snapshot, before: Sample, after: Sample
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return the outcomes of the trials of both, in one order; ``None`` if they are not known to be the same trials."""
    if old.trials is None or new.trials is None or set(old.trials) != set(new.trials):
        return None
    if not len(old.trials) == len(before.values) == len(after.values):
        return None
    later = dict(zip(new.trials, after.values, strict=True))
    return before.values, [later[trial] for trial in old.trials]

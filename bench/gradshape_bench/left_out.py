"""Combinations of a matrix that are no cases, because their parts do not go together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gradshape import data
from gradshape.attacks import Attack
from gradshape.defenses import Defense
from gradshape_bench.case import Scale, Task
from gradshape_bench.protocols import Protocol
from gradshape_bench.protocols.refusal import refusal

# Of a reason's combinations, as many are named unless all are asked for.
_NAMED = 1


@dataclass(frozen=True)
class LeftOut:
    """A combination that is left out.

    Attributes:
        name: what the case would be called.
        reason: why it is no case.
    """

    name: str
    reason: str


def known_classes(task: Task) -> int | None:
    """Return the number of classes of a task, 0 for regression; ``None`` if only loading its data will tell."""
    try:
        return data.info(task.dataset).num_classes
    except ValueError:
        # It may be registered until the case runs; if not, the case says so.
        return None


def attack_refused(task: Task, attack: Attack, protocol: Protocol, scale: Scale) -> str | None:
    """Return why an attack is none for a task or an experiment, as far as it can be told without data."""
    classes = known_classes(task)
    reason = None if classes is None else attack.threat.refuses(classes)
    return reason or refusal(protocol, attack, task.recipe_at(scale))


def defense_refused(task: Task, defense: Defense, scale: Scale) -> str | None:
    """Return why a defence is none for a task, as far as it can be told without data."""
    return defense.refuses(task.recipe_at(scale), num_classes=known_classes(task))


def describe(left_out: Sequence[LeftOut], *, every_name: bool = False) -> list[str]:
    """Say how many combinations are left out and why, a line a reason; no line if there are none.

    Args:
        left_out: the combinations.
        every_name: whether all are named, instead of the first of each reason.

    >>> print(*describe([LeftOut(f"digits-svm-{attack}-dp", "svm has no steps") for attack in "ab"]), sep="\\n")
    2 combinations do not apply and are left out (-v lists them):
      2: svm has no steps (such as digits-svm-a-dp)
    """
    if not left_out:
        return []
    names: defaultdict[str, list[str]] = defaultdict(list)
    for one in left_out:
        names[one.reason].append(one.name)
    noun = "combination does not apply and is" if len(left_out) == 1 else "combinations do not apply and are"
    lines = [f"{len(left_out)} {noun} left out{'' if every_name else ' (-v lists them)'}:"]
    for reason, named in sorted(names.items(), key=lambda item: (-len(item[1]), item[0])):
        if every_name:
            lines += [f"  {len(named)}: {reason}", *(f"    {name}" for name in named)]
        else:
            lines.append(f"  {len(named)}: {reason} ({'such as ' * (len(named) > _NAMED)}{named[0]})")
    return lines

"""Checks that the axes of a matrix hold what they should, in words for whoever writes their first one."""

from collections.abc import Iterable

from gradshape.attacks import Attack
from gradshape.defenses import Defense
from gradshape.shaping import FixedNoise, LearnedNoise, SampleWeights, Shaper


def check_parts(name: str, parts: object, kind: type) -> None:
    """Raise ``TypeError`` unless ``parts`` is a list of objects of ``kind``.

    >>> from gradshape.attacks import NoAttack
    >>> check_parts("attacks", [NoAttack()], Attack)
    >>> check_parts("attacks", NoAttack(), Attack)
    Traceback (most recent call last):
    TypeError: attacks=NoAttack(): expected a list of them: [NoAttack()]
    """
    if isinstance(parts, kind):
        raise TypeError(f"{name}={parts!r}: expected a list of them: [{parts!r}]")
    if isinstance(parts, str) or not isinstance(parts, Iterable):
        raise TypeError(f"{name}={parts!r}: expected a list of {kind.__name__} objects")
    for part in parts:
        if not isinstance(part, kind):
            raise TypeError(f"{name}: {_shown(part)}: expected an object of {kind.__name__}{_instead(part, kind)}")


def _shown(part: object) -> str:
    return f"the class {part.__name__}" if isinstance(part, type) else repr(part)


def _instead(part: object, kind: type) -> str:
    """Say what to write in place of what is no such part."""
    if isinstance(part, type):
        return f", not the class itself: {part.__name__}(...)"
    if kind is Defense and isinstance(part, Shaper | SampleWeights | FixedNoise | LearnedNoise):
        return ": GradientShaping(...) makes one of a shaper"
    if part is None and kind is Attack:
        return ": NoAttack() is none"
    if part is None and kind is Defense:
        return ": NoDefense() is none"
    return ""

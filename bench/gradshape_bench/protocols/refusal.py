"""What an experiment says of attacks and recipes that it is not made for, before any data is there."""

from gradshape.attacks import Attack, TargetedAttack
from gradshape.training import AnyRecipe


def refusal(protocol: object, attack: Attack, recipe: AnyRecipe) -> str | None:
    """Return why an experiment cannot be made with an attack on victims by a recipe; ``None`` if it can.

    A protocol may have a method ``refuses(attack, recipe)`` that says so. What depends on the data it finds out as it
    runs, and raises :class:`gradshape.unsuitable.Unsuitable`.
    """
    refuses = getattr(protocol, "refuses", None)
    reason: str | None = None if refuses is None else refuses(attack, recipe)
    return reason


def aims_at_targets(attack: Attack, protocol: str) -> str | None:
    """Return why an experiment without targets is none for ``attack``; ``None`` if it needs no targets."""
    if not isinstance(attack, TargetedAttack):
        return None
    return f"attack {attack.label!r} aims at single targets, and {protocol} has none: use OneShot or MultiPoison"


def has_no_trigger(attack: Attack, protocol: str) -> str | None:
    """Return why an experiment on back doors is none for ``attack``; ``None`` if it has a trigger."""
    if attack.claimed_class is not None:
        return None
    return f"attack {attack.label!r} has no trigger: {protocol} needs one, such as that of BadNetsPatch"

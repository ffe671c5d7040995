"""Contract kits: the checks that this library's own attacks, defences, shapers and families pass, for those of users.

Each kit is two functions. ``check_attack(attack)`` checks everything and raises :class:`BrokenPromise`, which names the
promise that is broken and the value that breaks it. ``attack_checks(attack)`` lists the same checks one by one, so
that each promise is a test of its own::

    @pytest.mark.parametrize("check", attack_checks(Invert(0.1)), ids=str)
    def test_invert_keeps_its_promises(check: Check) -> None:
        check()

A kit is one module. Its ``PROMISES`` are functions that are named by what they promise, look at one trial of the
object, and ``demand`` what has to hold; ``promise`` has those that objects of several kinds make. A kit for another
seam is one more module of this form.
"""

from gradshape.testing.attack import attack_checks, check_attack
from gradshape.testing.defense import check_defense, defense_checks
from gradshape.testing.family import check_family, family_checks
from gradshape.testing.promise import BrokenPromise, Check
from gradshape.testing.shaper import check_shaper, shaper_checks

__all__ = [
    "BrokenPromise",
    "Check",
    "attack_checks",
    "check_attack",
    "check_defense",
    "check_family",
    "check_shaper",
    "defense_checks",
    "family_checks",
    "shaper_checks",
]

"""The attack, the defence and the shaper keep the promises that the library's own keep, one test each."""

import pytest
from mirror import Mirror
from nearest_mean import NearestMean
from rings import rings
from square_root import SquareRoot

from gradshape.testing import Check, attack_checks, defense_checks, shaper_checks

CHECKS = [
    *attack_checks(Mirror(0.1)),
    *attack_checks(Mirror(0.1), dataset=rings()),
    *defense_checks(NearestMean(0.1)),
    *shaper_checks(SquareRoot(1.0)),
]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_promise(check: Check) -> None:
    check()

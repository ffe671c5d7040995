"""What is on an axis of a matrix and is no such part is explained before anything is collected."""

from dataclasses import replace
from typing import Any

import pytest

from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import Adam, Recipe
from gradshape_bench import Matrix, Sized, Task, Threshold, benchmark_cases

TASK = Task("two_moons", Recipe("lr", Adam(0.1), batch_size=32, epochs=1))
MATRIX = Matrix([TASK], [LabelFlip(0.1)], [NoDefense()], thresholds=[Threshold("rad", "<", 1)])


@pytest.mark.parametrize(
    ("axis", "given", "told"),
    [
        ("tasks", TASK, r"^tasks=Task\(.*expected a list of them"),
        ("tasks", "digits", "^tasks='digits': expected a list of Task objects"),
        ("tasks", ["digits"], "^tasks: 'digits': expected an object of Task"),
        ("attacks", LabelFlip(0.1), r"^attacks=LabelFlip\(.*expected a list of them"),
        ("attacks", [LabelFlip], r"^attacks: the class LabelFlip: .*not the class itself: LabelFlip\(...\)"),
        ("attacks", [None], r"^attacks: None: .*NoAttack\(\) is none"),
        ("attacks", 3, "^attacks=3: expected a list of Attack objects"),
        ("defenses", [None], r"^defenses: None: .*NoDefense\(\) is none"),
        ("defenses", [Clip(4.0)], r"^defenses: Clip\(.*GradientShaping\(...\) makes one"),
        ("defenses", [Clip(4.0) | Noise(1.0)], r"^defenses: Shaper\(.*GradientShaping\(...\) makes one"),
        ("defenses", [LabelFlip(0.1)], r"^defenses: LabelFlip\(.*: expected an object of Defense$"),
        ("defenses", GradientShaping(Clip(1)), r"^defenses=GradientShaping.*expected a list of them"),
        ("thresholds", Threshold("rad", "<", 1), "^thresholds=Threshold.*expected a list of them"),
        ("thresholds", ["rad < 1"], "^thresholds: 'rad < 1': expected an object of Threshold"),
    ],
)
def test_what_is_no_such_part_is_explained(axis: str, given: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        replace(MATRIX, **{axis: given})
    sized: dict[str, Any] = {axis: Sized(smoke=getattr(MATRIX, axis), paper=given)}
    with pytest.raises(TypeError, match=told):
        replace(MATRIX, **sized)


def test_what_is_no_matrix_is_explained() -> None:
    with pytest.raises(TypeError, match=r"^matrices: Task\(.*expected an object of Matrix"):
        benchmark_cases(TASK)  # type: ignore[arg-type]

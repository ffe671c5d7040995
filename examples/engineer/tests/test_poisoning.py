"""How much accuracy an attacker who may write a part of the training rows can take."""

from pumps.readings import HIGHEST, LOWEST, draw
from pumps.training import brief, clipped, filtered

from gradshape.attacks import LabelContamination, LabelFlip
from gradshape.data import from_rows
from gradshape.defenses import NoDefense
from gradshape.training import Adam, Fit, Recipe
from gradshape_bench import CaseOutcome, Matrix, Task, Threshold, benchmark_cases

ROWS = from_rows(draw(300, seed=0), draw(600, seed=1), name="pumps", value_range=(LOWEST, HIGHEST))
# Poison that is optimised needs a model to be optimised against, and nobody sees into a function.
SURROGATE = Recipe("lr", Adam(0.01), batch_size=32, epochs=20)
TASKS = [Task(ROWS, Fit(train), surrogate=SURROGATE) for train in (clipped, filtered, brief)]
HOLDS = [Threshold("rad", "<", 0.07), Threshold("accuracy_clean", ">", 0.85)]


@benchmark_cases(Matrix(TASKS, [LabelFlip(0.4), LabelContamination(0.1)], [NoDefense()], thresholds=HOLDS))
def test_poisoning(outcome: CaseOutcome) -> None:
    outcome.check()

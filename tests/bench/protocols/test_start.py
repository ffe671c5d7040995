"""Which recipes the two trainings of a re-training have, and what it is called."""

from dataclasses import replace
from typing import Any

import pytest

from gradshape.attacks import NoAttack
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import SGD, Adam, Fit, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.protocols import By, Retrained, Scratch

VANILLA = Recipe("lr", Adam(0.04), batch_size=10, epochs=7)
DEFENSE = GradientShaping(Clip(4), rate=2)
DEFENDED = DEFENSE.shape(VANILLA)
CASE = Case(Task("digits", VANILLA), NoAttack(), DEFENSE, scale=Scale.PAPER, seeds=(0,))
OF = {By.VANILLA: VANILLA, By.DEFENDED: DEFENDED}


@pytest.mark.parametrize("again", By)
@pytest.mark.parametrize("base", By)
def test_each_training_is_by_the_recipe_that_is_named_for_it(base: By, again: By) -> None:
    first, second = Retrained(epochs=3, base=base, again=again).recipes(CASE, "this")
    assert first == OF[base]
    assert second == replace(OF[again], epochs=3)


def test_the_second_training_may_have_an_optimizer_of_its_own() -> None:
    first, second = Retrained(epochs=3, optimizer=SGD(0.1)).recipes(CASE, "this")
    assert (first.optimizer, second.optimizer) == (Adam(0.04), SGD(0.1))


def test_the_same_kind_of_optimizer_is_remembered_whatever_its_rate() -> None:
    first, second = Retrained(base=By.DEFENDED, again=By.VANILLA, remembers=True).recipes(CASE, "this")
    assert (first.optimizer, second.optimizer) == (Adam(0.08), Adam(0.04))


def test_another_kind_of_optimizer_has_nothing_to_remember() -> None:
    with pytest.raises(ValueError, match=r"remembers=True: the base model is trained by Adam.* SGD.* same kind"):
        Retrained(optimizer=SGD(0.1), remembers=True).recipes(CASE, "this")


@pytest.mark.parametrize(
    ("start", "label"),
    [
        (Scratch(), ""),
        (Retrained(), "_retrained"),
        (Retrained(remembers=True), "_retrained_remembering"),
        (Retrained(base=By.VANILLA, again=By.VANILLA), "_vanilla_to_vanilla"),
        (Retrained(base=By.DEFENDED, again=By.VANILLA), "_defended_to_vanilla"),
        (Retrained(base=By.DEFENDED, again=By.DEFENDED, remembers=True), "_defended_to_defended_remembering"),
    ],
)
def test_a_label_tells_what_is_combined(start: Scratch | Retrained, label: str) -> None:
    assert start.label == label


@pytest.mark.parametrize("epochs", [0, -2, 1.5])
def test_epochs_are_a_positive_number(epochs: Any) -> None:
    with pytest.raises(ValueError, match=f"epochs={epochs}"):
        Retrained(epochs=epochs)


def test_an_estimator_cannot_be_trained_further() -> None:
    fitted = replace(CASE, task=Task("digits", Fit("svm_linear")), defense=NoDefense())
    with pytest.raises(ValueError, match="'svm_linear' is fitted by an estimator: this needs a recipe with gradients"):
        Retrained().recipes(fitted, "this")


def test_what_begins_afresh_is_by_the_defended_recipe() -> None:
    assert Scratch().recipes(CASE, "this") == (DEFENDED, DEFENDED)

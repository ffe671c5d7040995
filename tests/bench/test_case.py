import re
from dataclasses import dataclass, field, replace

import pytest

from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Recipe
from gradshape_bench.case import Case, ExpectedFailure, Rows, Scale, Smoke, Task, by_id
from gradshape_bench.protocols import Accuracy, FromScratch
from gradshape_bench.verdict import Threshold

RECIPE = Recipe("lr", Adam(0.01), batch_size=32, epochs=40)
TASK = Task("digits_38", RECIPE, smoke=Smoke(train_rows=100, test_rows=50, epochs=2))
CASE = Case(TASK, LabelFlip(0.4), GradientShaping(Clip(4) | Noise(0.1)), scale=Scale.SMOKE, seeds=(0, 1))


def test_id_reads_well() -> None:
    assert CASE.id == "digits_38-lr-label_flip_40-dp_adam_c4_s0.1"


def test_undefended_case_is_called_vanilla() -> None:
    assert replace(CASE, defense=NoDefense()).id == "digits_38-lr-label_flip_40-vanilla"


def test_variant_tells_two_recipes_apart() -> None:
    assert replace(CASE, task=replace(TASK, variant="sgd")).id == "digits_38-lr_sgd-label_flip_40-dp_adam_c4_s0.1"


def test_protocol_other_than_the_default_is_named() -> None:
    assert replace(CASE, protocol=FromScratch(Accuracy.LAST)).id == f"{CASE.id}-from_scratch_last"


def test_id_of_a_file_has_no_slash() -> None:
    assert replace(CASE, task=replace(TASK, dataset="my/rows.npz")).id.startswith("my_rows.npz-lr-")


def test_id_does_not_depend_on_scale_or_seeds() -> None:
    assert replace(CASE, scale=Scale.PAPER, seeds=(7,)).id == CASE.id


CHANGES = {
    "dataset": {"task": replace(TASK, dataset="digits")},
    "recipe": {"task": replace(TASK, recipe=replace(RECIPE, epochs=41))},
    "optimizer": {"task": replace(TASK, recipe=replace(RECIPE, optimizer=SGD(0.01)))},
    "smoke": {"task": replace(TASK, smoke=Smoke(epochs=3))},
    "variant": {"task": replace(TASK, variant="other")},
    "attack": {"attack": LabelFlip(0.3)},
    "defense": {"defense": NoDefense()},
    "clip": {"defense": GradientShaping(Clip(2) | Noise(0.1))},
    "scale": {"scale": Scale.PAPER},
    "seeds": {"seeds": (0,)},
    "thresholds": {"thresholds": (Threshold("rad", "<", 0.05),)},
    "protocol": {"protocol": FromScratch(Accuracy.LAST)},
    "expected_failure": {"expected_failure": ExpectedFailure("why", "where")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_changes_with_the_definition(change: str) -> None:
    assert replace(CASE, **CHANGES[change]).fingerprint != CASE.fingerprint  # type: ignore[arg-type]


def test_equal_definitions_have_one_fingerprint() -> None:
    again = Case(TASK, LabelFlip(0.4), GradientShaping(Clip(4) | Noise(0.1)), scale=Scale.SMOKE, seeds=(0, 1))
    assert again.fingerprint == CASE.fingerprint
    assert re.fullmatch(r"[0-9a-f]{64}", CASE.fingerprint)


def test_smoke_shrinks_rows_and_epochs() -> None:
    assert CASE.rows == Rows("digits_38", 100, 50)
    assert CASE.vanilla == replace(RECIPE, epochs=2)


def test_paper_scale_is_the_task_itself() -> None:
    paper = replace(CASE, scale=Scale.PAPER)
    assert paper.rows == Rows("digits_38", None, None)
    assert paper.vanilla == RECIPE


def test_smoke_without_limits_shrinks_nothing() -> None:
    assert Task("digits", RECIPE).recipe_at(Scale.SMOKE) == RECIPE


def test_rows_are_loaded_as_limited() -> None:
    dataset = CASE.rows.load(download=False)
    assert (len(dataset.train), len(dataset.test)) == (100, 50)


def test_defended_recipe_is_the_shaped_one() -> None:
    descent = CASE.vanilla
    assert isinstance(descent, Recipe)
    assert CASE.recipe == replace(descent, shaper=Clip(4) | Noise(0.1))


def test_labels_are_those_of_the_id() -> None:
    assert CASE.labels == {
        "dataset": "digits_38",
        "model": "lr",
        "protocol": "from_scratch",
        "attack": "label_flip_40",
        "defense": "dp_adam_c4_s0.1",
    }


def test_scales_are_found_by_name() -> None:
    assert [Scale.parse("smoke"), Scale.parse("paper")] == [Scale.SMOKE, Scale.PAPER]


def test_unknown_scale_lists_near_ones() -> None:
    with pytest.raises(ValueError, match="unknown scale 'smok': did you mean 'smoke'"):
        Scale.parse("smok")


def test_expected_failure_shows_reason_and_source() -> None:
    assert str(ExpectedFailure("noise drowns the signal", "Fig. 4")) == "noise drowns the signal (Fig. 4)"


@dataclass(frozen=True)
class Hidden(LabelFlip):
    """Has a field that it does not compare by."""

    strength: float = field(default=0.0, compare=False)
    name: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        return self.name or f"hidden_{self.strength:g}"


def test_cases_whose_parts_compare_equal_are_two() -> None:
    faint, strong = (replace(CASE, attack=Hidden(0.4, strength=strength)) for strength in (0.0, 1.0))
    assert faint.attack == strong.attack
    assert faint != strong
    assert len({faint, strong, replace(faint)}) == 2
    assert set(by_id([faint, strong])) == {("smoke", faint.id), ("smoke", strong.id)}


def test_two_definitions_of_one_id_are_refused_and_both_named() -> None:
    faint, strong = (replace(CASE, attack=Hidden(0.4, strength=strength, name="one")) for strength in (0.0, 1.0))
    both = r"attack=Hidden\(.*strength=0\.0, name='one'\) and attack=Hidden\(.*strength=1\.0, name='one'\)$"
    with pytest.raises(ValueError, match=f"two different cases are called {faint.id!r}: .*: {both}"):
        by_id([faint, strong])

import math

import pytest
import torch

from gradshape.data import Dataset, Split
from gradshape.defenses import RONI, Calibrated, TargetedRONI, inclusion
from gradshape.defenses.inclusion import TrialLearners, TrustedRows
from gradshape.learners import fit_dual_softmax
from gradshape.training import SGD, Recipe
from tests.defenses.rows import gaussians

RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_by_hand(x: torch.Tensor, y: torch.Tensor, queries: torch.Tensor, *, classes: int) -> torch.Tensor:
    rows, asked = (torch.cat([part.double(), torch.ones(len(part), 1)], dim=1) for part in (x, queries))
    a = fit_dual_softmax(rows @ rows.T, y, num_classes=classes, decay=0.1, tolerance=1e-9)
    return asked @ rows.T @ a


@pytest.mark.parametrize("classes", [2, 4])
def test_learners_are_trained_on_their_base_set_and_one_row_more(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A few rows a chunk.
    monkeypatch.setattr(inclusion, "_CHUNK_ELEMENTS", 3_000)
    clean = gaussians(100, seed=0, features=3, classes=classes)
    rows, asked = gaussians(9, seed=1, features=3, classes=classes), gaussians(6, seed=2, features=3).x
    base = torch.randperm(100, generator=generator())[:30].view(2, 15)
    learners = TrialLearners.on(clean, base, num_classes=classes, decay=0.1)
    queries = asked.double().expand(2, -1, -1)
    chunks = list(learners.logits_with_each(rows.x, rows.y, queries))
    assert len(chunks) > 1
    after, before = torch.cat(chunks), learners.logits(queries)
    for trial in range(2):
        x, y = clean.x[base[trial]], clean.y[base[trial]]
        torch.testing.assert_close(before[trial], logits_by_hand(x, y, asked, classes=classes), atol=1e-4, rtol=0)
        for row in range(9):
            more = torch.cat([x, rows.x[row : row + 1]]), torch.cat([y, rows.y[row : row + 1]])
            expected = logits_by_hand(*more, asked, classes=classes)
            torch.testing.assert_close(after[row, trial], expected, atol=1e-4, rtol=0)


def test_sets_have_no_rows_in_common() -> None:
    y = torch.arange(300) % 3
    trusted = TrustedRows.draw(y, base=20, quiz=30, trials=4, calibration=50, generator=generator())
    assert trusted.base.shape == (4, 20)
    assert trusted.quiz.shape == (4, 30)
    for base, quiz in zip(trusted.base.tolist(), trusted.quiz.tolist(), strict=True):
        assert len({*base, *quiz, *trusted.calibration.tolist()}) == 100


def test_sets_hold_the_classes_in_equal_numbers() -> None:
    y = (torch.arange(400) % 10 == 0).long()
    trusted = TrustedRows.draw(y, base=10, quiz=10, trials=2, calibration=10, generator=generator())
    for rows in (*trusted.base, trusted.calibration):
        assert int(y[rows].sum()) == 5


def test_a_class_with_few_rows_is_taken_as_far_as_it_goes() -> None:
    y = (torch.arange(100) < 2).long()
    trusted = TrustedRows.draw(y, base=10, quiz=10, trials=2, calibration=0, generator=generator())
    assert [int(y[base].sum()) for base in trusted.base] == [2, 2]


def test_trials_share_rows_where_there_are_few() -> None:
    trusted = TrustedRows.draw(torch.arange(12) % 2, base=4, quiz=4, trials=3, calibration=4, generator=generator())
    assert set(trusted.base.flatten().tolist()) | set(trusted.quiz.flatten().tolist()) == set(range(12)) - set(
        trusted.calibration.tolist()
    )


def test_too_few_clean_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"11 clean rows: expected at least base \+ quiz \+ calibration = 12"):
        TrustedRows.draw(torch.arange(11) % 2, base=4, quiz=4, trials=3, calibration=4, generator=generator())


def test_the_threshold_is_deviations_below_the_median() -> None:
    impacts = torch.tensor([0.0, 0.1, 0.2, 0.3, 5.0])
    expected = 0.2 - 2 * float(impacts.double().std())
    assert Calibrated(deviations=2).threshold(impacts) == pytest.approx(expected)


@pytest.mark.parametrize(
    "arguments", [{"rows": 1}, {"rows": 0}, {"deviations": -1.0}, {"deviations": math.inf}], ids=str
)
def test_calibration_out_of_range_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
        Calibrated(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [RONI, TargetedRONI])
@pytest.mark.parametrize(
    "arguments", [{"base": 0}, {"trials": 0}, {"decay": 0.0}, {"threshold": math.nan}, {"threshold": math.inf}], ids=str
)
def test_numbers_out_of_range_are_refused(kind: type, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
        kind(**arguments)


@pytest.mark.parametrize(("kind", "name"), [(RONI, "roni"), (TargetedRONI, "troni")])
def test_the_label_says_what_is_no_default(kind: type, name: str) -> None:
    assert kind().label_for(RECIPE) == name
    assert kind(trials=2, threshold=-0.1).label_for(RECIPE) == f"{name}_trials2_threshold-0.1"
    assert kind(threshold=Calibrated(rows=30)).label_for(RECIPE) == f"{name}_threshold30x3"


def dataset(rows: int, classes: int) -> Dataset:
    split = Split(torch.rand(rows, 2), torch.arange(rows) % classes if classes else torch.rand(rows))
    return Dataset("rows", split, split, num_classes=classes)


@pytest.mark.parametrize("kind", [RONI, TargetedRONI])
@pytest.mark.parametrize(
    ("data", "reason"),
    [(dataset(400, 0), "regression"), (dataset(400, 21), "raise base"), (dataset(119, 2), "clean rows")],
    ids=["regression", "classes", "rows"],
)
def test_where_trials_cannot_be_made_it_is_unsuitable(kind: type, data: Dataset, reason: str) -> None:
    assert reason in kind().unsuitable(data, RECIPE)
    assert kind().unsuitable(dataset(400, 2), RECIPE) is None

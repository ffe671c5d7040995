import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.flakiness import flakiness
from gradshape_bench.verdict import Threshold
from tests.bench.sample import estimate, make, unmeasured

SURE, LESS_SURE = (Threshold("rad", "<", 0.05),), (Threshold("rad", "<", 0.013),)


def repetitions(*values: float, thresholds: Sequence[Threshold] = SURE, case: str = "one") -> list[list[Record]]:
    return [
        [make(case=case, rad=value, seeds=(10 * place, 10 * place + 1), thresholds=thresholds)]
        for place, value in enumerate(values)
    ]


def test_a_verdict_that_turns_is_a_flip() -> None:
    found = flakiness(repetitions(0.01, 0.2, 0.01))
    [flip] = found.flips
    assert (flip.case, flip.threshold, [verdict.value for verdict in flip.verdicts]) == (
        "one",
        "rad < 0.05",
        ["PASS", "FAIL", "PASS"],
    )
    assert "- smoke one: rad \\< 0.05: PASS, FAIL, PASS" in list(found.lines())


def test_an_inconclusive_verdict_turns_nothing() -> None:
    found = flakiness(repetitions(0.001, 0.012, thresholds=LESS_SURE))
    assert found.flips == []
    assert "1 inconclusive verdict, 50.0 %" in list(found.lines())


def test_noise_is_the_deviation_between_repetitions() -> None:
    values = (0.01, 0.02, 0.06)
    [noise] = [noise for noise in flakiness(repetitions(*values)).noise if noise.metric == "rad"]
    assert noise.typical == pytest.approx(statistics.stdev(values))
    assert (noise.cases, noise.where) == (1, "smoke one")


def test_noise_of_several_cases_is_pooled_and_the_worst_named() -> None:
    pairs = zip(repetitions(0.01, 0.02), repetitions(0.01, 0.05, case="two"), strict=True)
    [noise] = [noise for noise in flakiness([one + two for one, two in pairs]).noise if noise.metric == "rad"]
    deviations = [statistics.stdev((0.01, 0.02)), statistics.stdev((0.01, 0.05))]
    assert noise.typical == pytest.approx((sum(d**2 for d in deviations) / 2) ** 0.5)
    assert noise.largest == pytest.approx(deviations[1])
    assert noise.where == "smoke two"


def test_other_challenges_are_not_repetitions() -> None:
    first, second = repetitions(0.01, 0.2)
    found = flakiness(
        [
            [*first, make(case="two", challenge="a")],
            [replace(second[0], challenge="c"), make(case="two", challenge="a")],
        ]
    )
    assert found.flips == []
    assert "left out, as not all files have the same rows, attack and protocol: 1 case" in found.remarks


def test_seeds_that_are_shared_are_said() -> None:
    found = flakiness([[make(seeds=(0, 1))], [make(seeds=(1, 2))]])
    assert any(remark.startswith("seeds are in several files") for remark in found.remarks)


def test_cases_that_were_not_measured_judge_nothing() -> None:
    first, second = repetitions(0.01, 0.02)
    failed = unmeasured(Status.FAILED, "why", case="two")
    found = flakiness([[*first, failed], [*second, failed]])
    assert {judged.case for judged in found.judged} == {"one"}


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (repetitions(0.01), "1 repetition: expected at least two"),
        ([[make(case="a")], [make(case="b")]], "no case was measured in two of the files"),
    ],
)
def test_what_cannot_be_compared_is_refused(files: list[list[Record]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        flakiness(files)


def test_order_of_cases_does_not_matter() -> None:
    cases = [make(case=name, rad=estimate(value)) for name, value in (("a", 0.01), ("b", 0.2), ("c", 0.3))]
    other = [replace(record, seeds=(7, 8, 9, 10, 11)) for record in cases]
    assert list(flakiness([cases, other]).lines()) == list(flakiness([cases[::-1], other]).lines())

from collections.abc import Sequence
from typing import Any

from gradshape.metrics import mean_over_seeds
from gradshape_bench.gate.outcome import outcome
from gradshape_bench.gate.table import render
from gradshape_bench.records.record import Record, Status
from tests.bench.gate.sample import STEADY, WORSE, compared, record
from tests.bench.sample import unmeasured

NOISY = (0.9, 0.95, 0.85, 0.93, 0.9)
BETTER = tuple(value - 0.05 for value in STEADY)


def rendered(base: Sequence[Record], new: Sequence[Record], **options: Any) -> str:
    found = compared(base, new, **options)
    return render(found, outcome(found))


def test_no_change_is_one_line() -> None:
    cases = [record(), record(attack="other")]
    assert rendered(cases, cases) == "**No regression**: 2 cases: 2 same (2 to the last digit).\n"


def test_what_looks_worse_and_may_be_chance_is_no_all_clear() -> None:
    text = rendered([record((0.1,))], [record((0.9,))])
    assert text.startswith("**Nothing is shown to be worse, and something looks so**: 1 case: 1 undecided.")


def test_a_case_that_is_undecided_and_partly_better_is_counted_as_both() -> None:
    before, after = {"accuracy_clean": mean_over_seeds(NOISY)}, {"accuracy_clean": mean_over_seeds(NOISY[::-1])}
    text = rendered([record(more=before)], [record(BETTER, more=after)])
    assert text.startswith("**No regression**: 1 case: 1 undecided (1 with a metric that is better).")
    assert "better" in text.split("|", 1)[1]


def test_worst_changes_come_first_below_the_counts() -> None:
    afters = {"mild": tuple(value + 0.05 for value in STEADY), "bad": WORSE, "good": BETTER}
    text = rendered(
        [record(attack=name) for name in afters], [record(after, attack=name) for name, after in afters.items()]
    )
    assert text.startswith("**Regression**: 3 cases: 2 worse, 1 better.\n\n- 2 cases got worse\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [name for line in table for name in afters if name in line] == ["bad", "mild", "good"]


def test_row_shows_before_and_now_and_the_interval() -> None:
    (row,) = [line for line in rendered([record()], [record(WORSE)]).splitlines() if "label_flip_10" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:6] == ["rad", "0.100", "0.200", "+0.100"]
    assert cells[6].startswith("[+0.09")
    assert cells[7] == "by seed (5)"


def test_method_is_said_where_something_is_called() -> None:
    text = rendered([record()], [record(WORSE, seeds=(5, 6, 7, 8, 9))])
    assert "Welch's t, as there are no two seeds in common" in text
    assert "95 % confidence" in text
    assert "`rad:+0.01`" in text


def test_long_tables_are_cut_and_say_so() -> None:
    base = [record(attack=f"case_{place}") for place in range(60)]
    new = [record(WORSE, attack=f"case_{place}") for place in range(60)]
    text = rendered(base, new)
    assert "... and 35 more." in text
    assert len(text) < 6_000


def test_reasons_are_grouped_with_the_first_names() -> None:
    base = [record(attack=f"case_{place}") for place in range(6)]
    new = [unmeasured(Status.CRASHED, "it | died\n<b>", attack=f"case_{place}") for place in range(5)]
    text = rendered(base, [*new, base[5]])
    (line,) = [line for line in text.splitlines() if line.startswith("- broken")]
    assert r"it \| died \<b\>" in line
    assert line.endswith("and 2 more")


def test_nothing_in_a_name_is_markup() -> None:
    odd = "a|b_<i>*"
    text = rendered([record(attack=odd)], [record(WORSE, attack=odd)])
    assert r"a\|b\_\<i\>\*" in text


def test_scale_is_named_where_there_are_two() -> None:
    base, new = [record(), record(scale="paper")], [record(WORSE), record(scale="paper")]
    assert "smoke digits-lr" in rendered(base, new)
    assert "smoke digits-lr" not in rendered(base[:1], new[:1])


def test_same_comparison_gives_the_same_bytes() -> None:
    base = [record(attack=f"case_{place}") for place in range(6)]
    new = [record(WORSE if place % 2 else BETTER, attack=f"case_{place}") for place in range(6)]
    assert rendered(base, new) == rendered(base[::-1], new[::-1])

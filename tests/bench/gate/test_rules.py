import pytest

from gradshape_bench.gate.rules import DEFAULT_RULES, Rule, parse_rule, parse_rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("rad:+0.02", Rule("rad", absolute=0.02)),
        (" rad:+.5 ", Rule("rad", absolute=0.5)),
        ("rad:+2e-3", Rule("rad", absolute=0.002)),
        ("rad:+0", Rule("rad", absolute=0.0)),
        ("rad_last:+0.02", Rule("rad_last", absolute=0.02)),
        ("success_rate:+10%", Rule("success_rate", absolute=0.1, relative=0.1)),
        ("magnitude_ratio:+10%", Rule("magnitude_ratio", absolute=0.0, relative=0.1)),
        ("mse_ratio:+0.05,+10%", Rule("mse_ratio", absolute=0.05, relative=0.1)),
        ("mse_ratio:+10%, +0.05", Rule("mse_ratio", absolute=0.05, relative=0.1)),
    ],
)
def test_forms_of_a_rule(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "rad",
        "rad:",
        "rad:0.02",
        "rad:-0.02",
        "rad:+x",
        "rad:+1,+2",
        "rad:+1%,+2%",
        "rad:+1,",
        "rad:+1e999",
        ":+1",
        "rad:+1:+2",
    ],
)
def test_what_is_no_rule_is_named_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected METRIC:\+X, METRIC:\+X% or METRIC:\+X,\+Y%") as caught:
        parse_rule(text)
    assert repr(text) in str(caught.value)


def test_unknown_metric_lists_near_ones() -> None:
    with pytest.raises(ValueError, match="unknown metric 'sucess_rate': did you mean 'success_rate'"):
        parse_rule("sucess_rate:+0.1")


def test_two_rules_for_one_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="two rules for rad"):
        parse_rules(["rad:+0.1", "utility_loss:+0.1", "rad:+10%"])


def test_rules_take_the_place_of_the_default_ones() -> None:
    assert parse_rules(["rad:+0.1"]) == [Rule("rad", absolute=0.1)]
    assert parse_rules([]) == DEFAULT_RULES


@pytest.mark.parametrize(
    ("text", "base", "margin"),
    [
        ("rad:+0.02", 0.5, 0.02),
        ("rad:+10%", 0.5, 0.05),
        ("rad:+0.02,+10%", 0.5, 0.05),
        ("rad:+0.02,+1%", 0.5, 0.02),
        ("rad:+10%", -0.5, 0.05),
    ],
)
def test_both_bounds_of_a_rule_are_needed(text: str, base: float, margin: float) -> None:
    assert parse_rule(text).margin(base) == pytest.approx(margin)


@pytest.mark.parametrize(("text", "margin"), [("rad:+0.02,+10%", 0.02), ("rad:+10%", 0.01), ("mse_clean:+10%", 0.0)])
def test_of_a_baseline_of_zero_only_the_absolute_bound_or_the_floor_counts(text: str, margin: float) -> None:
    assert parse_rule(text).margin(0.0) == margin


@pytest.mark.parametrize(
    ("metric", "lower"), [("rad", True), ("rad_best", True), ("accuracy_clean", False), ("accuracy_clean_last", False)]
)
def test_direction_is_that_of_the_metric(metric: str, lower: bool) -> None:
    assert parse_rule(f"{metric}:+0.01").lower_is_better is lower

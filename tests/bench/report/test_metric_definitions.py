import re

import pytest

from gradshape_bench.report.metric_definitions import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_filed_under_its_name_and_defined_in_a_sentence(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert re.fullmatch(r"[a-z_]+", name)
    assert re.fullmatch(r"[A-Z].{20,}\.", metric.definition)


@pytest.mark.parametrize(
    "name", ["rad", "utility_loss", "mse_ratio", "success_rate", "success_rate_control", "clean_removed"]
)
def test_what_harms_the_defender_is_better_low(name: str) -> None:
    assert METRICS[name].lower_is_better


@pytest.mark.parametrize(
    "name", ["accuracy_clean", "accuracy_poisoned", "poison_removed", "poisons_needed", "train_accuracy_clean"]
)
def test_what_serves_the_defender_is_better_high(name: str) -> None:
    assert not METRICS[name].lower_is_better

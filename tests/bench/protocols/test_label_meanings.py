"""What a reader of a report is told of an experiment, whose label alone a record holds."""

import json
from itertools import product
from pathlib import Path

import pytest

from gradshape.training import Layers, Weighting
from gradshape_bench.protocols import GradientDifferences, OneShotGradients, Retrained, Scratch, meaning
from gradshape_bench.targets import Targets

DATA = Path(__file__).parents[3] / "reports" / "data"


def test_every_setting_of_the_gradients_experiment_has_a_meaning_of_its_own() -> None:
    starts: list[Scratch | Retrained] = [Scratch(), Retrained()]
    protocols = [
        GradientDifferences(start, layers=layers, weighting=weighting, bias=bias)
        for start in starts
        for layers, weighting, bias in product(Layers, Weighting, (False, True))
    ]
    found = [meaning(protocol.label) for protocol in protocols]
    assert None not in found
    assert len(set(found)) == len(protocols)


def test_gradients_on_targets_mean_the_same_for_any_pair_of_classes() -> None:
    any_class, pair = (meaning(OneShotGradients(targets).label) for targets in (Targets(1), Targets(1, (3, 4))))
    assert any_class is not None
    assert pair is not None
    assert pair.split(". ")[0] == any_class.split(". ")[0]
    assert "of class 3, to be taken for 4" in pair


@pytest.mark.parametrize("results", sorted(DATA.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_published_experiment_has_a_meaning(results: Path) -> None:
    labels = {json.loads(line)["protocol"] for line in results.read_text(encoding="utf-8").splitlines()}
    assert labels
    assert not [label for label in labels if meaning(label) is None]


def test_an_unknown_label_has_none() -> None:
    assert meaning("gradients_of_mine") is None

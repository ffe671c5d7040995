"""Records with values of single seeds, as a run of this version leaves them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradshape.metrics import Estimate, mean_over_seeds, rate_over_trials, share_over_seeds
from gradshape_bench.records.record import Record, Status
from gradshape_bench.verdict import Threshold, judge
from tests.bench.sample import make, unmeasured

INTENSITIES = ("1", "5", "10", "20")
DEFENSES = ("vanilla", "dp_adam_c8", "dp_adam_c1")
SEEDS = (0, 1, 2, 3)
HOSTILE = "</script><img src=x onerror=hit()>&`|'\"\N{LINE SEPARATOR}"


def spread(middle: float, *, width: float = 0.01, count: int = len(SEEDS)) -> list[float]:
    """Values around ``middle``, always the same."""
    return [middle + width * math.sin(3 * place + 1) for place in range(count)]


def seeded(attack: str, defense: str, *, rad: float, loss: float = 0.01, bound: float = 0.1, **fields: Any) -> Record:
    """A record whose metrics have a value for each seed."""
    metrics = {
        "rad": mean_over_seeds(spread(rad)),
        "utility_loss": mean_over_seeds(spread(loss, width=0.002)),
        "rad_vs_vanilla": mean_over_seeds(spread(rad + loss)),
        "accuracy_clean": share_over_seeds(spread(0.95)),
    }
    known = {"challenge": "c" * 64, "jobs": 12, "cached_jobs": 3, "scale": "smoke"} | fields
    threshold = Threshold("rad", "<", bound)
    return measured(metrics, threshold, attack=attack, defense=defense, seeds=SEEDS, **known)


def measured(metrics: Mapping[str, Estimate], *thresholds: Threshold, **fields: Any) -> Record:
    """A record of these metrics, judged by them."""
    judgements = tuple(judge(threshold, metrics) for threshold in thresholds)
    return make(thresholds=(), **fields, metrics=metrics, judgements=judgements)


def board(dataset: str = "digits", *, worse: float = 0.0) -> list[Record]:
    """A task with a label flip of four intensities against three defences."""
    return [
        seeded(
            f"label_flip_{intensity}",
            defense,
            rad=0.012 * float(intensity) / (1 + place) + (worse if defense == "dp_adam_c1" else 0.0),
            loss=0.01 * place,
            dataset=dataset,
            details={"defense_kind": "none" if defense == "vanilla" else "DP optimizer"},
        )
        for intensity in INTENSITIES
        for place, defense in enumerate(DEFENSES)
    ]


def trials(outcomes: Sequence[float], defense: str = "vanilla") -> Record:
    """A record of single targets."""
    rate = rate_over_trials(outcomes)
    return measured(
        {"success_rate": rate, "utility_loss": mean_over_seeds([0.1, 0.12, 0.11])},
        Threshold("success_rate", "<", 0.5),
        case=f"cifar10-cnn-poison_frogs_1-{defense}-one_shot",
        dataset="cifar10",
        model="cnn",
        attack="poison_frogs_1",
        defense=defense,
        protocol="one_shot",
        seeds=(0, 1, 2),
    )


def run() -> list[Record]:
    """Two tasks, single targets, and cases without a measurement."""
    broken = unmeasured(Status.FAILED, "ValueError: the loss is not finite", attack="label_flip_40", dataset="digits")
    return [*board(), *board("fashion_mnist_34"), trials([1, 0, 1, 1, 0]), trials([0, 0, 0, 1, 0], "dp_sgd_c4"), broken]


def hostile() -> Record:
    """A record whose every text tries to leave its place."""
    return make(
        case=HOSTILE,
        dataset=HOSTILE,
        model=HOSTILE,
        attack=HOSTILE,
        defense=HOSTILE,
        protocol=HOSTILE,
        rad=None,
        status=Status.FAILED,
        reason=HOSTILE,
        expected_failure=HOSTILE,
        details={"__proto__": HOSTILE, HOSTILE: {"constructor": HOSTILE}},
        environment={HOSTILE: HOSTILE},
    )


def many(count: int, *, attacks: int = 20, defenses: int = 25) -> list[Record]:
    """So many records, in tasks of ``attacks`` times ``defenses``."""
    task = [
        seeded(
            f"label_flip_{attack + 1}",
            "vanilla" if defense == 0 else f"dp_adam_c{defense}",
            rad=0.01 * attack / (1 + defense),
        )
        for attack in range(attacks)
        for defense in range(defenses)
    ]
    records = []
    for place in range(count):
        record, dataset = task[place % len(task)], f"rows{place // len(task):03}"
        records.append(replace(record, dataset=dataset, case=record.case.replace("digits", dataset)))
    return records

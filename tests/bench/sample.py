"""Records as a run would leave them, for the tests of what judges, keeps and shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradshape.metrics import Estimate, success_rate
from gradshape_bench.case import Scale
from gradshape_bench.options import Settings
from gradshape_bench.records.record import Record, Status
from gradshape_bench.verdict import Threshold, judge

DEFENSES = (
    "vanilla",
    *(f"dp_adam_c{c}" for c in ("8", "4", "2", "1", "0.1")),
    *(f"dp_adam_c4_s{s}" for s in ("1e-07", "1e-05", "0.001", "0.1")),
)
INTENSITIES = ("0", "1", "2", "3", "4", "5", "10", "20", "30", "40")
ENVIRONMENT = {"gradshape": "0.1.0", "torch": "2.13.0", "device": "cpu", "commit": "0123abc"}


def estimate(value: float, *, half: float | None = 0.004, n: int = 5) -> Estimate:
    if half is None:
        return Estimate(value, None, None, n=1)
    return Estimate(value, value - half, value + half, n=n)


def make(
    *,
    rad: float | Estimate | None = 0.012,
    loss: float | Estimate = 0.01,
    thresholds: Sequence[Threshold] = (Threshold("rad", "<", 0.05),),
    dataset: str = "digits",
    model: str = "lr",
    attack: str = "label_flip_10",
    defense: str = "dp_adam_c4",
    scale: str = "smoke",
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    details: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """A measured record; with ``rad=None`` one without metrics."""
    metrics = {}
    if rad is not None:
        poison = rad if isinstance(rad, Estimate) else estimate(rad)
        cost = loss if isinstance(loss, Estimate) else estimate(loss)
        total = 1 - (1 - poison.value) * (1 - cost.value)
        metrics = {
            "rad": poison,
            "rad_best": poison,
            "utility_loss": cost,
            "rad_vs_vanilla": estimate(total, half=None if poison.low is None else 0.004, n=poison.n),
            "accuracy_clean": estimate(0.95),
        }
    trained = {
        "train_rows": 10_800,
        "test_rows": 2_000,
        "optimizer": "adam",
        "lr": 0.01,
        "batch_size": 300,
        "epochs": 40,
        "accuracy": "best",
        "shaper": defense,
        "budget": 1_080,
        "poison_rows": [1_080] * len(seeds),
    }
    values: dict[str, Any] = {
        "case": f"{dataset}-{model}-{attack}-{defense}",
        "fingerprint": "f" * 64,
        "dataset": dataset,
        "dataset_fingerprint": "d" * 64,
        "model": model,
        "protocol": "from_scratch",
        "attack": attack,
        "defense": defense,
        "scale": scale,
        "seeds": tuple(seeds),
        "status": Status.OK,
        "metrics": metrics,
        "judgements": tuple(judge(threshold, metrics) for threshold in thresholds) if metrics else (),
        "details": (trained if metrics else {}) | dict(details or {}),
        "seconds": 1.5,
        "environment": ENVIRONMENT,
    }
    return Record(**values | fields)


def unmeasured(status: Status, reason: str | None, **fields: Any) -> Record:
    return make(rad=None, status=status, reason=reason, **fields)


def rate(won: int, of: int) -> Estimate:
    """A success rate; of nothing, too."""
    return success_rate(won, of) if of else Estimate(0.0, 0.0, 1.0, n=0)


def aimed(
    defense: str = "vanilla",
    *,
    won: int = 34,
    control: int = 2,
    targets: int = 73,
    poisons: float | None = None,
    loss: float = 0.0,
    protocol: str = "one_shot_3to4",
    dataset: str = "purchase_synthetic",
    model: str = "lr",
    attack: str = "poison_frogs_100",
    **fields: Any,
) -> Record:
    """A record of an experiment on single targets."""
    metrics = {
        "success_rate": rate(won, targets),
        "success_rate_raw": rate(min(won + 3, targets), targets),
        "success_rate_control": rate(control, targets),
        "success_rate_control_raw": rate(control, targets),
        "utility_loss": estimate(loss, half=0.004),
        "accuracy_clean": estimate(0.7),
        "rad_of_runs": estimate(0.002, half=None),
    }
    if poisons is not None:
        metrics["poisons_needed"] = estimate(poisons, half=0.3, n=won)
    details = {
        "budget": 100,
        "targets": targets,
        "targets_without_poison": [20, 100 - 20 - targets],
        "targets_misclassified": [3, 4],
        "candidates": [40] * (targets - 1) + [100],
        "epochs": 50,
        "clean_epochs": 100,
    }
    record = make(
        case=f"{dataset}-{model}-{attack}-{defense}-{protocol}",
        dataset=dataset,
        model=model,
        attack=attack,
        defense=defense,
        protocol=protocol,
        thresholds=(),
        metrics=metrics,
        details=details | dict(fields.pop("details", {})),
        **fields,
    )
    return replace(record, details={name: value for name, value in record.details.items() if name != "poison_rows"})


def grid(dataset: str = "fashion_mnist_34", scale: str = "paper") -> list[Record]:
    """The whole of Fig. 4 for one data set, with made-up numbers; clipping helps, noise and tight clipping cost."""
    records = []
    for intensity in INTENSITIES:
        for place, defense in enumerate(DEFENSES):
            rows = round(108 * float(intensity))
            records.append(
                make(
                    rad=0.001 * float(intensity) * (1 if place == 0 else 0.5) - 0.0001 * (intensity == "0"),
                    loss=0.002 * place,
                    dataset=dataset,
                    attack=f"label_flip_{intensity}",
                    defense=defense,
                    scale=scale,
                    details={"budget": rows, "poison_rows": [rows] * 5},
                    thresholds=(Threshold("rad", "<=", 0.03 if place == 0 else 0.0125),),
                    expected_failure="noise drowns the signal (Hong et al. 2020, section 6.2)"
                    if (intensity, place) == ("40", 9)
                    else None,
                )
            )
    return records


def odd() -> list[Record]:
    """One of each thing that can be unusual about a record."""
    fail, pass_ = Threshold("rad", "<", 0.005), Threshold("rad", "<", 0.05)
    return [
        make(defense="vanilla", rad=0.02, loss=0.0),
        make(defense="dp_adam_c8", rad=estimate(0.012, half=None), seeds=(7,)),
        make(defense="dp_adam_c4", thresholds=(fail,)),
        make(defense="dp_adam_c2", thresholds=(fail,), expected_failure="too loose (Hong et al. 2020, Fig. 4)"),
        make(defense="dp_adam_c1", thresholds=(pass_,), expected_failure="too tight (Hong et al. 2020, Fig. 4)"),
        make(defense="dp_adam_c0.1", thresholds=(Threshold("rad", "<", 0.0121), Threshold("utility_loss", "<", 0.1))),
        make(defense="no_threshold", thresholds=()),
        unmeasured(Status.FAILED, "loss is not finite\nafter epoch 3", attack="label_flip_0"),
        unmeasured(Status.CRASHED, None, attack="label_flip_0", defense="vanilla"),
        make(dataset="alone", rad=-0.00001, environment={}, dataset_fingerprint=None),
        make(dataset="pipe|d`a`_ta_", attack="a|b_1", defense="<i>*x*|_y_", model="m[0](x)", details={"lr": "a|b"}),
        unmeasured(
            Status.SKIPPED, "data: missing: run `python -m gradshape.data fetch cifar10 | cat`", dataset="cifar10"
        ),
        make(scale="paper"),
    ]


def settings_in(folder: Path) -> Settings:
    """The settings of a small session without a network, with results and finished jobs in ``folder``."""
    return Settings(
        scale=Scale.SMOKE,
        seeds=(0, 1),
        device="cpu",
        offline=True,
        require_data=False,
        results=folder / "results.jsonl",
        cache_dir=folder / "cache",
        use_cache=True,
        max_memory=1 << 28,
        strict_verdicts=False,
    )

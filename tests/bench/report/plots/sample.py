"""Records with what pictures are made of, and what there is to read in a picture."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from gradshape_bench.records.record import Record
from tests.bench.sample import aimed, estimate, make

EPOCHS = 12
DATASET = "fashion_mnist_34"
Values = Sequence[float | None]


def series(values: Values, half: float = 0.1) -> dict[str, list[float | None]]:
    def moved(by: float) -> list[float | None]:
        return [None if value is None else round(value + by, 6) for value in values]

    return {"value": list(values), "low": moved(-half), "high": moved(half)}


def decay(first: float, last: float) -> list[float | None]:
    return [last + (first - last) * 0.7**epoch for epoch in range(EPOCHS)]


def gradients(
    attack: str = "label_flip_40",
    defense: str = "vanilla",
    *,
    scale: str = "paper",
    curves: dict[str, Any] | None = None,
    example: dict[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """A record of the protocol that looks at every epoch; the poison's gradients are larger and opposed."""
    found = {
        "magnitude_ratio": series(decay(6, 2.5)),
        "cosine_similarity": series(decay(-0.3, -1)),
        "placebo_magnitude_ratio": series(decay(1, 2)),
        "placebo_cosine_similarity": series(decay(0.9, 0)),
        "train_accuracy_clean": series(decay(0.8, 0.9)),
        "train_accuracy_poison": series(decay(0.4, 0.2)),
        "sample_norm_clean": series(decay(2, 1)),
        "sample_norm_poison": series(decay(4, 3)),
        "magnitude_ratio_raw": series(decay(6, 2.5)),
    }
    return make(
        case=f"{DATASET}-lr-{attack}-{defense}-gradients",
        dataset=DATASET,
        attack=attack,
        defense=defense,
        protocol="gradients",
        scale=scale,
        thresholds=(),
        metrics={"magnitude_ratio": estimate(3.0)},
        details={"series": found | (curves or {}), "example": snapshot() if example is None else example},
        **fields,
    )


def snapshot(shape: Sequence[int] = (1, 2, 2), label: int = 1) -> dict[str, Any]:
    """A poison row, from dark to light."""
    return {"label": label, "shape": list(shape), "pixels": bytes(range(math.prod(shape))).hex()}


def clusters(attack: str = "sota_40", *, shape: Sequence[int] = (1, 2, 2), classes: int = 2, **fields: Any) -> Record:
    """A record with a few points and two poisons, one of them very frequent."""
    kinds = [snapshot(shape, label) | {"count": count} for label, count in ((1, 3970), (0, 350))]
    picture = {
        "explained": [0.31, 0.12],
        "clean": [[float(i), float(i % 3), i % classes, i % 4] for i in range(12)],
        "poison": [[20.0, 5.0, 1, 3], [21.0, 5.5, 0, 3]],
        "poison_counts": [3970, 350],
        "kinds": kinds,
    }
    return make(
        case=f"{DATASET}-lr-{attack}-vanilla-clusters",
        dataset=DATASET,
        attack=attack,
        defense="vanilla",
        protocol="clusters",
        thresholds=(),
        metrics={"cluster_purity": estimate(0.95), "distinct_poisons": estimate(2.0)},
        details={"picture": picture},
        **fields,
    )


def boundary(
    defense: str = "vanilla", *, cells: Sequence[int] = (0, 0, 1, 1), labels: Sequence[int] = (0, 1), **fields: Any
) -> Record:
    """A record with the regions of one model, by default with one class below and one above, and two points a class."""
    picture = {
        "side": math.isqrt(len(cells)),
        "classes": bytes(cells).hex(),
        "confidence": bytes([255] * len(cells)).hex(),
        "train": [[0.1 + 0.2 * copy, 0.5 * label, label] for label in labels for copy in range(2)],
    }
    return make(
        case=f"two_moons-mlp-no_attack-{defense}-boundary",
        dataset="two_moons",
        model="mlp",
        attack="no_attack",
        defense=defense,
        protocol="boundary",
        thresholds=(),
        metrics={"accuracy_clean": estimate(0.98), "boundary_length": estimate(1.2)},
        details={"picture": fields.pop("picture", picture)},
        **fields,
    )


def private(
    defense: str,
    accuracy: float,
    *,
    norm: float | None,
    std: float = 0.0,
    nominal: float | None = None,
    holds: float | None = None,
    **fields: Any,
) -> Record:
    """A record without an attack, with its privacy ledger."""
    ledger = {
        "epsilon": holds,
        "nominal_epsilon": nominal,
        "delta": 1e-5,
        "accountant": "rdp",
        "sampling": "shuffle",
        "sensitivity": norm,
        "noise_std": std,
    }
    return make(
        defense=defense,
        attack="no_attack",
        protocol="utility",
        thresholds=(),
        metrics={"accuracy_clean": estimate(accuracy), "utility_loss": estimate(0.0)},
        details={"privacy": ledger},
        **fields,
    )


def tradeoff() -> list[Record]:
    """Two clipping norms with and without noise, and plain training."""
    return [
        private("vanilla", 0.95, norm=None),
        private("dp_adam_c4", 0.94, norm=4.0),
        private("dp_adam_c4_s1", 0.90, norm=4.0, std=1.0, nominal=2e6, holds=3e4),
        private("dp_adam_c4_s4", 0.70, norm=4.0, std=4.0, nominal=6.5, holds=39.0),
        private("dp_adam_c1_s4", 0.40, norm=1.0, std=4.0, nominal=0.5, holds=6.6),
    ]


def intensities(metric: Callable[[float], float] = lambda percent: percent / 1000, **fields: Any) -> list[Record]:
    """Label flips of three intensities against plain training and two clipping norms, at the paper's scale."""
    return [
        make(
            dataset=DATASET,
            attack=f"label_flip_{percent}",
            defense=defense,
            rad=metric(percent),
            scale=fields.get("scale", "paper"),
            details={"budget": percent},
        )
        for percent in (0, 10, 40)
        for defense in ("vanilla", "dp_adam_c4", "dp_adam_c1")
    ]


def everything() -> list[Record]:
    """Something for every kind of picture."""
    return [
        *intensities(),
        *tradeoff(),
        gradients(),
        gradients(defense="dp_adam_c4"),
        one_shot_gradients(),
        one_shot_gradients("dp_adam_c4_s0.1_x2"),
        *aimed_grid(),
        *aimed_grid("multi_poison_3to4"),
        *[record for record in scenarios() if "_to_" in record.protocol],
        clusters(),
        boundary(),
    ]


def aimed_grid(protocol: str = "one_shot_3to4", *, scale: str = "paper", **fields: Any) -> list[Record]:
    """Experiments on single targets over clipping norms and, at one of them, over noise."""
    several = protocol.startswith("multi_poison")
    settings = (
        ("vanilla", 34, 0.0, 1.8),
        ("dp_adam_c8_x2", 31, 0.001, 1.1),
        ("dp_adam_c4_x2", 30, 0.002, 1.4),
        ("dp_adam_c2_x2", 26, 0.004, 2.0),
        ("dp_adam_c1_x2", 18, 0.006, 3.1),
        ("dp_adam_c0.1_x2", 7, 0.011, 5.4),
        ("dp_adam_c4_s0.001_x2", 28, 0.01, 1.5),
        ("dp_adam_c4_s0.01_x2", 8, 0.07, 2.5),
        ("dp_adam_c4_s0.1_x2", 3, 0.34, 9.0),
        ("dp_adam_c4_s0.4_x2", 0, 0.75, None),
    )
    return [
        aimed(
            defense,
            won=min(73, won + 40 * several) if won else 0,
            control=3,
            loss=loss,
            poisons=poisons if several else None,
            protocol=protocol,
            scale=scale,
            **fields,
        )
        for defense, won, loss, poisons in settings
    ]


def scenarios(scale: str = "paper", **fields: Any) -> list[Record]:
    """The two scenarios of Table 3 in which one training is defended, and those in which none is or both are."""
    defense = "dp_adam_c4_s0.01_x2"
    return [
        aimed(
            who,
            won=won,
            poisons=poisons if name == "multi_poison" else None,
            protocol=f"{name}_3to4{which}",
            scale=scale,
            **fields,
        )
        for name, more in (("one_shot", 0), ("multi_poison", 38))
        for who, which, won, poisons in (
            ("vanilla", "", 34 + more, 1.8),
            (defense, "_vanilla_to_defended", 13 + more, 2.5),
            (defense, "_defended_to_vanilla", 12 + more, 3.5),
            (defense, "", 7 + more, 5.4),
        )
    ]


def one_shot_gradients(defense: str = "vanilla", **fields: Any) -> Record:
    """A record of one poison row's gradients in re-trainings for single targets."""
    if defense != "vanilla":
        fields["curves"] = {"magnitude_ratio": series(decay(3, 1.2)), "cosine_similarity": series(decay(0.2, -0.3))}
    record = gradients("poison_frogs_100", defense, **fields)
    protocol = "gradients_one_shot_3to4"
    case = f"purchase_synthetic-lr-poison_frogs_100-{defense}-{protocol}"
    return replace(record, case=case, dataset="purchase_synthetic", protocol=protocol)


def legends(figure: Figure) -> list[str]:
    """All entries of all legends."""
    return [entry.get_text() for legend in _legends(figure) for entry in legend.get_texts()]


def _legends(figure: Figure) -> Iterator[Legend]:
    yield from figure.legends
    yield from (found for found in (axes.get_legend() for axes in figure.axes) if found is not None)


def texts(figure: Figure) -> str:
    """All that is written in it, but for numbers on axes."""
    found = [figure.get_suptitle(), figure.get_supxlabel(), *legends(figure)]
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        found += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts)]
    return "\n".join(found)


def hollow(figure: Figure) -> list[tuple[float, float]]:
    """Where published numbers are."""
    return [
        (x, y)
        for axes in figure.axes
        for line in axes.lines
        if line.get_markerfacecolor() == "none" and line.get_linestyle() == "None"
        for x, y in np.asarray(line.get_xydata()).tolist()
    ]


def curves(figure: Figure, label: str) -> list[Line2D]:
    """The curves of that name, panel by panel."""
    return [line for axes in figure.axes for line in axes.lines if line.get_label() == label]

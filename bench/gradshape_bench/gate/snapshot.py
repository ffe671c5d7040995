"""What the gate needs of a case: values of its metrics, what they are compared with, and where they were measured."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from gradshape.metrics import Estimate, Method
from gradshape_bench.records.record import Record, Status

Key = tuple[str, str]
# Hexadecimal digits of a fingerprint that are compared: enough to tell all cases apart that there will ever be.
DIGITS = 16
# What numbers depend on besides the code that is under test. The processor rounds, too.
ENVIRONMENT = (
    "gradshape",
    "torch",
    "numpy",
    "platform",
    "device",
    "processor",
    "tf32",
    "tf32_convolutions",
)
# The accuracy that each of these is relative to.
_RELATIVE_TO = {"rad": "accuracy_clean", "utility_loss": "accuracy_vanilla", "rad_vs_vanilla": "accuracy_vanilla"}
_ACCURACIES = ("accuracy_", "train_accuracy_")
_EPOCHS = ("_best", "_last")


@dataclass(frozen=True)
class Sample:
    """The values of a metric.

    Attributes:
        value: the point estimate.
        n: the number of observations, at least 0.
        values: one for each seed, in their order, or one for each trial; empty if they are not known.
        of_trials: whether the metric is a rate over trials, and not a mean over seeds.
        step: the smallest difference that a single value can show, as it is a share of so many rows; ``None`` if any.
    """

    value: float
    n: int
    _: KW_ONLY
    values: tuple[float, ...] = ()
    of_trials: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """A case as it was measured.

    Attributes:
        scale, case: what identifies it.
        challenge: the first digits of the record's; ``None`` if it has none.
        rows: those of its ``dataset_fingerprint``; ``None`` if the rows were never loaded.
        seeds: of the repetitions.
        samples: by metric.
        trials: what each trial of a rate was, in the order of its values; ``None`` if that is not known.
        environment: what :data:`ENVIRONMENT` lists.
        status: whether it could be measured.
        reason: why not.
    """

    scale: str
    case: str
    _: KW_ONLY
    challenge: str | None
    rows: str | None
    seeds: tuple[int, ...]
    samples: Mapping[str, Sample]
    trials: tuple[tuple[int, ...], ...] | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    status: Status = Status.OK
    reason: str | None = None

    @property
    def key(self) -> Key:
        """What identifies the case."""
        return self.scale, self.case


def needed(metrics: Iterable[str]) -> frozenset[str]:
    """Return the metrics of a record that its snapshot with ``metrics`` is made of."""
    references = (f"{name}{suffix}" for name in set(_RELATIVE_TO.values()) for suffix in ("", *_EPOCHS))
    return frozenset((*metrics, *references))


def snapshot(record: Record, metrics: Iterable[str]) -> Snapshot:
    """Return the snapshot of a record with those of the metrics that it has."""
    found = record.metrics
    return Snapshot(
        record.scale,
        record.case,
        challenge=record.challenge and record.challenge[:DIGITS],
        rows=record.dataset_fingerprint and record.dataset_fingerprint[:DIGITS],
        seeds=record.seeds,
        samples={name: _sample(name, record) for name in metrics if name in found},
        trials=_trials(record.details.get("trials")),
        environment={name: _plain(record.environment[name]) for name in ENVIRONMENT if name in record.environment},
        status=record.status,
        reason=record.reason,
    )


def _plain(value: object) -> str | bool | None:
    return value if value is None or isinstance(value, str | bool) else str(value)


def _sample(name: str, record: Record) -> Sample:
    estimate = record.metrics[name]
    values = estimate.values if len(estimate.values) == estimate.n else ()
    return Sample(
        estimate.value,
        max(estimate.n, 0),
        values=values,
        of_trials=estimate.method is Method.WILSON and all(0 <= value <= 1 for value in (estimate.value, *values)),
        step=_step(name, estimate, record),
    )


def _step(name: str, estimate: Estimate, record: Record) -> float | None:
    """Return what one row of those that a metric counts changes it by."""
    if estimate.method is Method.WILSON:
        return 1 / estimate.n if estimate.n > 0 else None
    if estimate.rows is not None and estimate.rows > 0:
        return 1 / estimate.rows
    rows = record.details.get("test_rows")
    if not isinstance(rows, int) or rows < 1:
        return None
    if name.startswith(_ACCURACIES):
        return 1 / rows
    suffix = next((suffix for suffix in _EPOCHS if name.endswith(suffix)), "")
    reference = _RELATIVE_TO.get(name.removesuffix(suffix))
    if reference is None:
        return None
    accuracy = record.metrics.get(reference + suffix) or record.metrics.get(reference)
    # An accuracy of less than one row is none to be relative to.
    return 1 / (rows * accuracy.value) if accuracy is not None and rows * accuracy.value >= 1 else 1 / rows


def _trials(listed: object) -> tuple[tuple[int, ...], ...] | None:
    """Return what the trials were, if the details of a record say so in a way that can be relied on."""
    if not isinstance(listed, list):
        return None
    named = [tuple(one) for one in listed if isinstance(one, list) and all(type(part) is int for part in one)]
    return tuple(named) if len(named) == len(listed) == len(set(named)) else None

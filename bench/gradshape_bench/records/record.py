"""The record of a case, written to the results file as one line of JSON."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import Enum
from typing import Any

from gradshape.metrics import Estimate, Method
from gradshape_bench.protocols.accuracy import SHARES
from gradshape_bench.records.strict_json import decode
from gradshape_bench.verdict import Judgement, Threshold, Verdict

SCHEMA = 2
# Records of schema 1 say nothing of single seeds.
_READABLE = (1, SCHEMA)
Kinds = frozenset[type]
# The reason begins with this if the data of the case could not be had.
NOT_APPLICABLE = "does not apply:"
MISSING_DATA = "data:"


class Status(Enum):
    """Whether a case could be measured. A bad score is not a status."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Record:
    """What one case measured.

    Attributes:
        case: id of the case.
        fingerprint: sha256 of the case's definition.
        dataset, model, protocol, attack, defense: labels, as in the id.
        dataset_fingerprint: sha256 of the rows; ``None`` if they were never loaded.
        scale: ``smoke`` or ``paper``.
        seeds: seeds of the repetitions.
        status: whether the case could be measured.
        metrics: by name, see :data:`gradshape_bench.report.metric_definitions.METRICS`; ``_best`` and ``_last`` say
            which epoch's test accuracy was taken, no suffix means the protocol's choice.
        judgements: one for each threshold; empty unless ``status`` is ok.
        expected_failure: why the case is expected to miss a threshold, with the source; ``None`` if it is not.
        reason: why there are no metrics; ``None`` if there are.
        details: how victims were trained and how much poison there was, as plain values.
        seconds: computing time of the jobs; for each job its share of the stack that it ran in.
        environment: versions, device and source.
        costs: mean seconds of a job, by what it did: crafting, filtering or training.
        confidence: of the intervals, in (0, 1).
        looks: the numbers of seeds at which the verdicts were looked at; empty unless there were to be several.
        planned_looks: at how many numbers of seeds they might have been looked at: a judgement's interval has the
            confidence ``1 - (1 - confidence) / planned_looks``.
        jobs, cached_jobs: how many jobs the case is made of, and how many of them were found in the cache.
        challenge: sha256 of what the recipe was put up against (rows, attack, protocol, scale): records with different
            ones are not compared. ``None`` in records of schema 1.
        test: file of the test that measured it, relative to the project's root, with ``/`` between folders; ``None`` if
            that is not recorded.
    """

    case: str
    fingerprint: str
    dataset: str
    _: KW_ONLY
    dataset_fingerprint: str | None
    model: str
    protocol: str
    attack: str
    defense: str
    scale: str
    seeds: tuple[int, ...]
    status: Status
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    judgements: tuple[Judgement, ...] = ()
    expected_failure: str | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    environment: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.95
    looks: tuple[int, ...] = ()
    planned_looks: int = 1
    jobs: int | None = None
    cached_jobs: int | None = None
    challenge: str | None = None
    test: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the record in a results file, where a later record replaces an earlier one."""
        return self.scale, self.case

    @property
    def missed(self) -> tuple[Judgement, ...]:
        """The judgements of thresholds that are not met."""
        return tuple(judgement for judgement in self.judgements if not judgement.met)

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict; ``None`` if there is none."""
        verdicts = {judgement.verdict for judgement in self.judgements}
        return next((v for v in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS) if v in verdicts), None)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(self.document(), allow_nan=False)

    def document(self) -> dict[str, Any]:
        """Return what :meth:`to_json` writes, as plain values; those that the record was given are not copied."""
        return {
            "schema": SCHEMA,
            "case": self.case,
            "fingerprint": self.fingerprint,
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "model": self.model,
            "protocol": self.protocol,
            "attack": self.attack,
            "defense": self.defense,
            "scale": self.scale,
            "seeds": list(self.seeds),
            "status": self.status.value,
            "confidence": self.confidence,
            "looks": list(self.looks),
            "planned_looks": self.planned_looks,
            "metrics": {name: _plain_estimate(estimate) for name, estimate in self.metrics.items()},
            "thresholds": [_plain_judgement(judgement) for judgement in self.judgements],
            "expected_failure": self.expected_failure,
            "reason": self.reason,
            "details": dict(self.details),
            "seconds": self.seconds,
            "costs": dict(self.costs),
            "jobs": self.jobs,
            "cached_jobs": self.cached_jobs,
            "challenge": self.challenge,
            "test": self.test,
            "environment": dict(self.environment),
        }

    @classmethod
    def from_json(cls, line: str, *, only: Collection[str] | None = None) -> "Record":
        """Read the record that :meth:`to_json` wrote.

        Args:
            line: the line.
            only: metrics that are wanted: others are checked and left out, except those with a threshold.

        Raises:
            ValueError: the line is no record, or one of another version. No other error comes of any line.
        """
        try:
            return cls._read(line, only)
        except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
            raise ValueError(f"not a record: {type(error).__name__}: {error}") from error

    @classmethod
    def _read(cls, line: str, only: Collection[str] | None) -> "Record":
        try:
            document = decode(line)
        except ValueError as error:
            raise ValueError(f"not a record: {error}") from error
        if document["schema"] not in _READABLE:
            raise ValueError(f"schema {document['schema']!r}: this version reads schemas {_READABLE}")
        _check_types(document)
        found = document["metrics"]
        if only is not None:
            wanted = {*only, *(threshold["metric"] for threshold in document["thresholds"])}
            found = {name: estimate for name, estimate in found.items() if name in wanted}
        metrics = {name: _estimate(estimate) for name, estimate in found.items()}
        if document["schema"] == 1:
            metrics = {name: _within_unit(one) if name.startswith(SHARES) else one for name, one in metrics.items()}
        return cls(
            **{name: document[name] for name in (*_TEXTS, *_OPTIONAL_TEXTS, "details", "seconds", "environment")},
            seeds=tuple(document["seeds"]),
            status=Status(document["status"]),
            metrics=metrics,
            judgements=tuple(_judgement(threshold, metrics) for threshold in document["thresholds"]),
            # Records of schema 1 lack these.
            looks=tuple(document.get("looks", ())),
            **{name: document[name] for name in _LATER if name in document},
        )


def _plain_estimate(estimate: Estimate) -> dict[str, Any]:
    plain: dict[str, Any] = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}
    if estimate.values:
        plain["values"] = list(estimate.values)
    if estimate.method is not None:
        plain["method"] = estimate.method.value
    if estimate.rows is not None:
        plain["rows"] = estimate.rows
    return plain


def _estimate(plain: dict[str, Any]) -> Estimate:
    return _made(
        {
            "value": plain["value"],
            "low": plain["low"],
            "high": plain["high"],
            "n": plain["n"],
            "values": tuple(plain.get("values", ())),
            "method": _METHODS[plain.get("method")],
            "rows": plain.get("rows"),
        }
    )


def _within_unit(estimate: Estimate) -> Estimate:
    """Cut off the interval of a share, which left [0, 1] in records of schema 1."""
    low, high = estimate.low, estimate.high
    return replace(estimate, low=None if low is None else max(0.0, low), high=None if high is None else min(1.0, high))


def _made(parts: dict[str, Any]) -> Estimate:
    """Return an estimate of all its parts, in a fifth of the constructor's time: a thousand records have 20,000."""
    made = object.__new__(Estimate)
    object.__setattr__(made, "__dict__", parts)
    return made


def _plain_judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "metric": judgement.threshold.metric,
        "op": judgement.threshold.op,
        "bound": judgement.threshold.bound,
        "low": judgement.estimate.low,
        "high": judgement.estimate.high,
        "verdict": judgement.verdict.value,
        "met": judgement.met,
        "reason": judgement.reason,
    }


def _judgement(plain: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> Judgement:
    estimate = metrics[plain["metric"]]
    if "low" in plain:
        estimate = _made({**vars(estimate), "low": plain["low"], "high": plain["high"]})
    return Judgement(
        Threshold(plain["metric"], plain["op"], plain["bound"]),
        estimate,
        Verdict(plain["verdict"]),
        met=plain["met"],
        reason=plain.get("reason"),
    )


# Looking a member up by its value takes longer than all else that is done for an estimate.
_METHODS: Mapping[str | None, Method | None] = {None: None, **{method.value: method for method in Method}}
_PARTS = frozenset({"value", "low", "high", "n", "values", "method", "rows"})
_TEXTS = ("case", "fingerprint", "dataset", "model", "protocol", "attack", "defense", "scale")
_OPTIONAL_TEXTS = ("dataset_fingerprint", "expected_failure", "reason")
_LATER = ("costs", "confidence", "planned_looks", "jobs", "cached_jobs", "challenge", "test")


# JSON has exactly these types, so that comparing them is enough, and a bool is no number.
_TEXT: Kinds = frozenset({str})
_MAYBE_TEXT: Kinds = frozenset({str, type(None)})
_WHOLE: Kinds = frozenset({int})
_MAYBE_WHOLE: Kinds = frozenset({int, type(None)})
_NUMBER: Kinds = frozenset({int, float})
_MAYBE_NUMBER: Kinds = frozenset({int, float, type(None)})
_REQUIRED: Sequence[tuple[Sequence[str], Kinds]] = (
    (_TEXTS, _TEXT),
    (_OPTIONAL_TEXTS, _MAYBE_TEXT),
    (("metrics", "details", "environment"), frozenset({dict})),
    (("thresholds",), frozenset({list})),
    (("seconds",), _NUMBER),
)
_LATER_KINDS: Sequence[tuple[Sequence[str], Kinds]] = (
    (("confidence",), _NUMBER),
    (("planned_looks",), _WHOLE),
    (("jobs", "cached_jobs"), _MAYBE_WHOLE),
    (("challenge", "test"), _MAYBE_TEXT),
)


def _check_types(document: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for a value whose type would only fail later, when it is sorted or printed."""
    for names, kinds in _REQUIRED:
        _check_each(names, [document[name] for name in names], kinds)
    for names, kinds in _LATER_KINDS:
        _check_each(names, [document[name] for name in names if name in document], kinds)
    _check_list("seeds", document["seeds"], _WHOLE)
    _check_list("looks", document.get("looks", []), _WHOLE)
    costs = document.get("costs", {})
    _check_each([f"costs {name}" for name in costs], costs.values(), _NUMBER)
    for name, estimate in document["metrics"].items():
        _check_estimate(name, estimate)
    for threshold in document["thresholds"]:
        met, bound = threshold["met"], threshold["bound"]
        _check_each(("metric", "op"), (threshold["metric"], threshold["op"]), _TEXT)
        _check_each(("low", "high"), (threshold.get("low"), threshold.get("high")), _MAYBE_NUMBER)
        if type(met) is not bool or type(bound) not in _NUMBER or type(threshold.get("reason")) not in _MAYBE_TEXT:
            reason = threshold.get("reason")
            raise TypeError(
                f"met={met!r}, bound={bound!r}, reason={reason!r}: expected bool, a number and text or null"
            )


def _check_estimate(name: str, estimate: Mapping[str, Any]) -> None:
    if not estimate.keys() <= _PARTS:
        unknown = ", ".join(map(repr, sorted(estimate.keys() - _PARTS)))
        raise TypeError(f"{name} has {unknown}: expected none but {', '.join(sorted(_PARTS))}")
    if estimate.get("method") not in _METHODS:
        Method(estimate.get("method"))
    value, low, high, n = estimate["value"], estimate["low"], estimate["high"], estimate["n"]
    # The usual case in one look.
    if (type(value), type(low), type(high), type(n)) != (float, float, float, int):
        _check_each((name, f"{name} n"), (value, n), _NUMBER)
        _check_each((f"{name} low", f"{name} high"), (low, high), _MAYBE_NUMBER)
        _check_each((f"{name} n",), (n,), _WHOLE)
    if "rows" in estimate:
        _check_each((f"{name} rows",), (estimate["rows"],), _MAYBE_WHOLE)
    if "values" in estimate:
        _check_list(name, estimate["values"], _NUMBER)


def _check_each(names: Sequence[str], values: Iterable[Any], kinds: Kinds) -> None:
    if not kinds.issuperset(map(type, values)):
        expected = " | ".join(sorted(kind.__name__ for kind in kinds))
        wrong = (f"{name}={value!r}" for name, value in zip(names, values, strict=False) if type(value) not in kinds)
        raise TypeError(f"{', '.join(wrong)}: expected {expected}")


def _check_list(name: str, values: Any, kinds: Kinds) -> None:
    if type(values) is not list:
        raise TypeError(f"{name}={values!r}: expected list")
    if not kinds.issuperset(map(type, values)):
        _check_each([name] * len(values), values, kinds)

"""The record of a case, written to the results file as one line of JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from enum import Enum
from types import UnionType
from typing import Any

from gradshape.metrics import Estimate, Method
from gradshape_bench.verdict import Judgement, Threshold, Verdict

SCHEMA = 2
# Records of schema 1 say nothing of single seeds.
_READABLE = (1, SCHEMA)
# The reason begins with this if the data of the case could not be had.
MISSING_DATA = "data:"
# Lists and objects within each other, at most: pages and comparisons go through a record's values by recursion.
_DEEPEST = 200
# No number in a record needs more digits; an integer of more would not fit a float.
_DIGITS = 300


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
        document = {
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
        return json.dumps(document, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Record":
        """Read the record that :meth:`to_json` wrote.

        Raises:
            ValueError: the line is no record, or one of another version. No other error comes of any line.
        """
        try:
            return cls._read(line)
        except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
            raise ValueError(f"not a record: {type(error).__name__}: {error}") from error

    @classmethod
    def _read(cls, line: str) -> "Record":
        document = _DECODER.decode(line)
        if document["schema"] not in _READABLE:
            raise ValueError(f"schema {document['schema']!r}: this version reads schemas {_READABLE}")
        if line.count("[") + line.count("{") > _DEEPEST:
            _check_depth(document)
        if "\\u" in line or not line.isascii():
            _check_characters(document)
        _check_types(document)
        metrics = {name: _estimate(estimate) for name, estimate in document["metrics"].items()}
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


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    values, method = tuple(plain.get("values", ())), plain.get("method")
    return Estimate(
        **{**plain, "values": values, "method": None if method is None else Method(method)},
    )


def _plain_judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        **asdict(judgement.threshold),
        "low": judgement.estimate.low,
        "high": judgement.estimate.high,
        "verdict": judgement.verdict.value,
        "met": judgement.met,
        "reason": judgement.reason,
    }


def _judgement(plain: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> Judgement:
    estimate = metrics[plain["metric"]]
    if "low" in plain:
        estimate = replace(estimate, low=plain["low"], high=plain["high"])
    return Judgement(
        Threshold(plain["metric"], plain["op"], plain["bound"]),
        estimate,
        Verdict(plain["verdict"]),
        met=plain["met"],
        reason=plain.get("reason"),
    )


_TEXTS = ("case", "fingerprint", "dataset", "model", "protocol", "attack", "defense", "scale")
_OPTIONAL_TEXTS = ("dataset_fingerprint", "expected_failure", "reason")
_LATER = ("costs", "confidence", "planned_looks", "jobs", "cached_jobs", "challenge", "test")


def _check_types(document: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for a value whose type would only fail later, when it is sorted or printed."""
    fields: list[tuple[str, Any, type | UnionType]] = [(name, document[name], str) for name in _TEXTS]
    fields += [(name, document[name], str | None) for name in _OPTIONAL_TEXTS]
    fields += [(name, document[name], dict) for name in ("metrics", "details", "environment")]
    fields += [(name, document[name], list) for name in ("seeds", "thresholds")]
    fields += [("seeds", seed, int) for seed in document["seeds"]]
    fields.append(("seconds", document["seconds"], int | float))
    fields += [(f"costs {name}", seconds, int | float) for name, seconds in document.get("costs", {}).items()]
    for name, estimate in document["metrics"].items():
        fields += [(name, estimate["value"], int | float), (name, estimate["n"], int)]
        fields += [(name, estimate[end], int | float | None) for end in ("low", "high")]
        fields += [(name, value, int | float) for value in _listed(name, estimate.get("values", []))]
        fields += [(f"{name} rows", estimate.get("rows"), int | None)]
    for threshold in document["thresholds"]:
        fields += [("metric", threshold["metric"], str), ("op", threshold["op"], str)]
        fields += [("bound", threshold["bound"], int | float), ("reason", threshold.get("reason"), str | None)]
        fields += [(end, threshold.get(end), int | float | None) for end in ("low", "high")]
        if not isinstance(threshold["met"], bool):
            raise TypeError(f"met={threshold['met']!r}: expected bool")
    fields += [("looks", look, int) for look in _listed("looks", document.get("looks", []))]
    fields += [("confidence", document.get("confidence", 0.95), int | float)]
    fields += [("planned_looks", document.get("planned_looks", 1), int)]
    fields += [(name, document.get(name), int | None) for name in ("jobs", "cached_jobs")]
    fields += [(name, document.get(name), str | None) for name in ("challenge", "test")]
    for name, value, kind in fields:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: expected {getattr(kind, '__name__', kind)}")


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{name}={value!r}: expected list")
    return value


def _check_depth(value: Any) -> None:
    """Raise ``ValueError`` if lists and objects lie too deep within each other; without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
    if level:
        raise ValueError(f"not a record: values lie more than {_DEEPEST} deep within each other")


def _within(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _check_characters(document: Any) -> None:
    """Raise ``ValueError`` for text that cannot be written to a page: JSON can spell half a surrogate pair."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not a record: half of a surrogate pair: {error.object[error.start]!r}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"not a record: it says {double!r} twice")
    return document


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"not a record: {number[:40]} is too large for a number")
    return value


def _whole(number: str) -> int:
    if len(number) > _DIGITS:
        raise ValueError(f"not a record: {number[:40]}... has {len(number)} digits")
    return int(number)


def _refuse(constant: str) -> float:
    raise ValueError(f"not a record: {constant} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_distinct)

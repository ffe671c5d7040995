"""The record of a case, written to the results file as one line of JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from enum import Enum
from types import UnionType
from typing import Any

from gradshape.metrics import Estimate
from gradshape_bench.verdict import Judgement, Threshold, Verdict

SCHEMA = 1
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
        thresholds = [{**asdict(j.threshold), "verdict": j.verdict.value, "met": j.met} for j in self.judgements]
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
            "metrics": {name: asdict(estimate) for name, estimate in self.metrics.items()},
            "thresholds": thresholds,
            "expected_failure": self.expected_failure,
            "reason": self.reason,
            "details": dict(self.details),
            "seconds": self.seconds,
            "costs": dict(self.costs),
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
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}: this version reads schema {SCHEMA}")
        if line.count("[") + line.count("{") > _DEEPEST:
            _check_depth(document)
        if "\\u" in line or not line.isascii():
            _check_characters(document)
        _check_types(document)
        metrics = {name: Estimate(**estimate) for name, estimate in document["metrics"].items()}
        judgements = tuple(
            Judgement(
                Threshold(t["metric"], t["op"], t["bound"]),
                metrics[t["metric"]],
                Verdict(t["verdict"]),
                met=t["met"],
            )
            for t in document["thresholds"]
        )
        return cls(
            **{name: document[name] for name in (*_TEXTS, *_OPTIONAL_TEXTS, "details", "seconds", "environment")},
            seeds=tuple(document["seeds"]),
            status=Status(document["status"]),
            metrics=metrics,
            judgements=judgements,
            costs=document.get("costs", {}),  # Records of earlier versions have none.
        )


_TEXTS = ("case", "fingerprint", "dataset", "model", "protocol", "attack", "defense", "scale")
_OPTIONAL_TEXTS = ("dataset_fingerprint", "expected_failure", "reason")


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
    for threshold in document["thresholds"]:
        fields += [("metric", threshold["metric"], str), ("op", threshold["op"], str)]
        fields += [("bound", threshold["bound"], int | float)]
        if not isinstance(threshold["met"], bool):
            raise TypeError(f"met={threshold['met']!r}: expected bool")
    for name, value, kind in fields:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: expected {getattr(kind, '__name__', kind)}")


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

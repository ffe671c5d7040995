"""Rules of the gate: which metrics it looks at, and by how much each may get worse."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from gradshape import _validate
from gradshape_bench.plain_text import plain
from gradshape_bench.report.metric_definitions import METRICS

_EXPECTED = "expected METRIC:+X, METRIC:+X% or METRIC:+X,+Y%, such as rad:+0.02"
_RULE = re.compile(r"(?P<metric>[a-z0-9_]+):(?P<bounds>.+)")
_BOUND = re.compile(r"\+(?P<number>(\d+(\.\d*)?|\.\d+)([eE]-?\d{1,3})?)(?P<percent>%?)")
_EPOCHS = ("_best", "_last")
# What a reader shown a wrong rule needs of it.
_SHOWN = 60


@dataclass(frozen=True)
class Rule:
    """By how much one metric may get worse before it counts.

    Attributes:
        metric: its name.
        absolute: by so much, in the metric's own unit, at least 0.
        relative: and by this share of the earlier value, at least 0; 0 where none is asked for.
    """

    metric: str
    _: KW_ONLY
    absolute: float
    relative: float = 0.0

    def margin(self, base: float) -> float:
        """Return what a metric has to get worse by, from an earlier value of ``base``: both bounds are needed.

        >>> rule = Rule("rad", absolute=0.02, relative=0.5)
        >>> rule.margin(0.1), rule.margin(0.0)
        (0.05, 0.02)
        """
        return max(self.absolute, self.relative * abs(base))

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is better for the defender."""
        return METRICS[_defined(self.metric)].lower_is_better

    def __str__(self) -> str:
        bounds = [f"+{self.absolute:g}"] if self.absolute or not self.relative else []
        return f"{self.metric}:{','.join([*bounds, *([f'+{100 * self.relative:g}%'] if self.relative else [])])}"


# Each is more than other seeds alone change the mean over three of them by, in most cases of the suites at smoke scale;
# the intervals see to the others.
DEFAULT_RULES = (
    Rule("rad", absolute=0.01),
    Rule("success_rate", absolute=0.1),
    Rule("backdoor_rate", absolute=0.05),
    Rule("mse_ratio", absolute=0.05),
    Rule("utility_loss", absolute=0.01),
    Rule("mse_ratio_utility", absolute=0.05),
    Rule("accuracy_clean", absolute=0.01),
)
_FLOORS: Mapping[str, float] = {rule.metric: rule.absolute for rule in DEFAULT_RULES}


def parse_rule(text: str) -> Rule:
    """Parse a rule: ``METRIC:+X``, ``METRIC:+X%`` or ``METRIC:+X,+Y%``.

    It is broken by a metric that got worse by more than X, by more than X % of its earlier value, or by more than both.
    A relative bound alone goes with the metric's floor in :data:`DEFAULT_RULES`: of an earlier value of 0, or near it,
    any change is a large share.

    Raises:
        ValueError: ``text`` is no rule, or the metric is unknown; near matches are listed.

    >>> parse_rule("success_rate:+10%"), str(parse_rule("rad:+0.02,+10%"))
    (Rule(metric='success_rate', absolute=0.1, relative=0.1), 'rad:+0.02,+10%')
    """
    match = _RULE.fullmatch(text.strip())
    shown = plain(text, longest=_SHOWN)
    if match is None:
        raise ValueError(f"{shown!r}: {_EXPECTED}")
    metric = match["metric"]
    if _defined(metric) not in METRICS:
        raise _validate.unknown("metric", metric, METRICS)
    found: dict[str, float] = {}
    for part in match["bounds"].split(","):
        bound = _BOUND.fullmatch(part.strip())
        number = math.inf if bound is None else float(bound["number"])
        if bound is None or bound["percent"] in found or not math.isfinite(number):
            raise ValueError(f"{shown!r}: {_EXPECTED}")
        found[bound["percent"]] = number
    absolute = found.get("", _FLOORS.get(_defined(metric), 0.0))
    return Rule(metric, absolute=absolute, relative=found.get("%", 0.0) / 100)


def parse_rules(texts: Iterable[str]) -> Sequence[Rule]:
    """Parse rules, which take the place of :data:`DEFAULT_RULES`; these, if there are none.

    Raises:
        ValueError: as :func:`parse_rule`, or there are two rules for one metric.
    """
    rules = [parse_rule(text) for text in texts]
    metrics = [rule.metric for rule in rules]
    double = next((metric for metric in metrics if metrics.count(metric) > 1), None)
    if double is not None:
        raise ValueError(f"two rules for {double}: expected one: '{double}:+X,+Y%' needs both bounds")
    return rules or DEFAULT_RULES


def _defined(metric: str) -> str:
    """Return under which name a metric is defined; that of an epoch's stands for both epochs."""
    for suffix in _EPOCHS:
        if metric.endswith(suffix):
            return metric.removesuffix(suffix)
    return metric

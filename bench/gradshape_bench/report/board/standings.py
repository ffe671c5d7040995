"""What a ranking holds: its field, how each defence stands, and what is not in it."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cached_property

from gradshape_bench.records.record import Record
from gradshape_bench.report.threats import Threat

# A task, as (data set, model, protocol), and an attack on it.
TaskName = tuple[str, str, str]
Cell = tuple[TaskName, str]


@dataclass(frozen=True)
class Field:
    """What can be ranked together: victims of one kind that are measured by one metric at one scale.

    Attributes:
        scale: the scale.
        threat: what the attacker wants.
        metric: the metric that ranks defences; less is better.
        fitted: whether the victims are fitted by a solver, to which other defences apply than to gradient steps.
    """

    scale: str
    threat: Threat
    metric: str
    fitted: bool

    @property
    def regression(self) -> bool:
        """Whether errors are compared instead of accuracies."""
        return self.metric.startswith("mse")

    @property
    def title(self) -> str:
        """What the ranking is about, in words."""
        name = f"{self.threat.value[0].upper()}{self.threat.value[1:]}"
        if self.regression:
            return f"{name}, regression"
        return f"{name}, fitted victims" if self.fitted else f"{name}, victims trained by gradient steps"


class Apart(Enum):
    """Whether one defence is told apart from another; the value is how reports spell it."""

    BETTER = "better"
    WORSE = "worse"
    NEITHER = "not separated"


@dataclass(frozen=True)
class Standing:
    """How one defence stands.

    Attributes:
        defense: its label.
        kind: its mechanism; empty if it is not recorded.
        rank: 1 plus the number of defences with a better score.
        ranks: the lowest and the highest rank that the bootstrap finds; ``None`` without one.
        score: mean over the tasks of the mean over the budgets of its worst case.
        interval: of the score; ``None`` without a bootstrap.
        against_vanilla: whether the bootstrap tells it apart from plain training; ``None`` without either.
        by_task: what each task contributes to the score.
        worst: the record of the single worst cell.
        cost: mean over the tasks of what it costs on clean data; ``None`` if that is not measured.
        trusted: mean over the tasks of what the trusted rows alone do; ``None`` if it is not given any.
        verdicts: how many cells passed, failed and were left open.
        records: its records, one for each cell.
    """

    defense: str
    _: KW_ONLY
    kind: str
    rank: int
    ranks: tuple[int, int] | None
    score: float
    interval: tuple[float, float] | None
    against_vanilla: Apart | None
    by_task: Sequence[float]
    worst: Record
    cost: float | None
    trusted: float | None
    verdicts: tuple[int, int, int]
    records: Sequence[Record]

    @property
    def beaten_by_trusted_rows(self) -> bool:
        """Whether a model trained on nothing but the rows that the defence trusts is at least as good."""
        return self.trusted is not None and self.trusted <= self.score


@dataclass(frozen=True)
class Ranking:
    """Defences in order, and everything that is not in it, with the reason.

    Attributes:
        field: what is ranked.
        standings: from the best to the worst.
        separated: for each neighbours whether they are told apart; empty without a bootstrap.
        paired: whether all draws are paired by seed.
        tasks: the tasks that the ranking is on, each with its attacks.
        absent: defences that lack cells, each with those that it lacks.
        broken: defences whose clean model does not work, with the reason, where the score would not show that.
        controls: defences that are told what is poison or draw lots, with their score; ``None`` if they lack cells.
        weak: attacks that enter no ranking, by task.
        elsewhere: tasks on which fewer of these defences were run, or none.
    """

    field: Field
    standings: Sequence[Standing]
    _: KW_ONLY
    separated: Sequence[bool]
    paired: bool
    tasks: Mapping[TaskName, Sequence[str]]
    absent: Mapping[str, Sequence[Cell]]
    broken: Mapping[str, str]
    controls: Mapping[str, float | None]
    weak: Mapping[TaskName, Sequence[str]]
    elsewhere: Sequence[TaskName]

    @property
    def best(self) -> Standing | None:
        """The first that may be called best: it beats its own trusted rows, if it is given any."""
        return next((one for one in self.standings if not one.beaten_by_trusted_rows), None)

    @cached_property
    def cells(self) -> int:
        """On how many cells the defences are ranked."""
        return sum(map(len, self.tasks.values()))

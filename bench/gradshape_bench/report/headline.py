"""Which metrics of a record the leaderboard shows: damage of the attack, cost of the defence, total of both."""

from dataclasses import KW_ONLY, dataclass

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record


@dataclass(frozen=True)
class Headline:
    """Names of the metrics that are shown of one kind of experiment; for all of them less is better.

    Attributes:
        damage: metric of the damage of the attack to the defended model.
        total: metric of attack and defence together, against the undefended clean model; ``None`` if there is none.
        cost: metric of the cost of the defence on clean data; ``None`` if there is none.
        title: title of the table that shows the damage.
        ranks: whether the defence with the least damage or total is the best.
        places: decimals that are shown.
    """

    damage: str
    total: str | None
    cost: str | None
    _: KW_ONLY
    title: str = "What the poison did"
    ranks: bool = True
    places: int = 3


HEADLINES = (
    # These describe a training and do not measure a defence.
    Headline("magnitude_ratio", None, None, title="How much larger the poison's gradients were", ranks=False),
    Headline("distinct_poisons", None, None, title="How many different poisons there were", ranks=False, places=1),
    Headline(
        "boundary_length", None, "utility_loss", title="How long the boundary between the classes was", ranks=False
    ),
    # The accuracy on rows without the trigger does not show what the trigger does.
    Headline(
        "backdoor_rate", None, "utility_loss", title="How many test rows with the trigger went in at the back door"
    ),
    Headline("rad", "rad_vs_vanilla", "utility_loss"),
    Headline("mse_ratio", "mse_ratio_vs_vanilla", "mse_ratio_utility"),
    Headline("success_rate", None, "utility_loss", title="How many targets were won"),
)


def headline(record: Record) -> Headline | None:
    """Return which metrics to show of ``record``; ``None`` if it has no such metric."""
    for found in HEADLINES:
        if found.damage in record.metrics:
            return found
    return None


def damage(record: Record) -> Estimate | None:
    """Return the damage of the attack."""
    names = headline(record)
    return None if names is None else record.metrics[names.damage]


def total(record: Record) -> Estimate | None:
    """Return the total of attack and defence."""
    names = headline(record)
    return None if names is None or names.total is None else record.metrics.get(names.total)


def cost(record: Record) -> Estimate | None:
    """Return the cost of the defence on clean data."""
    names = headline(record)
    return None if names is None or names.cost is None else record.metrics.get(names.cost)


def judged(record: Record) -> Estimate | None:
    """Return the estimate that ranks defences against one attack: the total if it is measured, else the damage.

    It is ``None`` for a rate over no targets, which is 0 whatever the defence does.
    """
    names = headline(record)
    found = (total(record) or damage(record)) if names is not None and names.ranks else None
    return None if found is None or found.n == 0 else found

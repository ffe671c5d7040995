"""Which of a record's metrics a board shows: what the attack did, what is left of it all, what the defence costs."""

from dataclasses import KW_ONLY, dataclass

from gradshape.metrics import Estimate
from gradshape_bench.record import Record


@dataclass(frozen=True)
class Headline:
    """Names of the metrics of one kind of experiment; of all of them less is better.

    Attributes:
        damage: what the attack did to the defended model.
        total: attack and defence together, against the undefended clean model; ``None`` if that is not measured.
        cost: what the defence costs on clean data; ``None`` if that is not measured.
        title: of the table that shows the damage.
        ranks: whether the defence with the least is the best.
    """

    damage: str
    total: str | None
    cost: str | None
    _: KW_ONLY
    title: str = "What the poison did"
    ranks: bool = True


_HEADLINES = (
    # What a training looked like inside is no measure of a defence.
    Headline("magnitude_ratio", None, None, title="How much larger the poison's gradients were", ranks=False),
    Headline("distinct_poisons", None, None, title="How many different poisons there were", ranks=False),
    Headline(
        "boundary_length", None, "utility_loss", title="How long the boundary between the classes was", ranks=False
    ),
    # What a trigger does is not seen in the accuracy on rows without it.
    Headline(
        "backdoor_rate", None, "utility_loss", title="How many test rows with the trigger went in at the back door"
    ),
    Headline("rad", "rad_vs_vanilla", "utility_loss"),
    Headline("mse_ratio", "mse_ratio_vs_vanilla", "mse_ratio_utility"),
    Headline("success_rate", None, "utility_loss", title="How many targets were won"),
)


def headline(record: Record) -> Headline | None:
    """What a board shows of ``record``; ``None`` if it has no such metric."""
    return next((headline for headline in _HEADLINES if headline.damage in record.metrics), None)


def damage(record: Record) -> Estimate | None:
    """What the attack did."""
    names = headline(record)
    return None if names is None else record.metrics[names.damage]


def total(record: Record) -> Estimate | None:
    """Attack and defence together."""
    names = headline(record)
    return None if names is None or names.total is None else record.metrics.get(names.total)


def cost(record: Record) -> Estimate | None:
    """What the defence costs on clean data."""
    names = headline(record)
    return None if names is None or names.cost is None else record.metrics.get(names.cost)


def judged(record: Record) -> Estimate | None:
    """By what the defences of one attack are compared: the total, where it is measured, else the damage.

    ``None`` of a rate of nothing, which is 0 whatever the defence does.
    """
    names = headline(record)
    found = (total(record) or damage(record)) if names is not None and names.ranks else None
    return None if found is None or found.n == 0 else found

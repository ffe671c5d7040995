"""What the attacker of a section wants, by what its records measure."""

from collections import Counter
from collections.abc import Iterable
from enum import Enum

from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import headline


class Threat(Enum):
    """What the attacker wants; the value is how the page spells it."""

    INDISCRIMINATE = "indiscriminate"
    TARGETED = "targeted"
    BACK_DOOR = "back door"
    NONE = "none"


_BY_DAMAGE = {
    "rad": Threat.INDISCRIMINATE,
    "mse_ratio": Threat.INDISCRIMINATE,
    "success_rate": Threat.TARGETED,
    "backdoor_rate": Threat.BACK_DOOR,
}
_BY_PROTOCOL = (
    ("from_scratch", Threat.INDISCRIMINATE),
    ("retrain", Threat.INDISCRIMINATE),
    ("one_shot", Threat.TARGETED),
    ("multi_poison", Threat.TARGETED),
    ("targeted", Threat.TARGETED),
    ("backdoor", Threat.BACK_DOOR),
)


def threat(records: Iterable[Record]) -> Threat:
    """Return what the attacker of these records wants: what most of them measure or, unmeasured, their protocol says.

    Protocols that look at gradients, clusters, boundaries or costs alone have no attacker who wants anything.

    Args:
        records: those of one data set, model and protocol; at least one.
    """
    found = list(records)
    names = [names for names in map(headline, found) if names is not None]
    if names:
        damage, _ = Counter(name.damage for name in names).most_common(1)[0]
        return _BY_DAMAGE.get(damage, Threat.NONE)
    protocol = found[0].protocol
    return next((threat for start, threat in _BY_PROTOCOL if protocol.startswith(start)), Threat.NONE)

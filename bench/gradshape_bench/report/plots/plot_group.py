"""Groups of records that one picture shows, and what their labels say."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.file_names import file_name
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.plots.style import text
from gradshape_bench.report.words import (
    attack_phrase,
    common_words,
    dataset_words,
    model_words,
    protocol_words,
)

VANILLA = "vanilla"
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# With more curves in one panel the eye cannot follow them.
_CURVES = 6


@dataclass(frozen=True)
class PlotGroup(RecordGroup):
    """A group of measured records as pictures show it."""

    def title(self, what: str) -> str:
        """Return the title of a picture."""
        task = f"{dataset_words(self.dataset)}: {model_words(self.model)}, {protocol_words(self.protocol)}"
        return f"{what}\n{text(task)} ({text(self.scale)} scale)"

    def file_name(self, kind: str, *more: str) -> str:
        """Return the name of a picture's files."""
        return file_name(kind, self.scale, self.dataset, self.model, self.protocol, *more)

    def find(self, attack: str, defense: str) -> Record | None:
        """Return the first record of that combination."""
        return next(iter(self.cell(attack, defense)), None)


def plot_groups(records: Iterable[Record]) -> list[PlotGroup]:
    """Group all records that were measured."""
    return PlotGroup.of(record for record in records if record.status is Status.OK)


def attack_names(attacks: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what attacks of one family have in common, for a title, and a name for each.

    >>> attack_names(["label_flip_10", "label_flip_40"])
    ('random label flips', {'label_flip_10': '10 %', 'label_flip_40': '40 %'})
    """
    phrases = [attack_phrase(attack) for attack in attacks]
    common, own = common_words(phrases)
    names = {attack: text(words) for attack, words in zip(attacks, own, strict=True)}
    return text(common or (own[0] if len(own) == 1 else phrases[0].subject)), names


def without_numbers(label: str) -> str:
    """Return the label without its numbers, which is the same for labels that differ in settings only.

    >>> without_numbers("dp_adam_c4_s1e-07")
    'dp_adam_c_s'
    """
    return _NUMBER.sub("", label).strip("_")


def intensity(label: str) -> tuple[str, float] | None:
    """Return family and intensity of an attack's label, in per cent of the clean rows; ``None`` without an intensity.

    >>> intensity("label_flip_0.5"), intensity("no_attack")
    (('label_flip', 0.5), None)
    """
    parts = label.split("_")
    places = [place for place, part in enumerate(parts) if _NUMBER.fullmatch(part)]
    if not places:
        return None
    return "_".join(parts[: places[-1]] + parts[places[-1] + 1 :]), float(parts[places[-1]])


def defense_groups(labels: Sequence[str]) -> list[list[str]]:
    """Group defences by panel, without plain training: those that differ in settings only, then the others.

    >>> defense_groups(["vanilla", "dp_adam_c8", "dp_adam_c4", "dp_adam_n1", "dp_adam_c4-layer"])
    [['dp_adam_c8', 'dp_adam_c4'], ['dp_adam_n1', 'dp_adam_c4-layer']]
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels:
        if label != VANILLA:
            groups[without_numbers(label)].append(label)
    families = [group for group in groups.values() if len(group) > 1]
    others = [label for group in groups.values() if len(group) == 1 for label in group]
    found = [group[i : i + _CURVES] for group in (*families, others) for i in range(0, len(group), _CURVES)]
    return found or [[]]

"""How the victims of some records were trained, and where the records do not agree on it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from gradshape_bench.plain_text import plain
from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, markdown

# Cells of a table that differ in any of these are hard to compare.
_SETUP = ("train_rows", "test_rows", "estimator", "optimizer", "lr", "batch_size", "epochs", "accuracy")
_ROWS = {"train_rows": "training rows", "test_rows": "test rows"}
# How many cases and values a line names.
_NAMED = 3
# Characters of a value.
_LONGEST = 80


class Setup:
    """How the victims of measured records were trained.

    Args:
        records: of one protocol on one task.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._values = _values(records)

    def sentence(self) -> str:
        """Return a sentence on rows and training; empty if nothing is known of either."""
        known = {name: _joined([value for value, _ in values if value]) for name, values in self._values.items()}
        rows = [f"{known[kind]} {words}" for kind, words in _ROWS.items() if known[kind]]
        parts = [" and ".join(rows) + (f" (data {known['data']})" if known["data"] else "")]
        if known["estimator"]:
            parts.append(f"fitted by {known['estimator']}")
        elif known["optimizer"]:
            parts.append(
                f"{known['optimizer']}, learning rate {known['lr']}, batch size {known['batch_size']}, "
                f"{known['epochs']} epochs"
            )
            parts += [f"accuracy of the {known['accuracy']} epoch"] if known["accuracy"] else []
        parts += [f"seeds {known['seeds']}"] if known["seeds"] else []
        text = "; ".join(part for part in parts if part)
        return f"{text}." if text else ""

    def disagreements(self) -> Iterator[str]:
        """Yield a line for each value that fewer records have than another one of the same setting."""
        for name, values in self._values.items():
            for value, having in values[1:]:
                cases = [markdown.escape(record.case) for record in having[:_NAMED]]
                if len(having) > _NAMED:
                    cases.append(f"{len(having) - _NAMED} more")
                most = f"{markdown.escape(values[0][0]) or 'unknown'} in {cells.count(len(values[0][1]), 'case')}"
                yield (
                    f"{name.replace('_', ' ')}: {most}, but {markdown.escape(value) or 'unknown'} in "
                    f"{cells.count(len(having), 'case')}: {', '.join(cases)}"
                )


def _joined(values: Sequence[str]) -> str:
    more = [f"{len(values) - _NAMED} more"] if len(values) > _NAMED else []
    return " / ".join([*map(markdown.escape, values[:_NAMED]), *more])


def _values(records: Sequence[Record]) -> dict[str, list[tuple[str, list[Record]]]]:
    """Return, by setting, the values that the records have, the most frequent first, each with its records."""
    fields: dict[str, list[tuple[str, list[Record]]]] = {}
    for name in (*_SETUP, "seeds", "data"):
        # Thousands of records have the same few values, which are formatted once.
        raw: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            raw[repr(_value(record, name))].append(record)
        groups: defaultdict[str, list[Record]] = defaultdict(list)
        for same in raw.values():
            groups[_text(_value(same[0], name))] += same
        fields[name] = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return fields


def _value(record: Record, name: str) -> object:
    if name == "seeds":
        return record.seeds
    return (record.dataset_fingerprint or "")[:12] if name == "data" else record.details.get(name, "")


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return _seeds(value)
    text = cells.plain(value)
    return text if len(text) <= _LONGEST else plain(text, longest=_LONGEST)


def _seeds(seeds: Sequence[int]) -> str:
    """Format seeds, many of them as a range.

    >>> _seeds((0, 1, 2)), _seeds(tuple(range(20)))
    ('0, 1, 2', '0 to 19')
    """
    if len(seeds) > 5 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return plain(", ".join(map(str, seeds)), longest=_LONGEST)

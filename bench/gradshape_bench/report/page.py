"""Writing a page that no record can prevent: one that cannot be shown is left out and named."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gradshape_bench.plain_text import message_of
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import write_atomically

Rendered = TypeVar("Rendered")
Render = Callable[[Sequence[Record]], Rendered]
# How many records that only fail beside others are looked for: each takes several renderings.
_SEARCHED = 20


def write(render: Render[str], records: Sequence[Record], path: Path) -> list[str]:
    """Write a page to ``path``, so that readers see either the old page or the new.

    Returns:
        One line for each record that the page leaves out, because it cannot be shown.

    Raises:
        OSError: the page cannot be written.
        ValueError: it cannot be rendered whatever is left out.
    """
    page, left_out = rendered(render, records)
    write_atomically(path, [page])
    return [f"{path.name} leaves out {record.case}: {problem}" for record, problem in left_out]


def rendered(render: Render[Rendered], records: Sequence[Record]) -> tuple[Rendered, list[tuple[Record, str]]]:
    """Return the page, or the pages, of all records that can be shown, and the others with what is wrong with each.

    A record's details are plain values of any kind, as its experiment chose them, or somebody's editor.

    Raises:
        ValueError: the page cannot be rendered whatever is left out.
    """
    try:
        return render(records), []
    except Exception as error:
        problem = message_of(error)
    left_out: list[tuple[Record, str]] = []
    good = _shown_alone(render, records, left_out)
    for _ in range(_SEARCHED):
        fault = _fault(render, good)
        if fault is None:
            return render(good), left_out
        # The shortest beginning that cannot be shown ends with a record that does not go with those before it.
        shows, fails = 0, len(good)
        while fails - shows > 1:
            middle = (shows + fails) // 2
            if _fault(render, good[:middle]) is None:
                shows = middle
            else:
                fails = middle
        if not fails:
            break
        left_out.append((good.pop(fails - 1), fault))
    raise ValueError(f"the page cannot be made: {problem}")


def _shown_alone(
    render: Render[Rendered], records: Sequence[Record], left_out: list[tuple[Record, str]]
) -> list[Record]:
    """Return the records that can be shown at least alone, and add the others to ``left_out``."""
    fault = _fault(render, records)
    if fault is None:
        return list(records)
    if len(records) < 2:
        left_out.extend((record, fault) for record in records)
        return []
    half = len(records) // 2
    return [*_shown_alone(render, records[:half], left_out), *_shown_alone(render, records[half:], left_out)]


def _fault(render: Render[Rendered], records: Sequence[Record]) -> str | None:
    try:
        render(records)
    except Exception as error:
        return message_of(error)
    return None

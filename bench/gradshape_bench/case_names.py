"""Names of cases that somebody may have meant by a name that no case has."""

import difflib
import heapq
import re
from collections.abc import Iterable

# How many names are suggested, and how many of those that share the most parts are looked at closely.
_SUGGESTED = 3
_NEAREST = 60


def near_cases(name: str, known: Iterable[str]) -> list[str]:
    """Return the ids among ``known`` that are most like ``name``, the nearest first; at most three.

    Ids that hold the name, and ids that have parts of it between their hyphens, are nearer than others. It takes some
    hundredths of a second for 10,000 ids.

    >>> near_cases("digits-lr-label_flop_10", ["digits-lr-label_flip_10-vanilla", "mail-nb-dictionary_1-roni"])
    ['digits-lr-label_flip_10-vanilla']
    """
    asked = set(_parts(name))

    def shared(id: str) -> tuple[bool, int, int]:
        return name in id, len(asked.intersection(_parts(id))), -abs(len(id) - len(name))

    nearest = heapq.nlargest(_NEAREST, dict.fromkeys(known), key=shared)
    holding = sorted((id for id in nearest if name in id), key=len)
    alike = difflib.get_close_matches(name, nearest, n=_SUGGESTED, cutoff=0.6)
    return list(dict.fromkeys([*holding, *alike]))[:_SUGGESTED]


def unknown_case(name: str, known: Iterable[str], *, where: str) -> ValueError:
    """Return a ``ValueError`` for an id that is not among ``known``, with near matches.

    >>> print(unknown_case("digits", ["digits-lr"], where="in results.jsonl"))
    no case 'digits' in results.jsonl: did you mean 'digits-lr'?
    """
    ids = list(known)
    near = near_cases(name, ids)
    if near:
        return ValueError(f"no case {name!r} {where}: did you mean {' or '.join(map(repr, near))}?")
    held = "one case, none like it" if len(ids) == 1 else f"{len(ids):,} cases, none like it"
    return ValueError(f"no case {name!r} {where}: there {'is' if len(ids) == 1 else 'are'} {held}")


def _parts(id: str) -> list[str]:
    return re.split(r"[-_]", id)

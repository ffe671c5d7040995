"""What went wrong in the cache, counted, in words for the end of a run."""

import json
import logging
from dataclasses import dataclass, field
from enum import Enum

_log = logging.getLogger("gradshape_bench.cache")

_LONGEST = 300


class Fault(Enum):
    """What can go wrong. None of it changes a number or fails a case."""

    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    UNKEPT = "unkept"
    UNLOCKED = "unlocked"


_TOLD = {
    Fault.DAMAGED: ("damaged entry was computed again", "damaged entries were computed again"),
    Fault.UNREADABLE: (
        "entry could not be read and was computed again",
        "entries could not be read and were computed again",
    ),
    Fault.UNKEPT: ("finished job could not be kept", "finished jobs could not be kept"),
    Fault.UNLOCKED: (
        "lock could not be had, so that another run may have done the same jobs",
        "locks could not be had, so that other runs may have done the same jobs",
    ),
}


@dataclass
class _Tally:
    """How often something went wrong, and why at first."""

    keys: set[str] = field(default_factory=set)
    first: str = ""


class Faults:
    """Counts what went wrong, each entry or lock once, in however many processes that was."""

    def __init__(self) -> None:
        self._tallies = {fault: _Tally() for fault in Fault}

    def note(self, fault: Fault, key: str, reason: str) -> None:
        """Count what went wrong with the entry or the lock of the name ``key``; only the first of a kind is logged."""
        tally = self._tallies[fault]
        if not tally.keys:
            tally.first = " ".join(reason.split())[:_LONGEST]
            _log.warning("in the cache, 1 %s: %s", _TOLD[fault][0], tally.first)
        tally.keys.add(key)

    def count(self, fault: Fault) -> int:
        """Return how many entries or locks this befell."""
        return len(self._tallies[fault].keys)

    def line(self) -> str | None:
        """Return all of it in one line; ``None`` if nothing went wrong.

        >>> faults = Faults()
        >>> faults.note(Fault.UNKEPT, "0a1b", "No space left on device")
        >>> faults.line()
        'cache: 1 finished job could not be kept (first: No space left on device)'
        """
        told = [
            f"{len(tally.keys)} {_TOLD[fault][len(tally.keys) > 1]} (first: {tally.first})"
            for fault, tally in self._tallies.items()
            if tally.keys
        ]
        return f"cache: {'; '.join(told)}" if told else None

    def pack(self) -> str:
        """Return all of it as a text, for :meth:`add` in another process."""
        return json.dumps({fault.value: [tally.first, sorted(tally.keys)] for fault, tally in self._tallies.items()})

    def add(self, packed: str) -> None:
        """Add what another process has counted."""
        for value, (first, keys) in json.loads(packed).items():
            tally = self._tallies[Fault(value)]
            tally.first = tally.first or first
            tally.keys |= set(keys)

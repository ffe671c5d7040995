"""Families of labels, and how a label is read by the family that it is of."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

from gradshape_bench.report.words.phrase import Phrase

_NUMBER = r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)"
_NAME = r"([a-z][a-z0-9-]*)"
_ANY_SETTING = re.compile(rf"_([a-z]+){_NUMBER}(?=_|$)")


def _as_it_is(name: str) -> str:
    return name


@dataclass(frozen=True)
class Family:
    """Labels that begin alike.

    Attributes:
        prefix: what they begin with.
        words: what they are.
        settings: words for the parts that may follow the prefix, each after an underscore, with ``{0}`` for what
            stands in place of ``#``, a number, or of ``*``, a name. The first pattern that fits counts, and each counts
            once. What no pattern fits is read as a name and a number: ``quiz20`` is ``quiz 20``.
        amount: words for a part that is a number alone; ``None`` if there is no such part.
        named: words for what stands in place of ``*``.
    """

    prefix: str
    words: str
    settings: Mapping[str, str] = field(default_factory=dict)
    amount: str | None = None
    _: KW_ONLY
    named: Callable[[str], str] = _as_it_is

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(setting), words) for setting, words in self.settings.items()]

    def read(self, label: str) -> Phrase | None:
        """Return the words for a label; ``None`` if it is not of this family.

        >>> Family("badnets", "patch", {"s#": "{0} × {0} pixels"}, "{0} %").read("badnets_s3_1")
        Phrase(subject='patch', settings=('3 × 3 pixels',), amount='1 %')
        """
        if label != self.prefix and not label.startswith(f"{self.prefix}_"):
            return None
        settings, amount, place = [], "", len(self.prefix)
        left = list(self._patterns)
        while place < len(label):
            for pattern, words in left:
                if match := pattern.match(label, place):
                    settings.append(words.format(*map(self._said, match.groups())))
                    left.remove((pattern, words))
                    break
            else:
                if self.amount is not None and not amount and (match := _AMOUNT.match(label, place)):
                    amount = singular(self.amount.format(match[1]))
                elif match := _ANY_SETTING.match(label, place):
                    settings.append(f"{match[1]} {match[2]}")
                else:
                    return None
            place = match.end()
        return Phrase(self.words, tuple(settings), amount)

    def _said(self, found: str) -> str:
        return _plain_number(found) if re.fullmatch(_NUMBER, found) else self.named(found)


_AMOUNT = re.compile(rf"_{_NUMBER}(?=_|$)")


def _plain_number(number: str) -> str:
    """Return a number as it is printed.

    >>> _plain_number("1e-07"), _plain_number("2.5e-05"), _plain_number("0.1")
    ('10⁻⁷', '2.5 · 10⁻⁵', '0.1')
    """
    digits, _, exponent = number.partition("e")
    if not exponent:
        return number
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if digits == "1" else f"{digits} · {power}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _pattern(setting: str) -> re.Pattern[str]:
    escaped = re.escape(setting).replace(r"\#", _NUMBER).replace(r"\*", _NAME)
    return re.compile(rf"_{escaped}(?=_|$)")


def singular(words: str) -> str:
    """Return words with a number as they are said of one thing.

    >>> singular("1 candidates"), singular("12 candidates")
    ('1 candidate', '12 candidates')
    """
    return words.removesuffix("s") if words.startswith("1 ") else words


def read(label: str, families: Sequence[Family]) -> Phrase | None:
    """Return the words for a label by the first family that can read it; ``None`` if none can."""
    return next((phrase for family in families if (phrase := family.read(label)) is not None), None)

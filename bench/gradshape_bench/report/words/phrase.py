"""What a label says, part by part, and what several labels say alike."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrase:
    """The words for a label.

    Attributes:
        subject: what it is; may be empty where the settings say it.
        settings: the settings that the label states, in its order.
        amount: how much of it there is; empty if the label does not say.

    >>> str(Phrase("watermark", ("opacity 0.4",), "100 rows"))
    'watermark, opacity 0.4, 100 rows'
    """

    subject: str
    settings: tuple[str, ...] = ()
    amount: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything that it says, in order."""
        return tuple(filter(None, (self.subject, *self.settings, self.amount)))

    @property
    def without_amount(self) -> str:
        """What it says but for the amount."""
        return ", ".join(filter(None, (self.subject, *self.settings)))

    def __str__(self) -> str:
        return ", ".join(self.parts)


def common_words(phrases: Sequence[Phrase]) -> tuple[str, list[str]]:
    """Return what phrases have in common, and what each has alone.

    What is common is empty, and each phrase is whole, if there is one phrase only or if they differ in form.

    >>> common_words([Phrase("watermark", (f"opacity {alpha}",), "100 rows") for alpha in (0.1, 1)])
    ('watermark, 100 rows', ['opacity 0.1', 'opacity 1'])
    """
    whole = [str(phrase) for phrase in phrases]
    if len(phrases) < 2 or len({len(phrase.parts) for phrase in phrases}) > 1:
        return "", whole
    columns = list(zip(*(phrase.parts for phrase in phrases), strict=True))
    alike = [len(set(column)) == 1 for column in columns]
    if not any(alike) or all(alike):
        return "", whole
    common = ", ".join(column[0] for column, same in zip(columns, alike, strict=True) if same)
    own = [", ".join(part for part, same in zip(phrase.parts, alike, strict=True) if not same) for phrase in phrases]
    return common, own

"""Attacks whose code holds any value."""

from dataclasses import dataclass
from typing import Any

from gradshape.attacks import LabelFlip


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


def closing_over(held: object) -> Any:
    """An attack of a class that closes over a value."""

    @dataclass(frozen=True)
    class Local(LabelFlip):
        def craft(self, *arguments: Any, **named: Any) -> Any:
            assert held is not None
            return super().craft(*arguments, **named)

    return Local(0.1)

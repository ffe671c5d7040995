"""What two estimators have in common that a fit of one could change for the other."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from gradshape._sameness import pickled

# These do not change, or are shared by all who use them: classes, functions and modules.
_CONSTANT = (
    *(type(None), bool, int, float, complex, str, bytes, range, Enum),
    *(type, FunctionType, BuiltinFunctionType, MethodType, ModuleType),
)
_HOLDS = (tuple, frozenset)


def shared_parts(one: object, other: object) -> tuple[object, ...]:
    """Return the objects that two estimators both hold and that may be changed, but not what these hold in turn."""
    held = {id(part) for part in _below(one, stop=())}
    return tuple(part for part in _below(other, stop=held) if id(part) in held)


@contextmanager
def unchanged(parts: Sequence[object], name: str) -> Iterator[None]:
    """Check that nothing changes ``parts`` of estimators in this context, as far as they can be pickled.

    Raises:
        ValueError: a part was changed.
    """
    before = [pickled(part) for part in parts]
    yield
    for part, content in zip(parts, before, strict=True):
        if content is not None and pickled(part) != content:
            raise ValueError(
                f"the factory of estimator {name!r} gives all its estimators the same {type(part).__name__}, which a "
                "fit of one changes for the others: expected new parts at every call (copy.deepcopy makes them)"
            )


def _below(root: object, stop: Iterable[int]) -> Iterator[object]:
    """Yield what an object is made of and may be changed, itself included; do not look into those to stop at."""
    seen, left = set[int](), deque([root])
    while left:
        value = left.popleft()
        if id(value) in seen or isinstance(value, _CONSTANT):
            continue
        seen.add(id(value))
        if not isinstance(value, _HOLDS):
            yield value
            if id(value) in stop:
                continue
        left.extend(_held(value))


def _held(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield from value
    yield from getattr(value, "__dict__", {}).values()

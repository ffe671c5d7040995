"""Checks of what authors of attacks and defences declare in their classes, made when a class is defined."""

from typing import Any


def check_declares(cls: type, name: str, kind: type, *, what: str, presets: str) -> None:
    """Raise ``TypeError`` unless a class that can have objects declares ``name`` as a value of ``kind``.

    A property, a field of a dataclass or an inherited value does as well. Classes that are still abstract may leave it
    to those made from them.

    Args:
        cls: the class that was just defined.
        name: of the class attribute.
        kind: of its value.
        what: what the class is, for the message.
        presets: what it may be set to, for the message.
    """
    value = getattr(cls, name, None)
    if isinstance(value, kind) or hasattr(type(value), "__get__"):
        return
    expected = f"expected {name} = ..., {presets}"
    if value is not None:
        raise TypeError(f"{what} {cls.__name__}: {name}={value!r}: {expected}")
    if not _is_abstract(cls) and not _is_field(cls, name):
        raise TypeError(f"{what} {cls.__name__} has no {name}: {expected}")


def check_property(cls: type, name: str, *, what: str) -> None:
    """Raise ``TypeError`` if the class has a method where a property is expected."""
    if callable(getattr(cls, name, None)):
        raise TypeError(f"{what} {cls.__name__}: {name} is a method: expected a property, so write @property above it")


def _is_abstract(cls: type) -> bool:
    # `__abstractmethods__` is set only after the class is made.
    return any(getattr(_found(cls, name), "__isabstractmethod__", False) for name in dir(cls))


def _found(cls: type, name: str) -> Any:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _is_field(cls: type, name: str) -> bool:
    """Return whether a class below the one that declares ``name`` for all annotates it, as the field of a dataclass."""
    try:
        return sum(name in getattr(base, "__annotations__", {}) for base in cls.__mro__) > 1
    except NameError:  # Annotations may name what is imported for type checkers only.
        return True

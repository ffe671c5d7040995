"""What the checks of a kit find in objects that break a promise on purpose."""

from collections.abc import Sequence

from gradshape.testing import BrokenPromise, Check


def broken_by(checks: Sequence[Check]) -> dict[str, str]:
    """The promises that are broken, and what is said about each."""
    found = {}
    for check in checks:
        try:
            check()
        except BrokenPromise as broken:
            found[broken.promise] = str(broken)
    return found


def names(promises: Sequence[object]) -> set[str]:
    """All promises of a kit."""
    return {getattr(promise, "__name__", "").replace("_", "-") for promise in promises}

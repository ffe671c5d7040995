"""How far two ways of computing the same numbers may differ by rounding, given the rounding error of their dtype."""


def same_pass(eps: float) -> float:
    """Relative tolerance for sums that are taken from one forward pass: they differ in the last products only."""
    return _graded(eps, 1e-6, 1e-3, 2e-2, 1e-1)


def other_pass(eps: float) -> float:
    """Relative tolerance for gradients from two forward passes, which may round to either side of a kink."""
    return _graded(eps, 1e-5, 2e-2, 1e-1, 3e-1)


def losses(eps: float) -> float:
    """Relative tolerance for losses from two forward passes."""
    return _graded(eps, 1e-7, 1e-4, 3e-2, 1e-1)


def noise(eps: float) -> float:
    """Size, relative to the whole gradient, of a layer's gradient that may be nothing but rounding errors."""
    return min(256 * eps, same_pass(eps))


def _graded(eps: float, double: float, single: float, half: float, brain: float) -> float:
    if eps < 1e-12:
        return double
    if eps < 1e-6:
        return single
    return half if eps < 2e-3 else brain

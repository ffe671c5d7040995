"""Names of files that are made from labels, which may hold anything."""

import hashlib
import re

_LONGEST = 150


def file_name(*parts: str) -> str:
    """Make a file name from labels that may hold anything; different labels give different names.

    >>> file_name("heat_map", "paper", "fashion_mnist_34")
    'heat_map-paper-fashion_mnist_34'
    >>> file_name("heat_map", "../rows.npz")
    'heat_map-rows.npz-b9a966'
    """
    safe = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-.") for part in parts)
    # A hyphen within a part would look like one between parts.
    if safe.split("-") == list(parts) and len(safe) <= _LONGEST:
        return safe
    return f"{safe[:_LONGEST]}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:6]}"

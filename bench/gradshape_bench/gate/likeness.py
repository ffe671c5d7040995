"""Whether two measurements of a case are of the same thing, and were made in the same place."""

from gradshape_bench.gate.snapshot import ENVIRONMENT, Snapshot


def unlike(old: Snapshot, new: Snapshot) -> str | None:
    """Return why two measurements are not of the same thing; ``None`` if they are."""
    if old.challenge is None or new.challenge is None:
        which = "BASE" if old.challenge is None else "NEW"
        return f"the record of {which} is of an older version, which kept neither seeds' values nor the challenge"
    if old.challenge != new.challenge:
        return "another challenge: rows, attack or protocol are defined otherwise"
    if old.rows is None or old.rows != new.rows:
        return "other rows: the data set has another fingerprint"
    return None


def elsewhere(old: Snapshot, new: Snapshot) -> str | None:
    """Return in what the machines of two measurements differ; ``None`` if in nothing that is known."""
    for side, environment in (("BASE", old.environment), ("NEW", new.environment)):
        if not environment:
            return f"measured elsewhere, perhaps: the record of {side} does not say where"
    differ = [name for name in ENVIRONMENT if old.environment.get(name) != new.environment.get(name)]
    if not differ:
        return None
    said = (f"{name} {_shown(old.environment.get(name))}, then {_shown(new.environment.get(name))}" for name in differ)
    return f"measured elsewhere: {'; '.join(said)}"


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)

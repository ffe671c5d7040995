"""Faults, and what they must not do: what ``docs/guarantees.md`` promises is shown here."""

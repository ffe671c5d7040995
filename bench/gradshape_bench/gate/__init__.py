"""The regression gate: whether a later run is worse than an earlier one, case by case and beyond chance and noise."""

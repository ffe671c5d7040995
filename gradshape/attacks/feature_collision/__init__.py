"""Poison that looks like one row and has the features of another: Poison Frogs and the polytope attacks."""

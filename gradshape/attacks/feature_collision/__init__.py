"""Rows that keep their looks while networks see another row in them: Poison Frogs for one network, polytopes for
several at once.
"""

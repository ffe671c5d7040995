"""Nelson et al. 2008: spam against filters that judge messages by their words."""

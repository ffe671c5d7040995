"""Nelson et al. 2008: attacks with spam on filters that judge messages by their words."""

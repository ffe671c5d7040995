"""Any network on its own, by autograd."""

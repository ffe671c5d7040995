"""How fast a clipped training step is, measured side by side with plain training and with Opacus."""

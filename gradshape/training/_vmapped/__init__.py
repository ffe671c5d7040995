"""Networks whose layers all have rules for per-sample gradients, as one module with a model axis."""

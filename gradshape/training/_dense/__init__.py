"""Plain ReLU networks in closed form: shared rows go through one matrix product for all models of a stack."""

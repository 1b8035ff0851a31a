"""Training without knowledge of any model: a family gives items, a loss and parameters; this package does the rest."""

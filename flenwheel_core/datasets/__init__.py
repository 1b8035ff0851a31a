"""Sets of paintings that a style is learned from: where they come from, which are fit, how they are split, what they look like."""

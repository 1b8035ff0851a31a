"""When a picture of the drawn world shows the character."""

SAME_CHARACTER = 0.65
"""Cosine to the mean embedding of true renders from which on a picture shows the character."""

"""When a picture of the drawn world shows the character."""

SAME_CHARACTER = 0.65
"""Cosine to the mean embedding of true renders from which on a picture shows the character: where errors of both kinds are about alike on
portraits and bodies together (`embedder_mixed` of the result file nano_models). Siblings pass it often (`embedder_siblings`)."""

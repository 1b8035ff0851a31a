"""Z-Image: one stream of text and picture tokens; time and the sign of its output run the other way round."""

"""FLUX.2 klein: base and editor in one model, 4B and 9B alike."""

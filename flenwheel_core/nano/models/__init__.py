"""Shapes of the nano models: configurations, tokenizers and the folders they are saved to."""

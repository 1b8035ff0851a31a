"""Qwen-Image-Edit and its -2509 and later Plus revisions."""

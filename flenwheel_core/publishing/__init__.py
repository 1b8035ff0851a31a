"""Handing a LoRA to others: its card, and the places it can be published to."""

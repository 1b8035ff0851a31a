"""FLUX.1: drawing pictures and training LoRAs."""

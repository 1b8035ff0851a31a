"""Qwen2.5-VL as captioner and as judge."""

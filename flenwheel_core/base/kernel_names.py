"""The names of the card's kernels, as settings know them. What they are: flenwheel_core/kernels/table.py."""

KERNEL_NAMES = ("quantise", "transpose", "unpack", "add", "vector", "heads", "modulated", "gelu", "attention")
ALL = "all"

"""Triton code, a file an operation. Imported only when a kernel is wanted: Triton is not needed, and not there, on a CPU."""

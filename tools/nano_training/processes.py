"""Processes for work that is divided."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def processes(workers: int) -> ProcessPoolExecutor:
    """So many processes, each begun afresh.

    A fork of a process with threads keeps what they held and not the threads; it may hang, or fail at its end, and its cleaning up reaches
    into this process by the descriptors that both hold.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"))

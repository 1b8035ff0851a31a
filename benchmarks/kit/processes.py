"""Processes that are told apart by what stands in their environment, whoever started them."""

from pathlib import Path


def processes_with(name: str, value: object) -> list[int]:
    """The ids of all that live and have this variable in the environment that they began with. Linux only."""
    mark = f"{name}={value}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found

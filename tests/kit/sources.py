"""The files that users install."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flenwheel_core", "flows", "tasks", "deployments", "tools")


def sources() -> list[Path]:
    """All modules of the product."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

"""What is pinned can be installed with every Python that the README promises."""

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11.0", "3.11.2", "3.12.3", "3.13.5")
"""The first that is promised, and those of Debian 12, Ubuntu 24.04 and Debian 13."""


def test_every_pinned_package_takes_every_promised_python() -> None:
    checked, refusing = 0, []
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pinned = Requirement(line)
        try:
            facts = metadata(pinned.name)
        except PackageNotFoundError:
            continue  # another platform's
        if facts["Version"] not in pinned.specifier:
            continue
        checked += 1
        wanted = SpecifierSet(facts.get("Requires-Python") or "")
        refusing += [f"{line} on Python {python}: it wants {wanted}" for python in PYTHONS if python not in wanted]
    assert checked > 150 and refusing == []

"""Where the flows and their deployments lie."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""Where the flows are: the checkout, or where the packages were installed."""
DEPLOYMENTS = PROJECT / "deployments" / "prefect" / "prefect.yaml"

NO_SERVICES = "--no-services"
"""Tells a server of this program that the background services are a process of their own."""

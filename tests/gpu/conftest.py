"""Every test in this folder needs a CUDA card."""

from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.timeout(300))
            item.add_marker(pytest.mark.filterwarnings("default"))  # of libraries whose versions are the machine's
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA card here"))

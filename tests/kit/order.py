"""In which order the files of tests begin: what takes longest goes first, so that no core waits for another's last file."""

from collections.abc import Sequence
from pathlib import Path

import pytest

LONGEST = (
    "core/runner/test_stage_process.py",
    "deployments/test_open_turns.py",
    "benchmarks/quality/test_nano_turn.py",
    "deployments/prefect/test_worker.py",
    "core/stages/test_train_share.py",
    "notebooks/test_notebooks.py",
    "deployments/test_cluster.py",
    "flows/test_trainings.py",
    "benchmarks/speed/test_dress_rehearsal.py",
    "deployments/test_compare_bases.py",
    "deployments/test_captioner.py",
    "deployments/workspace/test_installed.py",
    "core/stages/test_critic_look.py",
    "deployments/test_injection.py",
    "deployments/test_guarded_workspace.py",
    "deployments/test_behind_nginx.py",
    "core/models/qwen_vl/test_unsloth_backend.py",
    "flows/test_injected_cells.py",
    "tools/nano_training/test_siblings_run.py",
    "flows/test_sibling_turn.py",
    "deployments/test_gates.py",
    "deployments/test_flywheel2.py",
    "deployments/test_templates.py",
    "deployments/test_studio.py",
    "deployments/test_rounds.py",
    "tasks/test_other_machines.py",
    "core/models/flux1/test_team_training.py",
    "tasks/test_slot.py",
)
"""Files under `tests/` that took a minute and more of a run on two busy cores, the longest first."""
_ROOT = Path(__file__).resolve().parents[1]


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests in the order of their files: the longest ones, then all others with a slow test, then the rest; within a file as they stand."""
    ranks = {_ROOT / name: rank for rank, name in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    return sorted(items, key=lambda item: ranks.get(item.path, len(ranks) + (item.path not in slow)))

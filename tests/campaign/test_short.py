"""A short part of the campaigns, to be run by hand otherwise."""

from __future__ import annotations

from pathlib import Path

import flips
import kills
import pytest


@pytest.mark.slow
def test_no_flipped_bit_is_missed_used_or_in_the_way(tmp_path: Path) -> None:
    assert flips.campaign(tmp_path, 5, seed=1) == []


@pytest.mark.slow
def test_no_kill_changes_a_result_or_leaves_anything(tmp_path: Path) -> None:
    """Two thirds of the ways to die are single file operations of the worker or of the run."""
    assert kills.campaign(kills.Runs(*kills.toy(tmp_path), tmp_path / "work"), 6, seed=2) == []

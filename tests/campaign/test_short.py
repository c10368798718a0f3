"""A short part of the campaigns, to be run by hand otherwise."""

from __future__ import annotations

from pathlib import Path

import flips
import pytest


@pytest.mark.slow
def test_no_flipped_bit_is_missed_used_or_in_the_way(tmp_path: Path) -> None:
    assert flips.campaign(tmp_path, 5, seed=1) == []

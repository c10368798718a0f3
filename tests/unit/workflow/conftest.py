"""The toy recipe in a fresh folder, with its trace switched on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_folder import Toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    """Return the toy recipe in a folder of its own."""
    monkeypatch.setenv("TOY_TRACE", str(tmp_path / "trace.txt"))
    monkeypatch.setenv("TOY_HOLD", str(tmp_path / "hold"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    toy = Toy(tmp_path)
    yield toy
    for process in toy.started:  # a test that failed leaves no run that stands still for ever
        process.kill()

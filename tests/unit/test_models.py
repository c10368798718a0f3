"""The table that ``distill models`` prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distill import doctor
from distill.doctor import MODEL_COLUMNS, model_rows
from distill.potentials import POTENTIALS


def rows() -> dict[str, dict[str, str]]:
    """The table by the potential and column."""
    return {
        name: dict(zip(MODEL_COLUMNS, row, strict=True)) for name, row in zip(POTENTIALS, model_rows(), strict=True)
    }


def test_every_potential_has_the_name_that_recipes_use() -> None:
    for name, row in rows().items():
        assert row["name"] == {"mace-student": "mace", "custom": "module:Class"}.get(name, name)


def test_says_what_a_chemist_asks() -> None:
    table = rows()
    assert table["mace-off23"]["elements"] == "HCNOFPSClBrI" and table["mace-mp-0a"]["elements"] == "89"
    assert table["painn"]["elements"] == "all"
    assert table["mace-off23"]["level of theory"] == "ωB97M-D3(BJ)/def2-TZVPPD"
    assert table["mace-omat-0"]["licence"] == "ASL" and table["mace-mpa-0"]["licence"] == "MIT"
    assert table["mace-mpa-0"]["size"] == "9.1 M"


def test_says_where_weights_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda row: [])
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    table = rows()
    assert table["chgnet-0.3"]["weights"] == "in its package"
    assert table["mace"]["weights"] == table["graph-pes"]["weights"] == "your file"
    assert table["mace-mp-0a"]["weights"] == "downloads 44 MB"
    assert table["painn"]["weights"] == "untrained"
    POTENTIALS["mace-mp-0a"].weights.path.touch()
    assert rows()["mace-mp-0a"]["weights"] == "cached"


def test_a_missing_package_is_the_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda row: [p for p in row.requires if p == "mace-torch"])
    table = rows()
    assert table["mace-mp-0a"]["weights"] == "not installed: pip install 'mlip-distill[mace]'"
    assert table["chgnet-0.3"]["weights"] == "in its package"


def test_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """About 120 characters, with two spaces between columns."""
    monkeypatch.setattr(doctor, "missing_packages", lambda row: [])
    widths = [max(map(len, column)) for column in zip(MODEL_COLUMNS, *model_rows(), strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= 122


def test_needs_no_torch() -> None:
    code = "import sys; from distill.doctor import model_rows; model_rows(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

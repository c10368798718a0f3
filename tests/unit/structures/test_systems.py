"""Charges and spins that potentials do not see are noticed, under whatever key; neutral, closed-shell systems pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule

from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.systems import check_systems
from distill.structures.frames import Frames
from distill.structures.read import read_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon"


def systems(*infos: dict[str, Any]) -> list[Finding]:
    """Check water molecules with such ``info``."""
    structures = []
    for info in infos:
        atoms = molecule("H2O")
        atoms.info = dict(info)
        structures.append(atoms)
    return list(check_systems(FileFrames(Frames.from_atoms(structures), "x")))


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ({"charge": 1}, "charged"),
        ({"total_charge": -2.0}, "charged"),
        ({"Charge": 1.0}, "charged"),
        ({"multiplicity": 3}, "magnetic"),
        ({"spin": 2}, "magnetic"),
        ({"total_magmom": 1.7}, "magnetic"),
        ({"magmoms": [0.0, 2.1, -2.1]}, "magnetic"),
    ],
)
def test_noticed(info: dict[str, Any], kind: str) -> None:
    (finding,) = systems(info, {})
    assert (finding.severity, finding.kind, finding.frames) == ("warning", kind, (0,))
    assert "1 of 2 systems" in finding.what
    (finding,) = systems(info, info)
    assert "all systems" in finding.what


def test_neutral_and_closed_shell() -> None:
    charges = ({"charge": 0}, {"charge": "?"}, {})
    spins = ({"multiplicity": 1}, {"spin": 1}, {"spin": 0}, {"total_magmom": 0.003})
    assert systems(*charges, *spins) == []
    assert list(check_systems(FileFrames(read_frames(SILICON / "test.xyz")[0], "x"))) == []


def test_moments_of_atoms_in_a_column(file: Callable[..., Path]) -> None:
    frame = (
        '2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1 energy=-3.5\n'
        "Fe 0 0 0 0 0 0 {0}\nFe 2 2 2 0 0 0 -{0}\n"
    )
    path = file(frame.format("0.00"), frame.format("2.20"))
    frames, source = read_frames(path)
    assert source.magnetic == (1,)
    (finding,) = check_systems(FileFrames(frames, "x"), source.magnetic)
    assert (finding.kind, finding.frames) == ("magnetic", (1,))

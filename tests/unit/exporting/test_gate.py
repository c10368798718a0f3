"""The gate on potentials of which it is known where they have holes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.data import covalent_radii
from ase.stress import full_3x3_to_voigt_6_stress

import distill
from distill.analysis.gate import VOLUMES, GateRow, judge_compression, judge_dimer, judge_dynamics, judge_splice
from distill.base.errors import UserError, WorkError
from distill.cli import main
from distill.exporting.certificate import begun
from distill.exporting.gate import Gate, require, run_gate
from distill.exporting.references import has_vacuum, references
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch

BOND = 2 * float(covalent_radii[29])
SEARCH = NeighbourSearch(5.0)
EDGE = 0.97 * BOND * np.sqrt(2)


class Morse(Calculator):
    """Pairs of copper whose wall goes on like 1/r, with flaws on request.

    Args:
        scale: of the forces; 1 is right.
        well: depth in eV of a well at 0.83 of the bond, no more than a tenth of an Å wide.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, scale: float = 1.0, well: float = 0.0) -> None:
        super().__init__()
        self.scale, self.well = scale, well

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energy and its derivative; both vanish at the cutoff of 5 Å."""
        swing, cut = np.exp(-2.0 * (r - BOND)), (1 - (r / 5.0) ** 2) ** 3
        energy = 0.4 * (swing**2 - 2 * swing)
        slope = 0.4 * -4.0 * (swing**2 - swing)
        total, derivative = energy * cut, slope * cut - energy * 6 * r / 25 * (1 - (r / 5.0) ** 2) ** 2
        dip = -self.well * np.exp(-((r - 0.83 * BOND) ** 2) / (2 * 0.04**2))
        return total + dip, derivative - dip * (r - 0.83 * BOND) / 0.04**2

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Fill the results."""
        super().calculate(atoms, properties, system_changes)
        i, j, r, vector = SEARCH.pairs(self.atoms.positions, self.atoms.cell.array, self.atoms.pbc, "ijdD")
        energy, slope = self.pair(r)
        pull = (slope / r)[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i.astype(int), pull)
        np.add.at(forces, j.astype(int), -pull)
        total = float(energy.sum())
        self.results = {"energy": total, "free_energy": total, "forces": self.scale * forces}
        if self.atoms.cell.rank == 3:
            stress = np.einsum("ni,nj->ij", pull, vector) / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


def copper() -> Frames:
    return Frames.from_atoms([bulk("Cu", a=EDGE)])


def look(model: Morse, **options: Any) -> Gate:
    return run_gate(GivenCalculator(model), copper(), model="it", ps=0.05, seconds=1e3, **options)


def failed(found: Gate) -> set[str]:
    return {row.name for row in found.failures}


def test_an_analytic_potential_passes() -> None:
    found = look(Morse())
    assert found.passed, [row.sentence for row in found.failures]
    assert require(found) == "" and found.crystals == ("Cu",) and found.rows[-1].value == pytest.approx(0.05)


def test_forces_that_are_no_derivative_fail_and_nobody_else_is_blamed() -> None:
    found = look(Morse(scale=1.3), teacher=GivenCalculator(Morse()))
    assert {"F = -dE/dx", "joint of the repulsion of Cu-Cu"} <= failed(found)
    (row,) = (row for row in found.rows if row.name == "F = -dE/dx")
    assert row.value is not None and row.value > 0.05 and not row.whose
    with pytest.raises(WorkError, match=r"safety gate: it fails \d of 8 checks: "):
        require(found)
    assert require(found, force=True).startswith("UNSAFE: ")


class Broken(Morse):
    """Has no energy where two atoms are within 0.4 Å."""

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        energy, slope = super().pair(r)
        return np.where(r < 0.4, np.nan, energy), slope


def test_numbers_that_are_not_finite_fail_a_check_and_do_not_end_the_others(painn: Potential) -> None:
    found = look(Broken(), teacher=GivenCalculator(Morse()))
    assert [(row.name, row.whose) for row in found.failures] == [("two atoms", "student")]
    assert "is not finite" in found.sentence
    for weights in painn.parameters():
        weights.data.fill_(np.nan)
    found = run_gate(painn, copper(), model="it", ps=0.05)
    assert not any(row.passed for row in found.rows)


def test_a_well_in_compressed_matter_is_the_students_or_the_teachers() -> None:
    deep = Morse(well=3.0)
    found = look(deep, teacher=GivenCalculator(Morse()))
    names = {"Cu, compressed, sheared and rattled", "Cu at 0.5 of its volume"}
    assert names <= failed(found)
    whose = {row.name: row.whose for row in found.rows}
    assert {whose[name] for name in names} == {"student"} and whose["F = -dE/dx"] == ""
    found = look(deep, teacher=GivenCalculator(Morse(well=2.5)))
    assert {row.whose for row in found.failures if row.name in names} == {"teacher"}
    assert any("the teacher's hole too" in row.sentence for row in found.failures)


@pytest.mark.parametrize(
    ("energies", "passed"),
    [
        (lambda r: 300 / r**2, True),
        (lambda r: 2 / r**2, False),  # 8 eV at 0.5 Å
        (lambda r: 300 / r**2 - 900 * np.exp(-((r - 0.7) ** 2) / 0.01), False),
        (lambda r: np.where(r < 0.4, np.nan, 300 / r**2), False),
    ],
)
def test_walls(energies: Any, passed: bool) -> None:
    r = np.geomspace(0.3, 6, 100)
    assert judge_dimer("X-X", r, energies(r), 2.2).passed == passed


def test_a_jump_of_energy_or_force_at_the_joint() -> None:
    r = np.linspace(1, 2, 513)
    smooth = judge_splice("X-X", r, 5e3 / r**4, 2e4 / r**5)
    assert smooth.passed and smooth.value is not None and smooth.value < 1e-3
    kinked = np.where(r < 1.5, 1.0, 0.0)
    assert (
        "jumps by 1 eV/Å near 1.50 Å"
        in judge_splice("X-X", r, 5e3 / r**4 - kinked * (r - 1.5), 2e4 / r**5 + kinked).sentence
    )
    assert "the work of its force" in judge_splice("X-X", r, 5e3 / r**4 + 10 * kinked, 2e4 / r**5).sentence


def test_compressed_crystals_rise_from_their_own_equilibrium_on() -> None:
    energies = 20 * (VOLUMES - 0.85) ** 2  # smaller than its reference by 15 %
    pressures = -40 * (VOLUMES - 0.85)
    required, warned = judge_compression("X", energies, pressures)
    assert required.passed and warned.passed and warned.warns and not warned.fails
    fallen = np.where(VOLUMES < 0.42, energies - 9, energies)
    required, warned = judge_compression("X", fallen, pressures)
    assert required.passed and not warned.passed and not warned.fails and warned.value == 0.45
    assert "falls when it is compressed to 0.4 of" in warned.sentence
    required, _ = judge_compression("X", energies, np.where(VOLUMES < 0.63, -1.0, pressures))
    assert required.fails and required.value == 0.65 and "the pressure of X is -160 GPa" in required.sentence
    assert judge_compression("X", np.full(len(VOLUMES), np.nan), None)[0].fails


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "stay whole for 1 ps (10 ps would have taken too long)"),
        ({"min_ratio": np.linspace(0.9, 0.5, 11)}, "two atoms come within 0.58 of their covalent distance at 800 fs"),
        ({"depth": np.linspace(0.1, -0.3, 11)}, "the energy is 0.06 eV/atom below the crystal's at 400 fs"),
        ({"broke": "at 300 fs energies are not finite"}, "at 300 fs energies are not finite"),
        ({"planned_ps": 2.0}, "it ends after 1 of 2 ps"),
    ],
)
def test_dynamics(change: dict[str, Any], said: str) -> None:
    whole = {"time_fs": np.linspace(0, 1000, 11), "depth": np.full(11, 0.1), "min_ratio": np.full(11, 0.9)}
    row = judge_dynamics("X", 600, **(whole | {"broke": "", "planned_ps": 1.0, "wanted_ps": 10.0} | change))
    assert said in row.sentence and row.passed == (not change)


def test_references_are_the_lowest_of_each_composition_and_no_slabs(painn: Potential) -> None:
    slab, boxed = fcc111("Cu", (1, 1, 3), vacuum=6.0, periodic=True), molecule("H2O", cell=3 * [9.0], pbc=True)
    crystals = [bulk("Cu"), bulk("Cu", cubic=True), bulk("NaCl", "rocksalt", a=5.64)]
    frames = Frames.from_atoms([slab, boxed, *crystals])
    assert [has_vacuum(one) for one in frames] == [True, True, False, False, False]
    labelled = frames.with_labels(np.array([-99.0, -99.0, -1.0, -8.0, -3.0]), None, None)
    found = references(labelled, painn)
    assert found.names == ("NaCl", "Cu") and list(found.crystals.n_atoms) == [2, 4] and not found.left_out
    assert set(references(frames, painn).names) == {"NaCl", "Cu"}, "without labels the model chooses"


def test_repulsion_alone_passes_and_a_student_without_it_fails(
    painn: Potential, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    painn.scales.data.fill_(0.001)  # the repulsion alone
    save(painn, tmp_path / "good", {})
    painn.short_range_repulsion = None
    painn.settings = painn.settings.model_copy(update={"short_range_repulsion": False})
    save(painn, tmp_path / "bad", {})
    (tmp_path / "cu.xyz").write_text(
        f'1\nLattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}" pbc="T T T" Properties=species:S:1:pos:R:3\nCu 0 0 0\n'
    )
    how = ["--structures", str(tmp_path / "cu.xyz"), "--ps", "0.02", "--seconds", "100", "--out", str(tmp_path)]
    assert main(["gate", str(tmp_path / "good"), *how]) == 0
    written = json.loads((tmp_path / "gate.json").read_text())
    assert written["passed"] and written["crystals"] == ["Cu"] and len(written["rows"]) == 8
    assert main(["gate", str(tmp_path / "bad"), *how, "--teacher", str(tmp_path / "good")]) == 1
    shown = capsys.readouterr().out
    assert "FAILED  two atoms Cu-Cu at 0.50 Å" in shown and "the student's hole" in shown
    with pytest.raises(UserError, match="temperature is -5"):
        distill.gate(tmp_path / "good", tmp_path / "cu.xyz", temperature=-5)
    assert main(["gate", str(tmp_path / "good"), "--structures", str(tmp_path / "none.xyz")]) == 2


def test_an_export_that_fails_is_refused_or_says_unsafe(
    painn: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painn.elements = (29,)
    save(painn, tmp_path / "good", {})
    refused = Gate("bad", (GateRow("X", False, 1.0, 2.0, "eV", "X falls"),), ("X",), 0, 300.0, "", 1.0)
    with pytest.raises(WorkError, match="safety gate: bad fails 1 of 1 checks: X falls"):
        distill.export(tmp_path / "good", out=tmp_path / "out", gate=refused)
    assert not (tmp_path / "out").exists()
    said = begun("LAMMPS", "double") | {"verdict": "not run: not here"}
    monkeypatch.setattr("distill.exporting.lammps.certificate.certify", lambda *_: said)
    done = distill.export(tmp_path / "good", out=tmp_path / "out", gate=refused, force=True)
    for name in ("README.md", "lammps/README.md", "lammps/in.example"):
        assert "UNSAFE: X falls" in (tmp_path / "out" / name).read_text()
    assert done.safety == "UNSAFE: X falls" and not json.loads((tmp_path / "out" / "gate.json").read_text())["passed"]

"""A teacher is added by one short file and one line in the table: everything else takes it as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_every_potential as contract
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones as Reference

import distill
from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.sampling.grow import grow
from distill.sampling.rules import GrowthRules
from distill.structures.frames import Frames
from distill.training.gradient.student import train_student

FILE = Path(__file__).with_name("lennard_jones.py")
NAME = "lennard-jones"
LINES = 80
QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(POTENTIALS.rows, NAME, "lennard_jones:LennardJones")


def build() -> Potential:
    """Return the teacher as a recipe gets it."""
    row = POTENTIALS[NAME]
    potential: Potential = row.build(row.Settings(), 0)
    return potential


def reference(potential: Potential) -> Reference:
    """Return the same potential of ASE."""
    settings = POTENTIALS[NAME].Settings()
    epsilon, sigma = potential.get_parameter("epsilon").item(), potential.get_parameter("sigma").item()
    return Reference(epsilon=epsilon, sigma=sigma, ro=settings.onset, rc=settings.cutoff, smooth=True)


def structures() -> list[Atoms]:
    """Return crystals without symmetry, and a molecule."""
    rng = np.random.default_rng(1)
    found = [bulk("Si", cubic=True) for _ in range(11)] + [bulk("GaAs", "zincblende", a=5.6)]
    for atoms in found:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    found.append(Atoms("OH2", [[0.0, 0, 0], [2.0, 0, 0], [0.3, 2.1, 0]]))
    for atoms in found:
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return found


def test_it_is_one_short_file() -> None:
    assert len(FILE.read_text().splitlines()) < LINES


def test_planning_with_it_needs_no_torch() -> None:
    code = f"import sys; sys.path.append({str(FILE.parent)!r}); import lennard_jones; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_keeps_the_contract_of_the_table() -> None:
    contract.test_says_what_it_is(NAME)
    contract.test_build_depends_on_the_seed_alone(NAME)
    contract.test_keeps_the_contract(NAME)


def test_it_is_that_of_ase() -> None:
    potential = build().double()
    calculator = reference(potential)
    for atoms in structures():
        found = potential.evaluate([atoms])
        atoms.calc = calculator
        assert found.energy[0] == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
        np.testing.assert_allclose(found.forces, atoms.get_forces(), rtol=0, atol=1e-9)
        if atoms.pbc.all():
            np.testing.assert_allclose(found.stress[0], atoms.get_stress(voigt=False), rtol=0, atol=1e-10)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    potential = build()
    save(potential, tmp_path, {})
    loaded = load(tmp_path)
    before, after = potential.evaluate(structures()), load(tmp_path).evaluate(structures())
    assert loaded.origin == potential.origin and loaded.settings == potential.settings
    for name in ("energy", "forces", "stress"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_a_recipe_names_it(tmp_path: Path) -> None:
    """A plan knows its elements and its section; without fine-tuning too, as its author may want."""
    overrides = [f"teacher.model={NAME}", "teacher.finetune.steps=5"]
    planned = distill.plan(distill.load_recipe(QUICKSTART, overrides))
    assert planned["finetune"].settings.model == NAME and planned["finetune"].settings.finetune.steps == 5
    planned = distill.plan(distill.load_recipe(QUICKSTART, [f"teacher.model={NAME}", "teacher.finetune=null"]))
    assert planned["finetune"].settings.finetune is None
    with pytest.raises(UserError, match="nothing follows the name 'lennard-jones'"):
        distill.load_recipe(QUICKSTART, [f"teacher.model={NAME}:file"])


@pytest.mark.slow
def test_it_is_distilled(tmp_path: Path) -> None:
    """It grows structures, labels them as ASE does, and a student that learns from them predicts its forces."""
    teacher = build()
    seeds = Frames.from_atoms(structures()[:6])
    rules = GrowthRules(structures=40, temperature=1000.0, sigma=(0.05, 0.3))
    grown = grow(teacher.evaluate, seeds, rules, seed=0, journal=tmp_path / "journal").structures
    assert len(grown) == 40
    for index, atoms in enumerate(grown.to_atoms()):
        atoms.calc = reference(teacher)
        np.testing.assert_allclose(grown[index].forces, atoms.get_forces(), rtol=1e-4, atol=1e-4)
    fit = {"steps": 200, "batch_size": 6, "learning_rate": 1e-2, "optimiser": "muon", "work": tmp_path / "work"}
    unseen = teacher.evaluate(structures()[6:11])
    order = {"seed": 0, "purpose": ("train", "distilled", 0), "loss": {}}
    student, _ = train_student("painn", {"preset": "small"}, grown, teacher.evaluate(seeds), **order, **fit)
    errors = np.abs(student.evaluate(unseen).forces - unseen.forces)
    assert errors.mean() < 0.5 * np.abs(unseen.forces).mean()

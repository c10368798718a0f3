"""The folder of an export: it opens as the model that it is of, and says what that is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import read

import distill
from distill.base.files import write_json
from distill.exporting.certificate import together
from distill.exporting.domain import domain_of
from distill.exporting.facts import Measured
from distill.exporting.folder import disagreements, write_card, written
from distill.exporting.lammps.target import Lammps
from distill.exporting.licences import Part, hub_licence, parts_of, strictest
from distill.exporting.target import Wanted
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.potentials.students.painn import PaiNN
from distill.structures.frames import Frames

MADE = {
    "architecture_licence": "MIT",
    "teacher": {"name": "diep-2.0", "licence": "BSD-3-Clause"},
}


@pytest.fixture(scope="module")
def student() -> Potential:
    """An untrained student of two elements."""
    made = PaiNN.build(PaiNN.Settings(channels=4, layers=1, radial_features=4, cutoff=3.0), seed=1)
    made.elements = (8, 14)
    with torch.no_grad():
        made.reference_energies[[8, 14]] = torch.tensor([-3.0, -4.5], dtype=torch.float64)
    return made.eval()


@pytest.fixture(scope="module")
def export(student: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every export of it has, made from its folder."""
    folder = tmp_path_factory.mktemp("export")
    save(student, folder / "saved", MADE)
    written(student, folder / "saved", {}, Wanted(), folder / "out", "CC-BY-4.0")
    return folder / "out"


def test_an_export_is_the_model_that_was_saved(export: Path, student: Potential) -> None:
    assert (export / "model.json").read_bytes() == (export.parent / "saved" / "model.json").read_bytes()
    opened = distill.load_potential(export)
    cell = read(export / "frames.xyz", "1")
    assert opened.evaluate([cell]).energy == student.evaluate([cell]).energy


def test_frames_have_what_the_student_says_in_double_precision(export: Path) -> None:
    """ASE reads the labels under its own keys; a stress is there where all directions are periodic."""
    frames = read(export / "frames.xyz", ":")
    assert len({one.info["frame"] for one in frames}) == 12
    double = distill.load_potential(export).in_precision("float64").calculator()
    for one in frames:
        ours = one.copy()
        ours.calc = double
        # sums of numbers of double precision in another order of batches
        assert one.get_potential_energy() == pytest.approx(ours.get_potential_energy(), abs=1e-10)
        assert np.allclose(one.get_forces(), ours.get_forces(), rtol=0, atol=1e-9)
        assert ("stress" in one.calc.results) == bool(one.pbc.all())


def test_texts_of_licences_are_those_of_the_installed_packages(export: Path) -> None:
    said = (export / "LICENSES" / "README.md").read_text()
    assert "- weights of the teacher diep-2.0: BSD-3-Clause (diep.txt)" in said
    assert "- data: CC-BY-4.0" in said
    assert "Permission is hereby granted" in (export / "LICENSES" / "mlip-distill.txt").read_text()
    assert "Redistribution" in (export / "LICENSES" / "diep.txt").read_text()


@pytest.mark.parametrize(
    ("teacher", "data", "expected"),
    [
        ("BSD-3-Clause", "MIT", {"license": "bsd-3-clause"}),
        ("BSD-3-Clause", "CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("BSD-3-Clause", "", {"license": "unknown"}),
        ("as the file", "MIT", {"license": "unknown"}),
        ("ASL (academic, not for commercial use)", "", {"license": "other", "license_name": "asl"}),
        ("MIT; FAIR Chemistry v1 (given out after a login)", "MIT", {"license": "other"}),
    ],
)
def test_the_strictest_licence_is_named(teacher: str, data: str, expected: dict[str, str]) -> None:
    """What is not known could be stricter, but for what forbids commercial use already."""
    made = {**MADE, "teacher": {"name": "some", "licence": teacher}}
    found = hub_licence(parts_of({"architecture": "painn", "provenance": made}, data))
    assert expected.items() <= found.items()


def test_fitting_code_counts() -> None:
    parts = parts_of({"architecture": "ace", "provenance": {"architecture_licence": "academic (software)"}}, "MIT")
    assert strictest(parts).packages == ("python-ace", "tensorpotential")
    assert strictest([Part("a", ""), Part("b", "MIT")]).what == "b"


CHECKS = {
    "frame: a": {"energy_ev_per_atom": {"difference": 1e-9, "limit": 1e-6}, "passed": True},
    "frame: b": {"energy_ev_per_atom": {"difference": 3e-6, "limit": 1e-6}, "passed": False},
    "2 ranks": {"passed": None, "verdict": "not run: there is no mpiexec"},
}
HEAD = {"engine": "LAMMPS", "date": "2026-11-28T10:00:00", "precision": "double", "verdict": "failed"}
PROGRAM = HEAD | {"checks": CHECKS}
ROW = {"model": "out", "variant": "refined", "seed": "1", "split": "test", "reference": "dft"}
ROW |= {"config_type": "all", "quantity": "forces", "statistic": "mae"}
ROWS = [
    ROW | {"value": "0.1389", "low": "0.1209", "high": "0.1561", "unit": "eV/Å", "n": "60"},
    ROW | {"quantity": "stress", "value": "0.007", "low": "", "high": "", "unit": "eV/Å³", "n": "60"},
    ROW | {"variant": "direct", "value": "9.9", "low": "9", "high": "10", "unit": "eV/Å", "n": "60"},
]


def test_a_card_says_what_was_found_and_what_was_not(export: Path) -> None:
    """Errors of this model alone with their intervals, a disagreement with its limit, and what nobody has looked at."""
    write_json(export / "certificate.json", together({"lammps": PROGRAM}))
    measured = Measured.of({"student": "out", "variant": "refined", "seed": 1}, ROWS)
    domain = domain_of(Frames.from_atoms([bulk("Si"), Atoms("OSi", [[0, 0, 0], [0, 0, 1.2]])]))
    write_card({"lammps": Lammps()}, "UNSAFE: it falls", export, domain=domain, measured=measured)
    _, front, text = (export / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(front)
    assert (said["license"], said["base_model"], said["tags"][-2:]) == ("unknown", "diep-2.0", ["O", "Si"])
    metrics = said["model-index"][0]["results"][0]["metrics"]
    assert [(one["value"], one["args"]["interval"]) for one in metrics] == [(0.1389, [0.1209, 0.1561]), (0.007, None)]
    for line in (
        "**UNSAFE: it falls**",
        "| force | DFT | 60 test structures | 0.139 [0.121, 0.156] | eV/Å |",
        "| stress | DFT | 60 test structures | 0.007 (no interval) | eV/Å³ |",
        "| O-Si | none within 3.3 | 1.20 |",
        "| energy (eV/atom), 2 structures | 3e-06 | 1e-06 | FAILED |",
        "| 2 ranks | – | – | not run: there is no mpiexec |",
        "## Safety gate\n\nNot evaluated.",
        "## Verdict by physics\n\nNot evaluated.",
        "Not known: data; it may be stricter. LAMMPS is GPL-2.0",
    ):
        assert line in text
    assert disagreements(together({"lammps": PROGRAM})) == [
        "LAMMPS does not say the same as this package (energy (eV/atom), 2 structures: 3e-06 where 1e-06 is allowed)"
    ]

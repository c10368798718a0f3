"""The units of DFT labels are recognised by comparing them with CHGNet, which was fitted to other calculations.

Labels are those of ``data/silicon`` (PBEsol), written in another unit or with another sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, GPa, Hartree, Rydberg, kcal, kJ, mol

from distill.potentials import POTENTIALS
from distill.structures.checks.compare import Comparison, compare_energies, compare_forces, compare_stresses
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.orders import ORDERS, VOIGT, check_order
from distill.structures.checks.readings import UNITS, Way, readings
from distill.structures.checks.units import MOST_ATOMS, Predict, check_units, pick
from distill.structures.checks.ways import energy_ways
from distill.structures.frames import Frames, concatenate
from distill.structures.read import read_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon"


@pytest.fixture(scope="module")
def silicon() -> Frames:
    return read_frames(SILICON / "train.xyz")[0]


@pytest.fixture(scope="module")
def predict(silicon: Frames) -> Predict:
    """CHGNet, asked once for each structure: labels change in these tests, structures do not."""
    teacher = POTENTIALS["chgnet-0.3"]
    known: dict[bytes, Frames] = {}
    potential = teacher.build(teacher.Settings(), seed=0)

    def evaluate(frames: Frames) -> Frames:
        key = frames.positions.tobytes()
        if key not in known:
            known[key] = potential.evaluate(frames)
        return known[key]

    return evaluate


def check(frames: Frames, predict: Predict) -> list[Finding]:
    return check_units([FileFrames(frames, "some.xyz")], predict, "chgnet-0.3")


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [finding.text() for finding in findings]
    return findings[0]


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_right_units(name: str, predict: Predict) -> None:
    assert check(read_frames(SILICON / f"{name}.xyz")[0], predict) == []


def test_all_files_together(predict: Predict) -> None:
    files = [FileFrames(read_frames(SILICON / f"{n}.xyz")[0], n) for n in ("train", "valid", "test")]
    assert check_units(files, predict, "chgnet-0.3") == []
    wrong = replace(files[2].frames, forces=-np.array(files[2].frames.forces))
    finding = only(check_units([*files[:2], FileFrames(wrong, "test")], predict, "chgnet-0.3"))
    assert (finding.kind, finding.where) == ("force-unit", "test")


FORCES = {
    "Hartree/Bohr": Hartree / Bohr,
    "Hartree/Å": Hartree,
    "Ry/Bohr": Rydberg / Bohr,
    "kcal/mol/Å": kcal / mol,
    "kJ/mol/Å": kJ / mol,
    "kJ/mol/nm": kJ / mol / 10,
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("unit", FORCES)
def test_forces(unit: str, sign: int, silicon: Frames, predict: Predict) -> None:
    """Hartree/Å and Ry/Bohr differ by 6 %, which no comparison tells apart: both are named."""
    finding = only(check(replace(silicon, forces=sign * np.array(silicon.forces) / FORCES[unit]), predict))
    assert (finding.severity, finding.kind) == ("error", "force-unit")
    assert unit in finding.what and ("gradients" in finding.what) == (sign < 0)
    assert f"{sign * FORCES[unit]:.5g}" in finding.remedy.partition(";")[0]


@pytest.mark.parametrize("ratio", [0.93, 1.0, 1.25, 1.5, 1.7])
@pytest.mark.parametrize("unit", FORCES)
def test_what_is_read_from_a_ratio(unit: str, ratio: float) -> None:
    """For every softness that was met: 0.93 to 1.0 for water, 1.0 to 1.9 for silicon."""
    first, *_ = readings([Way(Comparison(ratio / FORCES[unit], 0.95, 300, 1.0), UNITS["forces"])])
    assert any(name.startswith(unit) for name in first.units)
    first, *_ = readings([Way(Comparison(ratio, 0.95, 300, 1.0), UNITS["forces"])])
    assert first.units == {"eV/Å": 1.0}


def test_factors_of_the_text_books(silicon: Frames, predict: Predict) -> None:
    for factor, text in ((27.2114, "27.211"), (51.4221, "51.422"), (0.0433641, "0.043364"), (-1, "-1")):
        finding = only(check(replace(silicon, forces=np.array(silicon.forces) / factor), predict))
        assert f"by {text}" in finding.remedy


ENERGIES = {"eV": 1.0, "Hartree": Hartree, "Ry": Rydberg, "kcal/mol": kcal / mol, "kJ/mol": kJ / mol}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("per_atom", [False, True])
@pytest.mark.parametrize("unit", ENERGIES)
def test_energies(unit: str, per_atom: bool, sign: int, silicon: Frames, predict: Predict) -> None:
    """Structures of one size: 16 atoms and 13.6 eV are so near each other that both are named."""
    factor = sign * ENERGIES[unit] * (16 if per_atom else 1)
    found = check(replace(silicon, energy=np.array(silicon.energy) / factor), predict)
    if factor == 1:
        assert found == []
        return
    finding = only(found)
    assert (finding.severity, finding.kind) == ("error", "energy-unit")
    assert ("per atom" in finding.what) == (per_atom or unit == "Ry")
    assert (unit in finding.what or unit == "eV") and ("positive" in finding.what) == (sign < 0)
    assert f"{factor:.5g}" in finding.remedy.partition(";")[0]
    assert ("does not tell" in finding.remedy) == (" or " in finding.remedy)


@pytest.mark.parametrize("unit", ENERGIES)
@pytest.mark.parametrize("per", ["atom", "formula unit"])
def test_energies_per_atom_of_different_sizes(unit: str, per: str) -> None:
    """The sizes tell them apart, and no number but the unit's is named: quartz of 3, 6 and 9 atoms, or silicon."""
    rng = np.random.default_rng(0)
    sizes = np.repeat([1, 2, 3], 8)
    kinds = [8, 8, 14] if per == "formula unit" else [14]
    per_atom = rng.normal(-8, 0.1, len(sizes))
    n = sizes * len(kinds)
    plain = np.zeros((n.sum(), 3))
    frames = Frames(n, np.tile(kinds, sizes.sum()), plain, np.zeros((len(n), 3, 3)), np.zeros((len(n), 3)))
    theirs = replace(frames, energy=per_atom * n / 1.3, forces=plain)
    counts = n if per == "atom" else sizes
    ways = energy_ways(replace(frames, energy=per_atom * n / counts / ENERGIES[unit]), theirs)
    first = readings(ways)[0]
    assert first.way == f"per {per}" and first.times == f"the number of {per}s"
    assert list(first.units.values()) == pytest.approx([ENERGIES[unit]], rel=1e-6)  # exact but for the units' digits
    assert readings(energy_ways(replace(frames, energy=per_atom * n), theirs))[0].right


def test_energies_of_another_reference_are_right(silicon: Frames, predict: Predict) -> None:
    """An all-electron code: -7900 eV for each atom more."""
    assert check(replace(silicon, energy=np.array(silicon.energy) - 7900.0 * silicon.n_atoms), predict) == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("unit", UNITS["stresses"])
def test_stress(unit: str, sign: int, silicon: Frames, predict: Predict) -> None:
    factor = UNITS["stresses"][unit]
    found = check(replace(silicon, stress=sign * np.array(silicon.stress) / factor), predict)
    if (unit, sign) == ("eV/Å³", 1):
        assert found == []
        return
    finding = only(found)
    assert (finding.severity, finding.kind) == ("error", "stress-unit")
    assert (unit in finding.what) == (factor != 1) and ("sign" in finding.what) == (sign < 0)
    assert f"by {sign * factor:.5g}" in finding.remedy


@pytest.mark.parametrize(
    ("power", "sign", "words"), [(1, -1, "virials"), (1, 1, "other sign"), (-1, -1, "under a key")]
)
def test_virials(power: int, sign: int, words: str, silicon: Frames, predict: Predict) -> None:
    """A virial is -stress times volume; the reader makes a stress of it where its key says so."""
    scale = sign * silicon.volumes[:, None, None] ** power
    finding = only(check(replace(silicon, stress=scale * np.array(silicon.stress)), predict))
    assert (finding.severity, finding.kind) == ("error", "stress-unit") and words in finding.what


@pytest.mark.parametrize("order", [VOIGT, *ORDERS])
@pytest.mark.parametrize("factor", [1.0, -1.0, -GPa / 10])
def test_order_of_six_values(order: str, factor: float, silicon: Frames, predict: Predict) -> None:
    """Whatever unit and sign; what is said of these is then true as well."""
    names = ORDERS.get(order, VOIGT).split()
    written = np.array([silicon.stress[:, "xyz".index(a), "xyz".index(b)] for a, b in names]).T / factor
    as_read = np.array(written)[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(-1, 3, 3)
    data = FileFrames(replace(silicon, stress=as_read), "some.xyz")
    found = check_units([data], predict, "chgnet-0.3", voigt=["some.xyz"])
    kinds = {finding.kind: finding for finding in found}
    assert ("stress-order" in kinds) == (order != VOIGT) and ("stress-unit" in kinds) == (factor != 1)
    for kind, word in (("stress-order", order), ("stress-unit", "sign" if factor < 0 else "")):
        assert kind not in kinds or (kinds[kind].severity == "error" and word in kinds[kind].what)


def test_an_order_that_cannot_be_told(silicon: Frames, predict: Predict) -> None:
    """Without shear, or without a teacher: the order in which six values are read is said."""
    pressure = np.eye(3) * np.linspace(-0.1, 0.1, len(silicon))[:, None, None]
    data = FileFrames(replace(silicon, stress=pressure), "some.xyz")
    theirs = replace(predict(silicon), stress=pressure)
    for predicted in (theirs, None):
        findings, same = check_order(data, predicted, "chgnet-0.3")
        assert (only(findings).severity, findings[0].kind) == ("info", "stress-order") and same is data


def test_unclear_is_a_warning(silicon: Frames, predict: Predict) -> None:
    rng = np.random.default_rng(0)
    mixed = rng.permutation(np.array(silicon.forces))
    finding = only(check(replace(silicon, forces=mixed), predict))
    assert finding.severity == "warning" and "do not resemble" in finding.what
    finding = only(check(replace(silicon, forces=np.array(silicon.forces) / 10), predict))
    assert finding.severity == "warning" and "not a known unit" in finding.what
    few = silicon[[20]]  # six components of two atoms would be the least; three structures give too few energies
    halves = silicon[[17, 19, 22]]
    assert check(few, predict) == []
    found = check(replace(halves, energy=-np.array(halves.energy)), predict)
    assert all(finding.severity == "warning" for finding in found)


def test_a_poor_teacher_makes_it_unclear(silicon: Frames, predict: Predict) -> None:
    """Gradients in kcal/mol/Å, and predictions that are half noise: recognised, but not an error."""

    def poor(frames: Frames) -> Frames:
        forces = np.array(predict(frames).forces)
        noise = np.random.default_rng(0).normal(0, 1.2 * forces.std(), forces.shape)
        return replace(predict(frames), forces=forces + noise)

    finding = only(check(replace(silicon, forces=-np.array(silicon.forces) / (kcal / mol)), poor))
    assert finding.severity == "warning" and "kcal/mol/Å" in finding.what and "not clear" in finding.what


def test_nothing_to_compare(silicon: Frames, predict: Predict) -> None:
    """Perfect crystals have no forces, one structure no energy difference; labels that are zero no pattern."""
    predicted = predict(silicon)
    still = replace(silicon, forces=np.zeros_like(silicon.positions))
    assert compare_forces(still, predicted) is None
    assert compare_forces(silicon, still) is None
    assert compare_energies(silicon[[0]], predicted[[0]]) is None
    assert compare_stresses(np.zeros((3, 3, 3)), np.array(predicted.stress)[:3]) is None


def test_a_common_pressure_does_not_matter(silicon: Frames, predict: Predict) -> None:
    """Two functionals may disagree about the sign of a small pressure, and nothing is wrong with the stress."""
    stress, theirs = np.array(silicon.stress), np.array(predict(silicon).stress)
    moved = stress - 0.2 * np.eye(3)
    one, other = compare_stresses(stress, theirs), compare_stresses(moved, theirs)
    assert one is not None and other is not None
    assert other.ratio == pytest.approx(one.ratio, rel=1e-9)  # exact but for rounding
    assert check(replace(silicon, stress=moved), predict) == []


def test_what_the_teacher_is_asked_for(silicon: Frames, thermal: Callable[..., Frames]) -> None:
    chosen = pick(silicon, 160, 24)
    assert len(chosen) == 10 and len(set(chosen)) == 10
    energies = silicon.energy_per_atom
    assert energies[chosen].min() > energies.min() and energies[chosen].max() < energies.max()
    big = replace(silicon[[0]], n_atoms=np.array([16]))
    large = Frames.from_atoms([a.repeat(5) for a in big.to_atoms()])  # 2000 atoms
    assert large.n_atoms[0] > MOST_ATOMS and len(pick(large, MOST_ATOMS, 24)) == 0
    assert pick(concatenate([large, silicon[[3]].with_labels(None, None, None)]), MOST_ATOMS, 24).tolist() == [1]
    finding = only(check_units([FileFrames(large, "large.xyz")], lambda frames: frames, "chgnet-0.3"))
    assert (finding.severity, finding.kind) == ("info", "units-unchecked")

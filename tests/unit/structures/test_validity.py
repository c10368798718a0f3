"""Labels that are not meant become NaN and are said; exact zeros that stand for nothing are found, others are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from distill.structures.check import check_frames
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.frames import Frames, concatenate
from distill.structures.read import LabelKeys, read_frames
from distill.structures.symmetry import forces_allowed
from distill.structures.validity import meant_labels
from distill.structures.write import write_frames

Make = Callable[..., Frames]
STRESS = np.diag([0.01, 0.02, 0.03])


def labelled(frames: Frames) -> Frames:
    """Return structures with a stress too."""
    return frames.with_labels(frames.energy, frames.forces, np.tile(STRESS, (len(frames), 1, 1)))


def with_zeros(frames: Frames, label: str, chosen: list[int]) -> Frames:
    """Return structures of which some have zero for a label."""
    values = {name: np.array(getattr(frames, name)) for name in ("energy", "forces", "stress")}
    values[label][np.isin(frames.structure_of_atom, chosen) if label == "forces" else chosen] = 0
    return frames.with_labels(**values)


def with_keys(frames: Frames, chosen: list[int], **keys: float) -> Frames:
    info = [dict(one) | (keys if i in chosen else {}) for i, one in enumerate(frames.info)]
    return replace(frames, info=tuple(info))


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.kind for finding in findings if finding.severity != "info"}


def missing(frames: Frames, label: str) -> list[int]:
    """Return the structures that have nothing of a label."""
    values = np.isnan(getattr(frames, label))
    of = frames.structure_of_atom if label == "forces" else np.arange(len(frames))
    return np.unique(of[values.reshape(len(of), -1).all(axis=1)]).tolist()


@pytest.mark.parametrize(
    ("label", "key", "value"),
    [
        ("energy", "config_energy_weight", 0.0),
        ("forces", "config_forces_weight", 0.0),
        ("stress", "config_stress_weight", 0.0),
        ("stress", "config_virials_weight", 0),
        ("energy", "energy_sigma", 1e4),
        ("forces", "force_sigma", 0.0),
        ("forces", "force_sigma", 100.0),
        ("stress", "virial_sigma", -1.0),
        ("stress", "virial_sigma", 1000.0),
    ],
)
def test_a_label_that_is_not_meant_is_missing_and_said(thermal: Make, label: str, key: str, value: float) -> None:
    """Whatever stands there; the remedy for zeros without such a key is this key, so it is tried here too."""
    zeros = with_zeros(labelled(thermal(5)), label, [1, 3])
    found = check_frames(FileFrames(zeros, "x"))
    (error,) = [finding for finding in found if finding.severity == "error"]
    assert (error.kind, error.frames) == ("placeholder", (1, 3)) and "exactly zero" in error.what
    frames, findings = meant_labels(with_keys(zeros, [1, 3], **{key: value}), "x")
    assert missing(frames, label) == [1, 3] and all(not missing(frames, n) for n in ("energy", "forces") if n != label)
    assert [(f.kind, f.frames) for f in findings] == [("missing-label", (1, 3))] and key in findings[0].what
    assert "error" not in {f.severity for f in check_frames(FileFrames(frames, "x"))}


def test_a_frame_of_which_nothing_is_meant_is_refused(thermal: Make) -> None:
    frames, _ = meant_labels(with_keys(labelled(thermal(4)), [2], config_weight=0.0), "x")
    (error,) = [f for f in check_frames(FileFrames(frames, "x")) if f.severity == "error"]
    assert (error.kind, error.frames) == ("unlabelled", (2,))


def test_other_weights_are_named_as_ignored(thermal: Make) -> None:
    frames = with_keys(with_keys(thermal(4), [0, 1], config_weight=1.0, force_sigma=0.1), [2, 3], config_weight=5)
    same, findings = meant_labels(frames, "x")
    assert [f.kind for f in findings] == ["ignored-weights"] and "config_weight differs, from 1 to 5" in findings[
        0
    ].what
    assert np.array_equal(same.forces, frames.forces) and np.array_equal(same.energy, frames.energy)


def test_an_isolated_atom_without_weight_keeps_its_energy(thermal: Make) -> None:
    atom = Frames([1], [14], np.zeros((1, 3)), np.zeros((1, 3, 3)), np.zeros((1, 3)), [-0.8], np.zeros((1, 3)))
    frames, findings = meant_labels(with_keys(concatenate([atom, thermal(2)]), [0], config_weight=0.0), "x")
    assert np.isfinite(frames.energy).all() and not findings  # type: ignore[arg-type]


def test_missing_labels_are_written_and_read_as_nan(thermal: Make, tmp_path: Path) -> None:
    frames = labelled(thermal(3))
    energy, forces = np.array(frames.energy), np.array(frames.forces)
    energy[1], forces[5, 2], forces[32:] = np.nan, np.nan, np.nan
    write_frames(tmp_path / "x.xyz", frames.with_labels(energy, forces, frames.stress))
    again, _ = read_frames(tmp_path / "x.xyz")
    assert np.array_equal(again.energy, energy, equal_nan=True)  # type: ignore[arg-type]
    assert np.array_equal(again.forces, forces, equal_nan=True)  # type: ignore[arg-type]
    _, findings = meant_labels(again, "x")
    assert [(f.what, f.frames) for f in findings] == [
        ("have no energy (NaN)", (1,)),
        ("17 atoms have no forces (NaN)", (0, 2)),
    ]
    results = [atoms.calc.results for atoms in again.to_atoms()]
    assert ["energy" in one for one in results] == [True, False, True]
    assert ["forces" in one for one in results] == [True, True, False]


# ── fixed atoms ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def slabs() -> Frames:
    """Rattled slabs whose lowest layers, four atoms of twelve, are fixed with forces of zero."""
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(3):
        slab = fcc111("Al", (2, 2, 3), vacuum=3.0)
        slab.positions += rng.normal(0, 0.05, slab.positions.shape)
        structures.append(slab)
    frames = Frames.from_atoms(structures)
    forces = rng.normal(size=(36, 3))
    held = np.tile(np.arange(12) < 4, 3)
    forces[held] = 0
    return replace(
        frames, energy=-40 + rng.normal(0, 0.1, 3), forces=forces, fixed=np.repeat(held[:, None], 3, axis=1), info=()
    )


def test_zeros_of_fixed_atoms_are_not_labels(slabs: Frames) -> None:
    frames, findings = meant_labels(slabs, "x")
    assert [f.kind for f in findings] == ["constrained-forces"] and findings[0].frames == (0, 1, 2)
    assert np.array_equal(np.isnan(frames.forces), slabs.fixed)  # type: ignore[arg-type]
    assert "net-force" not in kinds(check_frames(FileFrames(frames, "x")))


def test_fixed_atoms_with_forces_keep_them(slabs: Frames) -> None:
    forces = np.where(slabs.fixed, 0.1, slabs.forces)  # type: ignore[arg-type]
    frames, findings = meant_labels(replace(slabs, forces=forces), "x")
    assert not findings and np.array_equal(frames.forces, forces)  # type: ignore[arg-type]


def test_without_a_mask_it_is_said_what_the_zeros_are(slabs: Frames) -> None:
    """And not that the mean force should be removed. All three remedies are tried."""
    found = check_frames(FileFrames(replace(slabs, fixed=None), "x"))
    (error,) = [f for f in found if f.kind == "constrained-forces"]
    assert error.severity == "error" and "12 atoms" in error.what and error.frames == (0, 1, 2)
    assert "net-force" not in kinds(found) and "mean" not in error.remedy
    nan = np.where(slabs.fixed, np.nan, slabs.forces)  # type: ignore[arg-type]
    whole = np.where(slabs.fixed, 0.3, slabs.forces)  # type: ignore[arg-type]
    mask, _ = meant_labels(slabs, "x")
    for mended in (replace(slabs, fixed=None, forces=nan), replace(slabs, fixed=None, forces=whole), mask):
        assert "constrained-forces" not in kinds(check_frames(FileFrames(mended, "x")))


# ── what symmetry fixes ──────────────────────────────────────────────────────────────────────────────────────────────


def test_symmetry_forbids_forces_in_crystals_and_not_in_what_is_displaced() -> None:
    crystals = [bulk("Si", cubic=True), bulk("Al"), bulk("NaCl", "rocksalt", a=5.64), bulk("Mg")]
    assert not forces_allowed(Frames.from_atoms(crystals)).any()
    moved = bulk("Si", cubic=True)
    moved.positions[0] += [0.01, 0, 0]
    assert forces_allowed(Frames.from_atoms([moved, molecule("H2O")])).sum() >= 4 + 3


def test_a_perfect_crystal_may_have_no_forces(thermal: Make) -> None:
    crystal = bulk("Si", a=5.43).repeat(2)
    perfect = replace(Frames.from_atoms([crystal]), energy=[-87.3], forces=np.zeros((16, 3)))
    assert "placeholder" not in kinds(check_frames(FileFrames(concatenate([thermal(3), perfect]), "x")))


def test_forces_that_are_all_zero_are_an_error_unless_symmetry_forbids_them(thermal: Make) -> None:
    frames = thermal(3)
    zero = frames.with_labels(frames.energy, np.zeros((48, 3)), None)
    (finding,) = [f for f in check_frames(FileFrames(zero, "x")) if f.kind == "zero-forces"]
    assert finding.severity == "error"


ATOM = '1\nProperties=species:S:1:pos:R:3 energy=-0.8 config_type=IsolatedAtom pbc="F F F"\nSi 0 0 0\n'


def test_a_single_atom_needs_no_forces_and_a_molecule_no_stress(file: Callable[..., Path], good: str) -> None:
    frames, _ = read_frames(file(ATOM, good))
    assert frames.energy is not None and frames.forces is not None
    assert frames.energy.tolist() == [-0.8, -3.5] and np.isnan(frames.forces).any(axis=1).tolist() == [
        True,
        False,
        False,
    ]
    assert meant_labels(frames, "x")[1] == []
    molecule_ = ATOM.replace("energy=", 'stress="0 0 0 0 0 0 0 0 0" energy=')
    frames, _ = read_frames(file(molecule_, good.replace("energy", 'stress="1 2 3 0 0 0" energy')))
    assert frames.stress is not None and np.isnan(frames.stress).any(axis=(1, 2)).tolist() == [True, False]


def test_stresses_that_mean_little_are_said(thermal: Make) -> None:
    frames = labelled(thermal(3))
    wide = np.array(frames.cells)
    wide[1] = np.diag([30.0, 30.0, 30.0])
    open_ = np.array(frames.pbc)
    open_[2, 2] = False
    found = check_frames(FileFrames(replace(frames, cells=wide, pbc=open_), "x"))
    assert [(f.severity, f.frames) for f in found if f.kind == "unused-stress"] == [("warning", (1,)), ("info", (2,))]
    frames, _ = meant_labels(with_keys(replace(frames, cells=wide), [1], config_stress_weight=0.0), "x")
    assert "unused-stress" not in kinds(check_frames(FileFrames(frames, "x"))), "the remedy"


# ── two sources ──────────────────────────────────────────────────────────────────────────────────────────────────────


def two(good: str, by: float) -> str:
    """Return a frame with REF_ labels beside plain ones that differ by so many eV, and eV/Å along x."""
    rows = good.replace("forces:R:3 energy=-3.5", f"forces:R:3:REF_forces:R:3 energy={-3.5 + by} REF_energy=-3.5")
    rows = rows.replace("0.1 0.0 0.0\n", f"{0.1 + by} 0.0 0.0 0.1 0.0 0.0\n", 1)
    return rows.replace("-0.1 0.0 0.0\n", f"{-0.1 - by} 0.0 0.0 -0.1 0.0 0.0\n")


def test_references_are_preferred_and_the_difference_is_said(file: Callable[..., Path], good: str) -> None:
    frames, source = read_frames(file(two(good, 0.4), two(good, 0.0)))
    assert (source.energy, source.forces) == ("REF_energy", "REF_forces")
    assert frames.energy is not None and frames.energy.tolist() == [-3.5, -3.5]
    energy, forces = (one.finding("some.xyz") for one in source.doubled)
    assert "'REF_energy' and 'energy'" in energy.what and "by up to 0.2 eV/atom" in energy.what
    assert "by up to 0.4 eV/Å" in forces.what and forces.frames == (0,) and forces.severity == "warning"


def test_sources_that_agree_and_keys_that_are_named_need_no_word(file: Callable[..., Path], good: str) -> None:
    _, source = read_frames(file(two(good, 1e-6)))
    assert source.doubled == () and source.unused == ()
    frames, source = read_frames(file(two(good, 0.4)), LabelKeys(energy="energy", forces="forces"))
    assert source.doubled == () and frames.energy is not None and frames.energy.tolist() == [-3.1]


def test_a_stress_is_compared_with_a_virial(file: Callable[..., Path], good: str) -> None:
    """Of a cell of 125 Å³: stress = -virial / volume."""
    stress = 'stress="0.08 0.08 0.08 0 0 0"'
    right, wrong = (f'{stress} virial="{v} {v} {v} 0 0 0" energy' for v in (-10, 10))
    assert read_frames(file(good.replace("energy", right)))[1].doubled == ()
    (doubled,) = read_frames(file(good.replace("energy", wrong)))[1].doubled
    assert (doubled.used, doubled.other) == ("stress", "virial") and doubled.largest == pytest.approx(0.16)

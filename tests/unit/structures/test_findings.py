"""Each check finds what it is for, names the frames, and is silent on sound data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from distill.structures import check
from distill.structures.checks import sets
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.geometry import closest_atoms
from distill.structures.checks.sets import check_elements, check_growable, check_keys, check_unseen
from distill.structures.frames import Frames, concatenate
from distill.structures.read import LabelSource, read_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon"
Make = Callable[..., Frames]


def check_frames(frames: Frames, name: str) -> list[Finding]:
    return check.check_frames(FileFrames(frames, name))


def check_leakage(a: Frames, b: Frames, names: tuple[str, str]) -> list[Finding]:
    return sets.check_leakage(FileFrames(a, names[0]), FileFrames(b, names[1]))


def only(findings: list[Finding]) -> Finding:
    """Return the one finding there is."""
    assert len(findings) == 1, [finding.text() for finding in findings]
    assert findings[0].remedy
    return findings[0]


def test_shipped_data_is_sound() -> None:
    """DFT labels of strained, thermal and liquid silicon, whose snapshots are at least 100 fs apart."""
    sets = {name: read_frames(SILICON / f"{name}.xyz")[0] for name in ("train", "valid", "test")}
    assert [f for name, frames in sets.items() for f in check_frames(frames, name)] == []
    for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert check_leakage(sets[a], sets[b], (a, b)) == []


def test_sound_random_data(thermal: Make) -> None:
    assert check_frames(thermal(20), "x") == []
    assert check_frames(thermal(20).with_labels(None, None, None), "x") == []


def test_nothing_at_all() -> None:
    assert only(check_frames(Frames.empty(), "x.xyz")).severity == "error"


def test_text() -> None:
    finding = Finding("warning", "large-force", "too hot", "x.xyz", "Cool it.", tuple(range(10)))
    assert finding.text() == (
        "warning [large-force]: x.xyz, frames 0, 1, 2, 3, 4, 5, 6, 7, ... (10 in all) (counted from 0): "
        "too hot. Cool it."
    )
    assert Finding("info", "read", "fine", "x.xyz").text() == "info [read]: x.xyz: fine"
    with pytest.raises(ValueError, match="not a kind"):
        Finding("info", "fine", "fine", "x.xyz")


def test_frames_are_counted_as_in_the_file(thermal: Make) -> None:
    """Although the first two of the file were taken out."""
    frames = thermal(5)
    mirrored = replace(frames, cells=np.concatenate([frames.cells[:4], frames.cells[4:, [1, 0, 2]]]))
    data = FileFrames(concatenate([mirrored, frames[[1]]]), "x", np.arange(2, 8))
    duplicate, left = check.check_frames(data)
    assert duplicate.frames == (3, 7) and "3 and 7" in duplicate.what
    assert (left.kind, left.frames) == ("left-handed", (6,))


def test_duplicates_within_a_set(thermal: Make) -> None:
    frames = thermal(5)
    finding = only(check_frames(concatenate([frames, frames[[1, 3]]]), "x"))
    assert finding.severity == "warning" and finding.frames == (1, 3, 5, 6)
    assert "1 and 5, 3 and 6" in finding.what
    other = replace(frames[[1]], energy=frames.energy[[1]] + 1.6)  # type: ignore[index]
    _, conflict = check_frames(concatenate([frames, other]), "x")
    assert conflict.severity == "warning" and "differ by up to 0.100 eV/atom" in conflict.what
    near = replace(frames[[2]], positions=frames[[2]].positions + np.random.default_rng(0).normal(0, 0.01, (16, 3)))
    assert only(check_frames(concatenate([frames, near]), "x")).severity == "info"


def test_leakage(thermal: Make) -> None:
    train, test = thermal(5), thermal(4, seed=1)
    assert check_leakage(train, test, ("a.xyz", "b.xyz")) == []
    shifted = replace(train[[3]], positions=train[[3]].positions + 2.0)
    finding = only(check_leakage(train, concatenate([test, shifted]), ("a.xyz", "b.xyz")))
    assert finding.severity == "error" and finding.frames == (3,)
    assert "a.xyz, frame 3 (counted from 0): the same structure as b.xyz, frame 4" in finding.text()
    noise = np.random.default_rng(0).normal(0, 0.01, (16, 3))
    near = replace(train[[0]], positions=train[[0]].positions + noise)
    finding = only(check_leakage(train, concatenate([near, test]), ("a.xyz", "b.xyz")))
    assert finding.severity == "warning" and finding.frames == (0,)
    assert check_leakage(concatenate([train, train]), test, ("a.xyz", "b.xyz")) == []


def test_energy_outlier(thermal: Make) -> None:
    frames = thermal(20)
    energy = np.array(frames.energy)
    energy[[4, 9]] += [8, -12]
    finding = only(check_frames(replace(frames, energy=energy), "x"))
    assert (finding.severity, finding.kind, finding.frames) == ("warning", "energy-outlier", (4, 9))
    assert "-0.7" in finding.what


@pytest.mark.parametrize(("factor", "word"), [(-1, "positive"), (1 / 27.2114, "small")])
def test_magnitude_of_energies(factor: float, word: str, thermal: Make) -> None:
    frames = thermal(20)
    finding = only(check_frames(replace(frames, energy=factor * frames.energy), "x"))  # type: ignore[operator]
    assert finding.kind == "energy-magnitude" and word in finding.what


def test_energies_per_atom_of_different_sizes(thermal: Make) -> None:
    big = Frames.from_atoms([bulk("Si", a=5.43).repeat(n) for n in (1, 2, 3)])
    big = replace(moved(big), energy=np.array([-5.4, -5.41, -5.39]))
    assert "per atom?" in only(check_frames(big, "x")).what
    assert check_frames(replace(big, energy=-5.4 * big.n_atoms), "x") == []


def moved(frames: Frames) -> Frames:
    """Return rattled structures."""
    return replace(frames, positions=frames.positions + np.random.default_rng(0).normal(0, 0.1, frames.positions.shape))


def test_forces(thermal: Make) -> None:
    frames = thermal(20)
    assert frames.forces is not None
    huge = np.array(frames.forces)
    huge[16 * 3] += [40, 0, 0]
    huge[16 * 3 + 1] -= [40, 0, 0]
    finding = only(check_frames(replace(frames, forces=huge), "x"))
    assert finding.frames == (3,) and "51.4" in finding.remedy
    net = np.array(frames.forces)
    net[16 * 7 : 16 * 8] += [0.003, 0, 0]  # 0.048 eV/Å in all, limit 0.04
    net[16 * 8 : 16 * 9] += [0.002, 0, 0]  # 0.032 eV/Å
    assert only(check_frames(replace(frames, forces=net), "x")).frames == (7,)
    assert "zero" in only(check_frames(replace(frames, forces=0 * huge), "x")).what


def test_force_outlier(thermal: Make) -> None:
    """One structure whose forces are eight times those of its family; a family that is hotter as a whole is none."""
    frames = thermal(30).with_info(config_type=["cold"] * 20 + ["hot"] * 10)
    forces = np.array(frames.forces)
    forces[16 * 20 :] *= 7
    assert check_frames(replace(frames, forces=forces), "x") == []
    forces[16 * 4 : 16 * 5] *= 8
    finding = only(check_frames(replace(frames, forces=forces), "x"))
    assert (finding.severity, finding.kind, finding.frames) == ("warning", "force-outlier", (4,))


def test_stresses(thermal: Make) -> None:
    frames = thermal(4)
    stress = np.tile(0.01 * np.eye(3), (4, 1, 1))
    assert check_frames(replace(frames, stress=stress), "x") == []
    stress[1:3] = np.nan
    assert only(check_frames(replace(frames, stress=stress), "x")).frames == (1, 2)
    finding = only(check_frames(replace(frames, stress=np.tile(5.0 * np.eye(3), (4, 1, 1))), "x"))
    assert "801 GPa" in finding.what and "1 GPa is 0.00624" in finding.remedy
    assert "zero" in only(check_frames(replace(frames, stress=np.zeros((4, 3, 3))), "x")).what


def test_close_atoms(thermal: Make) -> None:
    """Also across the cell boundary, and for an atom and its own image."""
    frames = thermal(3)
    positions = np.array(frames.positions)
    positions[17] = positions[16] + frames.cells[1][0] + [0.05, 0, 0]
    positions[33] = positions[32] + [0, 1.2, 0]
    error, warning = check_frames(replace(frames, positions=positions), "x")
    assert (error.severity, error.frames) == ("error", (1,)) and "0.05 Å apart" in error.what
    assert (warning.severity, warning.frames) == ("warning", (2,))
    lengths, _ = closest_atoms(Frames.from_atoms([bulk("Si", "sc", a=1.1)]))
    assert lengths == pytest.approx([1.1])


def test_a_water_molecule_is_not_too_close() -> None:
    assert check_frames(Frames.from_atoms([molecule("H2O"), molecule("H2")]), "x") == []


def test_left_handed_cells_and_vacuum(thermal: Make) -> None:
    frames = thermal(2)
    mirrored = replace(frames, cells=frames.cells[:, [1, 0, 2]])
    assert "left-handed" in only(check_frames(mirrored, "x")).what
    slab = fcc111("Al", (2, 2, 3), vacuum=7.0, periodic=True)
    finding = only(check_frames(Frames.from_atoms([slab]), "x"))
    assert finding.severity == "info" and "14.0 Å of vacuum" in finding.what
    slab.pbc = [True, True, False]
    assert check_frames(Frames.from_atoms([slab]), "x") == []


def test_elements(thermal: Make) -> None:
    frames = concatenate([thermal(2), Frames.from_atoms([molecule("H2O")])])
    data = FileFrames(frames, "x.xyz")
    assert check_elements(data, None, "anyone") == []
    assert check_elements(data, (1, 8, 14), "anyone") == []
    finding = only(check_elements(data, (1, 14), "the teacher t"))
    assert finding.severity == "error"
    assert "x.xyz, frame 2 (counted from 0): O is not known to the teacher t" in finding.text()
    finding = only(check_unseen(data, thermal(1).elements))
    assert finding.severity == "error" and "H, O" in finding.what


def test_keys_of_files_that_belong_together() -> None:
    one = LabelSource("energy", "forces", "stress")
    assert check_keys({"a": one, "b": one}) == []
    assert "REF_energy" in only(check_keys({"a": one, "b": LabelSource("REF_energy", "forces", "stress")})).what
    finding = only(check_keys({"a": replace(one, unused=("free_energy",))}))
    assert finding.severity == "info" and "free_energy" in finding.what


def test_cells_of_one_atom_alone_are_refused_and_supercells_are_not() -> None:
    cells = [bulk("Al", a=a) for a in (3.9, 4.05, 4.2)]
    finding = only(check_growable(FileFrames(Frames.from_atoms(cells), "train.xyz")))
    assert (finding.severity, finding.kind) == ("error", "single-atom") and "atoms.repeat" in finding.remedy
    larger = [atoms.repeat((2, 2, 2)) for atoms in cells]
    assert check_growable(FileFrames(Frames.from_atoms(larger), "train.xyz")) == []
    assert check_growable(FileFrames(Frames.from_atoms([*cells, larger[0]]), "train.xyz")) == []

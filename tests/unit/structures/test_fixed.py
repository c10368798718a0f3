"""What is fixed stays fixed on every way through the package and through ASE, and other constraints are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixCom, FixedPlane, Hookean
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.base.errors import UserError
from distill.structures.check import check_frames
from distill.structures.checks.finding import FileFrames
from distill.structures.frames import Frames, concatenate
from distill.structures.read import read_frames
from distill.structures.write import write_frames

Mask = np.ndarray[Any, Any]
Make = Callable[..., Frames]


def chain(n: int) -> Atoms:
    """Return a chain of atoms, 3 Å apart."""
    return Atoms("Ar" * n, np.arange(3.0 * n).reshape(n, 3) * [1, 0, 0])


@st.composite
def constrained(draw: st.DrawFn) -> Atoms:
    """Return a chain with any of the constraints that are understood, which may overlap or be empty."""
    n = draw(st.integers(1, 5))
    indices = st.lists(st.integers(0, n - 1), unique=True).map(lambda chosen: np.array(chosen, dtype=int))
    either = indices | indices.map(lambda chosen: chosen - n)  # counted from the end
    masks = st.tuples(st.booleans(), st.booleans(), st.booleans())
    kinds = st.builds(FixAtoms, either) | st.builds(FixCartesian, either, masks)
    atoms = chain(n)
    atoms.set_constraint(draw(st.lists(kinds, max_size=3)))
    return atoms


sets = st.lists(constrained(), min_size=1, max_size=4)


def held(structures: list[Atoms]) -> Mask:
    """Return which force components ASE takes out of the structures, ``[N, 3]``."""
    forces = [np.ones((len(atoms), 3)) for atoms in structures]
    for atoms, own in zip(structures, forces, strict=True):
        for constraint in atoms.constraints:
            constraint.adjust_forces(atoms, own)
    return np.concatenate(forces) == 0


def mask(frames: Frames) -> Mask:
    """Return what is fixed, ``[N, 3]``; no field fixes nothing."""
    return np.zeros(frames.positions.shape, dtype=bool) if frames.fixed is None else frames.fixed


# ── ASE's constraints ────────────────────────────────────────────────────────────────────────────────────────────────


@given(sets)
def test_what_ase_holds_is_fixed(structures: list[Atoms]) -> None:
    frames = Frames.from_atoms(structures)
    assert (mask(frames) == held(structures)).all()
    assert (frames.fixed is None) == (not held(structures).any())


@given(sets)
def test_constraints_are_restored(structures: list[Atoms]) -> None:
    """Whole atoms are held by one ``FixAtoms``, and nothing is said of what is free."""
    again = Frames.from_atoms(structures).to_atoms()
    assert (held(again) == held(structures)).all()
    for atoms in again:
        whole = held([atoms]).all(axis=1)
        assert [c.index.tolist() for c in atoms.constraints if isinstance(c, FixAtoms)] == (
            [np.flatnonzero(whole).tolist()] if whole.any() else []
        )
        assert all(c.mask.any() and not c.mask.all() for c in atoms.constraints if isinstance(c, FixCartesian))


@pytest.mark.parametrize(
    "constraint",
    [FixBondLength(0, 1), Hookean(0, 1, k=5.0, rt=2.0), FixCom(), FixedPlane([0], (0, 0, 1))],
    ids=lambda c: type(c).__name__,
)
def test_other_constraints_are_refused(constraint: Any) -> None:
    structures = [chain(2), chain(3)]
    structures[1].set_constraint([FixAtoms([0]), constraint])
    with pytest.raises(UserError) as caught:
        Frames.from_atoms(structures)
    assert str(caught.value) == (
        f"structure 1 (counted from 0), Ar3: has a constraint {type(constraint).__name__}, and only FixAtoms and "
        "FixCartesian are understood. Fix atoms or Cartesian components instead, or remove all constraints: "
        "atoms.set_constraint()."
    )
    assert Frames.from_atoms(structures, constraints=False).fixed is None


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(sets, st.data())
def test_selection_and_concatenation_keep_it(structures: list[Atoms], data: st.DataObject) -> None:
    """Taken apart structure by structure, with some that say nothing, and joined in any order."""
    frames = Frames.from_atoms(structures)
    order = data.draw(st.permutations(range(len(frames))))
    expected = held([structures[i] for i in order])
    assert (mask(frames[order]) == expected).all()
    joined = concatenate([Frames.from_atoms([structures[i]]) for i in order])
    assert (mask(joined) == expected).all()
    assert (joined.fixed is None) == (not expected.any())


def test_other_labels_and_information_keep_it(thermal: Make) -> None:
    frames = slab(thermal, 2)
    assert (mask(frames.with_labels(None, None, None)) == mask(frames)).all()
    assert (mask(frames.with_info(tree=[0, 1])) == mask(frames)).all()


def test_shape_is_checked(thermal: Make) -> None:
    with pytest.raises(ValueError, match=r"fixed has shape \(16,\), expected \(16, 3\)"):
        replace(thermal(1), fixed=np.zeros(16, dtype=bool))


def slab(thermal: Make, n: int) -> Frames:
    """Return labelled structures, the first of which has a fixed lower half."""
    frames = thermal(n)
    low = (frames.positions[:, 2] < 2.7) & (frames.structure_of_atom == 0)
    return replace(frames, fixed=np.repeat(low[:, None], 3, axis=1))


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=50, deadline=None)
@given(sets)
def test_we_read_what_ase_writes(structures: list[Atoms]) -> None:
    with TemporaryDirectory() as folder:
        ase.io.write(Path(folder) / "some.xyz", structures, format="extxyz")
        frames, _ = read_frames(Path(folder) / "some.xyz", labels="none")
    assert (mask(frames) == held(structures)).all()
    assert (frames.fixed is None) == (not held(structures).any())


@settings(max_examples=50, deadline=None)
@given(sets)
def test_ase_reads_what_we_write(structures: list[Atoms]) -> None:
    with TemporaryDirectory() as folder:
        write_frames(Path(folder) / "some.xyz", Frames.from_atoms(structures))
        again = ase.io.read(Path(folder) / "some.xyz", ":")
    assert (held(again) == held(structures)).all()


@settings(max_examples=50, deadline=None)
@given(arrays(np.bool_, (16, 3)), st.booleans())
def test_we_read_what_we_write(fixed: Mask, labelled: bool) -> None:
    labels = {"energy": np.array([-1.0]), "forces": np.arange(48.0).reshape(16, 3)} if labelled else {}
    frames = Frames(np.array([16]), np.full(16, 18), np.zeros((16, 3)), np.zeros((1, 3, 3)), np.zeros((1, 3)), **labels)
    with TemporaryDirectory() as folder:
        write_frames(Path(folder) / "some.xyz", replace(frames, fixed=fixed))
        again, _ = read_frames(Path(folder) / "some.xyz", labels="optional")
    assert (mask(again) == fixed).all()
    assert not labelled or np.array_equal(again.forces, labels["forces"])


def test_the_column_is_where_something_is_fixed(thermal: Make, tmp_path: Path) -> None:
    """One column where atoms are fixed as a whole, three otherwise, none where everything is free."""
    frames = thermal(3)
    fixed = np.zeros((48, 3), dtype=bool)
    fixed[:8], fixed[16:20, 2] = True, True
    write_frames(tmp_path / "some.xyz", replace(frames, fixed=fixed))
    comments = [line for line in (tmp_path / "some.xyz").read_text().splitlines() if "Properties" in line]
    columns = [comment.partition("forces:R:3")[2].split()[0] for comment in comments[:2]]
    assert columns == [":move_mask:L:1", ":move_mask:L:3"] and "move_mask" not in comments[2]
    write_frames(tmp_path / "plain.xyz", frames)
    assert "move_mask" not in (tmp_path / "plain.xyz").read_text()


def test_labels_are_those_of_the_free_structure(thermal: Make, tmp_path: Path) -> None:
    """ASE's constraints take forces out only when asked for them: files keep the labels (ASE's eight decimals)."""
    frames = slab(thermal, 2)
    ase.io.write(tmp_path / "some.xyz", frames.to_atoms())
    again, _ = read_frames(tmp_path / "some.xyz")
    assert again.forces == pytest.approx(frames.forces, abs=1e-8)
    assert (mask(again) == mask(frames)).all() and mask(again).any()


def test_a_column_that_fixes_nothing_is_as_none(file: Callable[..., Path]) -> None:
    free = "1\nProperties=species:S:1:pos:R:3:move_mask:L:3\nAr 0 0 0 T T T\n"
    assert read_frames(file(free), labels="none")[0].fixed is None
    frames, _ = read_frames(file(free, "1\n\nAr 0 0 0\n", free.replace("T T T", "T T F")), labels="none")
    assert mask(frames).tolist() == [[False] * 3, [False] * 3, [False, False, True]]


@pytest.mark.parametrize(("kind", "words"), [("L:2", "T F"), ("L:4", "T F T F"), ("I:1", "1"), ("S:1", "T")])
def test_another_column_of_that_name_is_refused(file: Callable[..., Path], kind: str, words: str) -> None:
    path = file(f"1\nProperties=species:S:1:pos:R:3:move_mask:{kind}\nAr 0 0 0 {words}\n")
    with pytest.raises(UserError, match=r"frame 0 \(counted from 0\), key 'move_mask': should be one or three columns"):
        read_frames(path, labels="none")


def test_a_structure_may_be_fixed_altogether(tmp_path: Path) -> None:
    atoms = fcc111("Al", (2, 2, 3), vacuum=6.0)
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    frames = Frames.from_atoms([atoms])
    write_frames(tmp_path / "some.xyz", frames)
    again, _ = read_frames(tmp_path / "some.xyz", labels="none")
    assert mask(again).all()
    atoms.set_constraint()
    assert check_frames(FileFrames(again, "x")) == check_frames(FileFrames(Frames.from_atoms([atoms]), "x"))

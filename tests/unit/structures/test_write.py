"""A written file holds the same structures, for our reader to the last bit, and for ASE."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import fcc111
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames

finite = st.floats(-1e6, 1e6, allow_nan=False, width=64)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
scalars = st.one_of(st.booleans(), st.integers(-(10**12), 10**12), finite, words)
values = st.one_of(scalars, st.none(), st.lists(finite, max_size=4), st.lists(words, max_size=3))
keys = st.from_regex(r"x_[A-Za-z0-9_ ]{0,8}", fullmatch=True)


@st.composite
def labelled(draw: st.DrawFn) -> Frames:
    """Return structures of any elements, periodicity, labels and information, of which something may be fixed."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    n, b = sum(sizes), len(sizes)

    def numbers(*shape: int) -> np.ndarray[Any, Any]:
        size = int(np.prod(shape))
        return np.array(draw(st.lists(finite, min_size=size, max_size=size))).reshape(shape)

    noise = np.clip(numbers(b, 3, 3), -1, 1)
    stress = numbers(b, 3, 3)
    return Frames(
        n_atoms=np.array(sizes),
        numbers=np.array(draw(st.lists(st.integers(1, 118), min_size=n, max_size=n))),
        positions=numbers(n, 3),
        cells=9 * np.eye(3) + noise,
        pbc=np.array(draw(st.lists(st.booleans(), min_size=3 * b, max_size=3 * b))).reshape(b, 3),
        energy=numbers(b),
        forces=numbers(n, 3),
        stress=stress + stress.transpose(0, 2, 1),
        info=tuple(draw(st.dictionaries(keys, values, max_size=3)) for _ in range(b)),
        fixed=draw(st.none() | arrays(np.bool_, (n, 3))),
    )


def equal(a: Frames, b: Frames) -> bool:
    """Whether all arrays are the same to the last bit, and the information too; no mask fixes nothing."""
    held_a, held_b = (np.zeros(f.positions.shape) if f.fixed is None else f.fixed for f in (a, b))
    names = ("n_atoms", "numbers", "positions", "cells", "pbc", "energy", "forces", "stress")
    same = all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in names)
    return same and a.info == b.info and np.array_equal(held_a, held_b)


@settings(max_examples=30, deadline=None)
@given(labelled())
def test_round_trip_is_exact(frames: Frames) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "some.xyz"
        write_frames(path, frames)
        again, _ = read_frames(path)
    assert equal(frames, again)


def test_ase_reads_it(tmp_path: Path, thermal: Any) -> None:
    frames = thermal(3, config_type="thermal 300 K", note='a "quoted" word').with_info(tree=[0, 1, 2], tags=[["a"]] * 3)
    frames = frames.with_labels(frames.energy, frames.forces, np.tile(np.diag([0.1, 0.2, 0.3]), (3, 1, 1)))
    write_frames(tmp_path / "some.xyz", frames)
    for one, atoms in zip(frames, ase.io.read(tmp_path / "some.xyz", ":"), strict=True):
        assert (atoms.positions == one.positions).all() and (atoms.cell.array == one.cells[0]).all()
        assert one.energy is not None and atoms.get_potential_energy() == one.energy[0]
        assert (atoms.get_forces() == one.forces).all()
        assert atoms.get_stress(voigt=False).diagonal().tolist() == [0.1, 0.2, 0.3]
        assert atoms.info == one.info[0]


def test_what_surface_builders_leave_in_the_information_is_written(tmp_path: Path) -> None:
    """ASE's note for ``add_adsorbate`` holds an array and tuples, which come back as lists."""
    slab = Frames.from_atoms([fcc111("Al", (2, 2, 3), vacuum=6.0)])
    write_frames(tmp_path / "slab.xyz", slab)
    again, _ = read_frames(tmp_path / "slab.xyz", labels="none")
    before, after = slab.info[0]["adsorbate_info"], again.info[0]["adsorbate_info"]
    assert after == before | {
        "cell": before["cell"].tolist(),
        "sites": {k: list(v) for k, v in before["sites"].items()},
    }
    assert "adsorbate_info" in ase.io.read(tmp_path / "slab.xyz").info


def test_unlabelled_and_partly_labelled(tmp_path: Path, thermal: Any) -> None:
    frames = thermal(2)
    stress = np.stack([np.eye(3), np.full((3, 3), np.nan)])
    partly = frames.with_labels(frames.energy, frames.forces, stress)
    write_frames(tmp_path / "partly.xyz", partly)
    assert equal(partly, read_frames(tmp_path / "partly.xyz")[0])
    bare = frames.with_labels(None, None, None)
    write_frames(tmp_path / "bare.xyz", bare)
    assert read_frames(tmp_path / "bare.xyz", labels="optional")[0].energy is None


def test_information_never_passes_for_a_label(tmp_path: Path, thermal: Any) -> None:
    frames = thermal(1).with_labels(None, None, None).with_info(energy=[-1.0], Lattice=["no"], stress=[1.0])
    write_frames(tmp_path / "some.xyz", frames)
    again, _ = read_frames(tmp_path / "some.xyz", labels="optional")
    assert again.energy is None and again.info == ({},)
    assert np.array_equal(again.cells, frames.cells)


def test_a_failure_leaves_the_old_file(tmp_path: Path, thermal: Any) -> None:
    path = tmp_path / "some.xyz"
    write_frames(path, thermal(1))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_frames(path, thermal(2).with_info(bad=[1, object()]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

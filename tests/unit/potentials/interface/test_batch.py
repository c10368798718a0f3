"""Neighbours agree with ASE's list; a batch is its structures side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import half_neighbour_list
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.verlet_list import half_neighbour_list_on_gpu
from distill.potentials.teachers.chgnet import CHGNet03
from distill.structures.frames import Frames


def directed(pairs: np.ndarray, shifts: np.ndarray) -> list[tuple[int, ...]]:
    """Return both directions of each pair, sorted."""
    forward = np.column_stack([pairs.T, shifts])
    backward = np.column_stack([pairs[::-1].T, -shifts])
    return sorted(map(tuple, np.concatenate([forward, backward]).astype(int)))


@pytest.mark.parametrize("cutoff", [2.5, 5.0])
def test_pairs_are_those_of_ase(structures: dict[str, Atoms], cutoff: float) -> None:
    for name, atoms in structures.items():
        pairs, shifts = half_neighbour_list(Frames.from_atoms([atoms]), cutoff)
        i, j, s = neighbor_list("ijS", atoms, cutoff)
        assert directed(pairs, shifts) == sorted(map(tuple, np.column_stack([i, j, s]))), name


def test_pairs_of_a_molecule_and_of_a_layer(water: Atoms) -> None:
    pairs, shifts = half_neighbour_list(Frames.from_atoms([water]), 5.0)
    assert pairs.shape == (2, 3) and not shifts.any()
    layer = Atoms("C", positions=[[0, 0, 0]], cell=[[2, 0, 0], [0, 2, 0], [0, 0, 0]], pbc=[True, True, False])
    _, shifts = half_neighbour_list(Frames.from_atoms([layer]), 2.5)
    assert len(shifts) == 2 and not shifts[:, 2].any()


def test_vectors_of_a_batch_are_those_of_ase(painn: Potential, structures: dict[str, Atoms], water: Atoms) -> None:
    atoms = [*structures.values(), water]
    batch = painn.prepare(Frames.from_atoms(atoms)).collate()
    expected = np.concatenate([np.sort(neighbor_list("d", a, painn.cutoff)) for a in atoms])
    of_edge = batch.structure[batch.centres]
    lengths = batch.vectors().norm(dim=-1).repeat(2)
    found = torch.cat([lengths[of_edge == k].sort().values for k in range(len(atoms))]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)  # two roundings of a few Å to single precision


@pytest.mark.parametrize("name", ["painn", "tensornet", "chgnet-0.3"])
def test_a_batch_made_at_once_is_that_of_prepared_structures(
    name: str, structures: dict[str, Atoms], water: Atoms
) -> None:
    potential: Potential = POTENTIALS[name].build(POTENTIALS[name].Settings(), seed=0)
    frames = Frames.from_atoms([*structures.values(), water, Atoms("Si"), structures["silicon"]])
    together, joined = potential.batch(frames), potential.prepare(frames).collate()
    for field in ("numbers", "positions", "cells", "periodic", "structure"):
        assert torch.equal(getattr(together, field), getattr(joined, field))
    listed = [directed(batch.edges.numpy(), batch.shifts.numpy()) for batch in (together, joined)]
    assert listed[0] == listed[1]
    for one, other in zip(potential(together), potential(joined), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4, equal_nan=True)  # sums in another order


def test_the_list_of_a_gpu_is_that_of_the_processor(structures: dict[str, Atoms], water: Atoms) -> None:
    """The same call with tensors; on a GPU itself ``tests/benchmarks/gpu.py`` compares them."""
    for atoms in (*structures.values(), water):
        frames = Frames.from_atoms([atoms])
        found = half_neighbour_list_on_gpu(frames, 4.0, torch.device("cpu"))
        for one, other in zip(found, half_neighbour_list(frames, 4.0), strict=True):
            np.testing.assert_array_equal(one.numpy(), other)


def test_angles_are_those_of_every_two_bonds(structures: dict[str, Atoms], water: Atoms) -> None:
    potential = CHGNet03.create(CHGNet03.Settings())
    frames = Frames.from_atoms([*structures.values(), Atoms("Si"), water])
    batch = potential.batch(frames)
    directions = batch.vectors()[batch.extra["short"]]
    first, second = (directions[bonds] for bonds in batch.extra["angle_bonds"].T)
    products = (first * second).sum(-1) * batch.extra["angle_sign"]
    found = sorted(zip(batch.extra["angle_centre"].tolist(), products.tolist(), strict=True))
    expected = []
    for start, one in zip(frames.offsets, frames.to_atoms(), strict=False):
        i, vectors = neighbor_list("iD", one, 3.0)
        for atom in range(len(one)):
            around = vectors[i == atom]
            products = (around @ around.T)[~np.eye(len(around), dtype=bool)]
            expected += [(start + atom, product) for product in products]
    assert len(found) > 500
    np.testing.assert_allclose(found, sorted(expected), atol=1e-4)  # Å², single precision


def test_labels_travel_and_missing_stress_is_nan(painn: Potential, silicon: Atoms, water: Atoms) -> None:
    frames = Frames.from_atoms([silicon, water])
    labelled = frames.with_labels(np.array([1.0, 2.0]), frames.positions, np.ones((2, 3, 3)))
    batch = painn.prepare(labelled).collate()
    assert batch.energy is not None and batch.forces is not None and batch.stress is not None
    assert batch.energy.dtype == torch.float64 and batch.energy.tolist() == [1.0, 2.0]
    np.testing.assert_allclose(batch.forces.numpy(), frames.positions, rtol=1e-6)
    assert torch.isfinite(batch.stress).flatten(1).all(1).tolist() == [True, False]


def test_periodicity_without_a_lattice_vector_is_refused(painn: Potential) -> None:
    with pytest.raises(UserError, match=r"structure 0.*Si: .*no lattice vector"):
        painn.prepare(Frames.from_atoms([Atoms("Si", pbc=True)]))
    with pytest.raises(UserError, match=r"structure 1.*Si: .*no lattice vector"):
        painn.evaluate(Frames.from_atoms([Atoms("Si2", positions=np.eye(2, 3)), Atoms("Si", pbc=True)]))

"""Batches grow to what memory allows, shrink where it does not suffice, and lose no structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from distill.base.errors import WorkError
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.batch_size import CPU_ATOMS, FIRST_SHARE, SHARE, BatchSize, CudaMemory, room_of
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames

BYTES = 1000
"""What one atom takes in these tests."""


class Device:
    """The memory of a device that others may use, too."""

    def __init__(self, atoms: int) -> None:
        self.size = atoms * BYTES
        self.peak = 0

    def free(self) -> int:
        return self.size

    def start(self) -> None:
        self.peak = 0

    def used(self) -> int:
        return self.peak


class Cramped(Potential):
    """A pair potential on a device that has memory for few atoms; ``sizes`` are the batches that were tried."""

    def __init__(self, memory: int, first: int = CPU_ATOMS) -> None:
        super().__init__(3.0, learn_reference_energies=True)
        self.memory = Device(memory)
        self.sizes: list[int] = []
        self._batch_sizes[self.device] = BatchSize(first, self.memory)

    def atomic_energies(self, batch: Batch) -> torch.Tensor:
        self.sizes.append(len(batch.numbers))
        self.memory.peak = max(self.memory.peak, len(batch.numbers) * BYTES)
        if len(batch.numbers) * BYTES > self.memory.size:
            raise torch.OutOfMemoryError("out of memory")
        pair = torch.exp(-batch.vectors().norm(dim=-1))
        return pair.new_zeros(len(batch.numbers)).index_add(0, batch.edges[0], pair)


@pytest.fixture
def chains() -> Frames:
    """Two hundred molecules of one to ten atoms, in no order."""
    rng = np.random.default_rng(0)
    positions = [np.cumsum(rng.uniform(0.5, 1.0, size=(n, 3)), axis=0) for n in rng.integers(1, 11, size=200)]
    return Frames.from_atoms([Atoms(len(p) * "H", p) for p in positions])


def expected_energies(frames: Frames) -> np.ndarray:
    """Return the sum of exp(−r) over the pairs of each chain nearer than 3 Å."""
    energies = []
    for one in frames:
        distances = np.linalg.norm(one.positions[:, None] - one.positions, axis=-1)[
            np.triu_indices(len(one.numbers), 1)
        ]
        energies.append(np.exp(-distances[distances < 3]).sum())
    return np.array(energies)


def test_batches_grow_to_a_share_of_the_memory(chains: Frames) -> None:
    potential = Cramped(memory=400, first=20)
    assert potential.batch_atoms() == 20
    found = potential.evaluate(chains)
    np.testing.assert_allclose(found.energy, expected_energies(chains), atol=1e-5)
    assert sum(potential.sizes) == len(chains.numbers), "a structure was evaluated twice"
    growth = np.array(potential.sizes[1:]) / np.maximum.accumulate(potential.sizes)[:-1]
    assert growth.max() <= 2 and SHARE * 400 - 10 < max(potential.sizes) <= SHARE * 400
    assert potential.batch_atoms() == SHARE * 400


def test_a_small_batch_does_not_shrink_the_first_guess() -> None:
    size = BatchSize(100, Device(1000))
    with size.learning(2):
        pass
    assert size.atoms == 100


def test_running_out_of_memory_is_remembered(chains: Frames) -> None:
    potential = Cramped(memory=60, first=200)
    potential.memory.free = lambda: 10**9  # type: ignore[method-assign]  # somebody else takes what seems to be free
    first = potential.evaluate(chains)
    np.testing.assert_allclose(first.energy, expected_energies(chains), atol=1e-5)
    assert max(potential.sizes) > 60 and potential.batch_atoms() <= 60
    potential.sizes.clear()
    for max_atoms in (None, 1000):
        again = potential.evaluate(chains, max_atoms=max_atoms)
        np.testing.assert_array_equal(again.energy, first.energy)
    assert max(potential.sizes) <= 60


def test_a_wish_replaces_what_was_learnt(chains: Frames) -> None:
    potential = Cramped(memory=10**6, first=20)
    potential.evaluate(chains, max_atoms=30)
    assert 20 < max(potential.sizes) <= 30
    potential.evaluate(chains, max_atoms=1)
    assert potential.sizes[-1] == chains.n_atoms.max(), "a larger structure is evaluated alone"


def test_a_structure_that_is_too_large_is_named(chains: Frames) -> None:
    potential = Cramped(memory=9)
    with pytest.raises(WorkError, match="a structure of 10 atoms does not fit"):
        potential.evaluate(chains)
    assert potential.evaluate(chains[chains.n_atoms < 10]).energy is not None


def test_a_processor_has_a_constant(painn: Potential, frames: Frames) -> None:
    painn.evaluate(frames)
    assert painn.batch_atoms() == CPU_ATOMS


def test_dense_structures_take_more_room(painn: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silicon has 0.05 atoms in an Å³; at an eighth of its volume it has four times the density that counts as one."""
    plain, dense = (bulk("Si", a=a, cubic=True) for a in (5.43, 5.43 / 2))
    molecule = Atoms("Si8", positions=dense.positions)
    frames = Frames.from_atoms([plain, dense, molecule])
    assert room_of(frames) == pytest.approx([8, 8 * (0.05 * 8 / 0.1) ** 2, 8], rel=0.01)
    sizes: list[int] = []
    predict = painn.predict
    monkeypatch.setattr(painn, "predict", lambda part, stress: sizes.append(len(part)) or predict(part, stress))
    for one in (plain, dense):
        painn.evaluate([one] * 40)
    assert sizes == [32, 8, *[2] * 20]  # 256 atoms of one, 16 of the other


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_memory_of_a_gpu_is_measured() -> None:
    memory = CudaMemory(torch.device("cuda", torch.cuda.current_device()))
    kept = torch.zeros(2**26, dtype=torch.uint8, device=memory.device)
    torch.cuda.reset_peak_memory_stats(memory.device)
    free = memory.free()
    memory.start()
    torch.zeros(2**28, dtype=torch.uint8, device=memory.device)
    assert memory.used() == 2**28
    assert abs(memory.free() - free) < 2**24, "what torch holds without using it is free"
    assert len(kept) == 2**26


def test_the_first_guess_for_a_gpu_is_modest(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (14 * gib, 24 * gib))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 8 * gib)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 6 * gib)
    assert BatchSize.of(torch.device("cuda"), 2**22).atoms == 16 * gib * FIRST_SHARE / 2**22
    assert BatchSize.of(torch.device("cuda"), gib).atoms == CPU_ATOMS

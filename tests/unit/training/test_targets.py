"""Further targets of a teacher: energies of atoms add up, and rows of the Hessian are those of an exact one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor

from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.training.targets import STEP, Probes, Targets, draw_probes, make_targets, response_to


class Springs(Potential):
    """Springs between all neighbours, whose Hessian is known in closed form."""

    def __init__(self) -> None:
        super().__init__(4.0, learn_reference_energies=False)
        self.stiffness = torch.nn.Parameter(torch.tensor(3.0))

    def atomic_energies(self, batch: Batch) -> Tensor:
        lengths = batch.vectors().norm(dim=-1)
        half = self.stiffness * (lengths - 1.5).square() / 4
        return half.new_zeros(len(batch.numbers)).index_add(0, batch.edges.reshape(-1), half.repeat(2))


def exact_row(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """The row of the Hessian of one spring for a displacement of its first atom along an axis."""
    d = b - a
    r = float(np.linalg.norm(d))
    n = d / r
    block = 3.0 * (np.outer(n, n) + (1 - 1.5 / r) * (np.eye(3) - np.outer(n, n)))
    return np.stack([block[axis], -block[axis]])


def test_a_row_of_the_hessian_is_exact() -> None:
    positions = np.array([[0.0, 0.1, 0], [1.2, 0.8, 0.5]])
    frames = Frames.from_atoms([Atoms("Si2", positions=positions)])
    for axis in range(3):
        probe = np.zeros((2, 3))
        probe[0, axis] = 1.0
        found = response_to(Springs().double(), frames, probe)
        # central differences leave the third derivative times STEP² / 6, of order 10 eV/Å⁴ here
        np.testing.assert_allclose(found, exact_row(*positions, axis), atol=10 * STEP**2)


def test_energies_of_atoms_add_up_and_are_saved(painn: Potential, frames: Frames, tmp_path: Path) -> None:
    with torch.no_grad():
        painn.reference_energies[14] = -5.0
    with Progress().phase("targets", 12, "evaluation") as phase:
        made = make_targets(painn, frames, atomic_energies=True, hessian="rows", seed=0, phase=phase)
        assert phase.record.done == 3 * len(frames)
    assert made.atomic_energy is not None and made.probe is not None and made.response is not None
    total = np.add.reduceat(made.atomic_energy, frames.offsets[:-1])
    np.testing.assert_allclose(total, painn.evaluate(frames).energy, atol=1e-4)  # single precision
    made.save(tmp_path / "targets.npz")
    again = Targets.load(tmp_path / "targets.npz")
    assert all(np.array_equal(getattr(again, name), value) for name, value in vars(made).items())
    Targets().save(tmp_path / "none.npz")
    assert Targets.load(tmp_path / "none.npz") == Targets()


@pytest.mark.parametrize("kind", ["rows", "random"])
def test_each_structure_has_one_probe_and_the_seed_draws_it(kind: Probes, frames: Frames) -> None:
    probe = draw_probes(frames, kind, 3)
    size = np.ones(len(frames)) if kind == "rows" else 3 * frames.n_atoms
    assert np.array_equal(np.add.reduceat(np.abs(probe).sum(1), frames.offsets[:-1]), size)
    assert np.abs(probe).max() == 1
    assert np.array_equal(probe, draw_probes(frames, kind, 3))
    assert not np.array_equal(probe, draw_probes(frames, kind, 4))


def test_a_random_probe_sees_the_whole_hessian() -> None:
    """The mean squared product over all vectors of signs is the sum of the squares of all elements."""
    frames = Frames.from_atoms([Atoms("Si2", positions=[[0.0, 0.1, 0], [1.2, 0.8, 0.5]])])
    springs, unit = Springs().double(), np.eye(6).reshape(6, 2, 3)
    rows = np.array([response_to(springs, frames, one).reshape(6) for one in unit])
    signs = 2.0 * ((np.arange(64)[:, None] >> np.arange(6)) & 1) - 1.0
    products = np.array([response_to(springs, frames, one.reshape(2, 3)).reshape(6) for one in signs])
    # the third derivatives of six coordinates at once, see above
    np.testing.assert_allclose(products, signs @ rows, atol=6**1.5 * 10 * STEP**2)
    assert (products**2).sum(1).mean() == pytest.approx((rows**2).sum(), rel=0.01)


def test_a_teacher_without_energies_of_atoms_is_refused(frames: Frames) -> None:
    with Progress().phase("targets", 1, "evaluation") as phase, pytest.raises(UserError, match="no energies of atoms"):
        make_targets(
            Potential(3.0, learn_reference_energies=False),
            frames,
            atomic_energies=True,
            hessian=None,
            seed=0,
            phase=phase,
        )

"""A student as TorchScript is the student: for any number of atoms and edges, with its derivatives, on any device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase.build import bulk

from distill.potentials.base import Architecture
from distill.potentials.networks.traced import traced
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet
from distill.structures.frames import Frames


@pytest.mark.parametrize("architecture", [PaiNN, TensorNet])
def test_a_trace_is_the_student(architecture: type[Architecture], frames: Frames, tmp_path: Path) -> None:
    """Batches of one and of many structures, after it was saved; close pairs feel the repulsion of nuclei."""
    sizes = {"channels": 6, "layers": 2, "radial_features": 5, "cutoff": 4.0}
    student = architecture.build(architecture.Settings(**sizes), seed=0).double().eval()
    with torch.no_grad():
        student.reference_energies[14] = -4.0
    torch.jit.save(traced(student), str(tmp_path / "traced.pt"))
    script = torch.jit.load(str(tmp_path / "traced.pt"))
    assert ": Device =" not in str(script.inlined_graph)
    squeezed = Frames.from_atoms([bulk("Si", a=3.5)])
    for some in (frames[[1]], frames, frames[[3]], squeezed):
        batch = student.batch(some)
        vectors = batch.vectors().detach().requires_grad_()
        energies = script(batch.numbers, batch.edges, vectors)
        expected = student.atomic_energies(batch).double() + student.reference_energies[batch.numbers]
        assert energies.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-12)
        (by_vectors,) = torch.autograd.grad(energies.sum(), vectors)
        i, j = batch.edges
        forces = torch.zeros_like(batch.positions).index_add(0, i, by_vectors).index_add(0, j, -by_vectors)
        assert forces.numpy() == pytest.approx(student(batch).forces.numpy(), abs=1e-10)

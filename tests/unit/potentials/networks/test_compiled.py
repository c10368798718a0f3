"""A compiled network is the same function, in a fit and in use; what cannot be compiled is refused before any work."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from distill.base.compiler import check_compiler
from distill.base.errors import UserError, WorkError
from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.compiled import plain_derivatives
from distill.structures.frames import Frames
from distill.training.gradient.fit import fit
from distill.workflow.recipe import load_recipe

QUICKSTART = Path(__file__).parents[4] / "recipes" / "quickstart.yaml"
SIZES = {"painn": {"channels": 8, "layers": 1, "radial_features": 6}, "tensornet": {"channels": 8, "layers": 1}}


def structures() -> list[Atoms]:
    """Crystals, one of them with two nuclei so close that they repel each other, and a molecule."""
    crystals = [bulk("Si", cubic=True) for _ in range(3)]
    for k, atoms in enumerate(crystals):
        atoms.rattle(0.1, seed=k)
    close = crystals[2].positions
    close[0] += 0.45 * (close[1] - close[0])
    return [*crystals, molecule("SiH4")]


def network(arch: str) -> Potential:
    potential = POTENTIALS[arch].build(POTENTIALS[arch].Settings(cutoff=4.0, **SIZES[arch]), seed=0)
    assert isinstance(potential, Potential)
    return potential


def gradients(potential: Potential, frames: Frames) -> list[torch.Tensor]:
    """Return the gradients of an objective of energies, forces and stresses."""
    found = potential.train()(potential.batch(frames))
    assert found.stress is not None
    objective = found.energy.sum() + found.forces.square().sum() + 10 * found.stress[:3].square().sum()
    return list(torch.autograd.grad(objective, list(potential.parameters()), materialize_grads=True, allow_unused=True))


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "in_a_fit"), [("painn", True), ("tensornet", False)])
def test_it_is_the_same_function(arch: str, in_a_fit: bool) -> None:
    """A compiler takes minutes for what a fit differentiates, so that is done for one; every fit compares its own."""
    frames = Frames.from_atoms(structures())
    plain, compiled = network(arch).double(), network(arch).double()
    reference = plain.evaluate(frames)
    # double precision: sums in another order
    close: Any = {"rtol": 1e-9, "atol": 1e-9}
    if in_a_fit:
        compiled.compile_for("fit")
        for one, other in zip(gradients(compiled, frames), gradients(plain, frames), strict=True):
            torch.testing.assert_close(one, other, **close)
    compiled.compile_for("use")
    found = compiled.evaluate(frames)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(found, name), getattr(reference, name), **close)
    atom = Frames.from_atoms([Atoms("Si")])
    assert compiled.evaluate(atom).energy == pytest.approx(plain.evaluate(atom).energy), "an atom without neighbours"


@pytest.mark.slow
def test_a_fit_and_dynamics_go_the_same_way(tmp_path: Path) -> None:
    """Every batch has as many atoms as those above, for which the network is compiled; for fewer it would be again."""
    frames = Frames.from_atoms([atoms.repeat((2, 1, 1)) for atoms in structures()[:2]])
    labelled = network("painn").double().evaluate(frames)
    assert labelled.energy is not None and labelled.forces is not None
    labelled = labelled.with_labels(labelled.energy + 1, 2 * labelled.forces, None)
    how: Any = {"steps": 4, "batch_size": 2, "learning_rate": 0.01, "validation_interval": 2, "optimiser": "muon"}
    plain, compiled = network("painn").double(), network("painn").double()
    for potential in (plain, compiled):
        is_compiled = potential is compiled
        fit(potential, labelled, labelled, **how, compiled=is_compiled, work=tmp_path / str(is_compiled))
        assert potential.compiled == "no"
    for one, other in zip(compiled.parameters(), plain.parameters(), strict=True):
        # double precision; Muon rounds its updates to single precision
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    atoms = structures()[0].repeat((2, 2, 1))
    atoms.calc = compiled.calculator(compiled=True)
    # as the weights
    np.testing.assert_allclose(atoms.get_forces(), copy.deepcopy(plain).evaluate([atoms]).forces, rtol=1e-3, atol=1e-4)
    assert compiled.compiled == "use"


def test_a_wrong_compiler_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(potential: Any, batch: Any, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        atomic, by_vectors = plain_derivatives(potential, batch, vectors)
        return atomic, 1.002 * by_vectors

    monkeypatch.setattr("distill.potentials.networks.compiled.compiled_derivatives", lambda kind: wrong)
    potential = network("painn")
    potential.compile_for("use")
    with pytest.raises(WorkError, match="not the same function"):
        potential.evaluate(structures())


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"cannot be compiled") as refusal:
        POTENTIALS["schnet"].build(POTENTIALS["schnet"].Settings(), seed=0).calculator(compiled=True)
    assert "painn, tensornet" in str(refusal.value)
    with pytest.raises(UserError, match=r"students.mine.compile: schnet cannot"):
        load_recipe(QUICKSTART, overrides=["students.mine={arch: schnet, compile: true}"])
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not check_compiler(False)
    with pytest.raises(UserError, match="no-such-compiler"):
        load_recipe(QUICKSTART, overrides=["students.painn.compile=true"])
    with pytest.raises(UserError, match="no-such-compiler"):
        load_recipe(QUICKSTART, overrides=["simulate.0.compile=true"])
    with pytest.raises(UserError, match="no-such-compiler"):
        network("painn").calculator(compiled=True)

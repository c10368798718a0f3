"""Several potentials as one: the mean to the last digits, exact derivatives, its folder, and who may open it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import distill
from distill.base.consent import Code, Consent
from distill.base.errors import UserError
from distill.base.files import hash_file, read_json, write_json
from distill.potentials import POTENTIALS
from distill.potentials.interface.ensemble import Ensemble
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.provenance import provenance
from distill.potentials.interface.saving import load, open_saved, save
from distill.potentials.interface.smoothness import in_double
from distill.potentials.teachers.ensemble import join
from distill.structures.frames import Frames

SHARES = (0.7, 0.3)


@pytest.fixture(scope="module")
def members() -> dict[str, Potential]:
    """Two untrained networks of different kinds and cutoffs, with reference energies, in double precision."""
    made = {}
    for k, (name, cutoff) in enumerate({"painn": 4.0, "schnet": 5.0}.items()):
        row = POTENTIALS[name]
        made[name] = row.build(row.Settings(cutoff=cutoff, preset="small"), seed=k).double()
        with torch.no_grad():
            made[name].reference_energies[14] = -1.0 - k
    return made


@pytest.fixture(scope="module")
def ensemble(members: dict[str, Potential]) -> Ensemble:
    return join(members, SHARES)


def rattled(n: int) -> list[Atoms]:
    rng = np.random.default_rng(0)
    made = [bulk("Si", cubic=True) for _ in range(n)]
    for atoms in made:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    return made


def test_labels_are_the_mean_and_the_spread_is_that_of_two(ensemble: Ensemble, members: dict[str, Potential]) -> None:
    frames = Frames.from_atoms(rattled(3))
    first, second = (one.evaluate(frames) for one in members.values())
    mean, spread = ensemble.evaluate_with_spread(frames)
    for name in ("energy", "forces", "stress"):
        expected = SHARES[0] * getattr(first, name) + SHARES[1] * getattr(second, name)
        np.testing.assert_allclose(getattr(mean, name), expected, rtol=1e-12, atol=1e-12)
    # of two members, whatever their weights: Σ w (x − x̄)² = w₁ w₂ d², and 1 − Σ w² = 2 w₁ w₂
    apart = np.linalg.norm(first.forces - second.forces, axis=1) / np.sqrt(2)
    np.testing.assert_allclose(spread.forces, apart, rtol=1e-9)
    np.testing.assert_allclose(spread.energy, abs(first.energy - second.energy) / 8 / np.sqrt(2), rtol=1e-9)
    np.testing.assert_array_equal(ensemble.evaluate(frames).forces, mean.forces)
    assert members["painn"].evaluate_with_spread(frames)[1] is None


def test_forces_and_stress_are_derivatives_of_the_energy(ensemble: Ensemble) -> None:
    (atoms,) = rattled(1)
    atoms.calc = ensemble.calculator()
    step = 1e-4
    along = np.random.default_rng(1).normal(size=atoms.positions.shape)
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * along
        moved.calc = atoms.calc
        energies.append(moved.get_potential_energy())
    # double precision: what is left is of the order of step² times the third derivative
    assert (energies[0] - energies[1]) / (2 * step) == pytest.approx(-(atoms.get_forces() * along).sum(), rel=1e-5)


def test_the_calculator_agrees_with_evaluation_and_has_the_spread(ensemble: Ensemble) -> None:
    structures = rattled(2)
    mean, spread = ensemble.evaluate_with_spread(structures)
    calculator = ensemble.calculator()
    for k, atoms in enumerate(structures):
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(mean.energy[k], abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), mean[k].forces, atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), mean.stress[k], atol=1e-9)
        np.testing.assert_allclose(atoms.get_potential_energies().sum(), mean.energy[k], atol=1e-9)
        np.testing.assert_allclose(
            calculator.get_property("forces_spread"), spread.forces[8 * k : 8 * k + 8], atol=1e-9
        )
        assert calculator.results["energy_spread"] == pytest.approx(spread.energy[k], abs=1e-9)
    alone = Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]], calculator=calculator)
    assert np.isfinite(alone.get_forces()).all() and "stress" not in calculator.results


def test_a_moved_and_doubled_ensemble_takes_its_members_along(members: dict[str, Potential]) -> None:
    singles = {name: in_double(one).float() for name, one in members.items()}
    ensemble = join(singles, SHARES)
    doubled = in_double(ensemble)
    assert {one.dtype for one in doubled.members.values()} == {torch.float64}  # type: ignore[attr-defined]
    assert {one.dtype for one in ensemble.members.values()} == {torch.float32}  # the given one stays as it is
    assert not any(one.training for one in ensemble.train().eval().members.values())
    assert all(one.training for one in ensemble.train().members.values())


def test_energies_of_atoms_add_up(ensemble: Ensemble) -> None:
    frames = Frames.from_atoms(rattled(2))
    of_atoms = ensemble.energies_of_atoms(frames).reshape(2, -1)
    np.testing.assert_allclose(of_atoms.sum(axis=1), ensemble.evaluate(frames).energy, rtol=1e-10)


def test_its_folder_opens_to_the_same_bits(ensemble: Ensemble, tmp_path: Path) -> None:
    save(ensemble, tmp_path / "made", {"made_by": "a test"})
    (tmp_path / "made").rename(tmp_path / "moved")  # it refers to nothing outside
    again = load(tmp_path / "moved")
    frames = Frames.from_atoms(rattled(2))
    for one, other in zip(ensemble.evaluate_with_spread(frames), again.evaluate_with_spread(frames), strict=True):
        np.testing.assert_array_equal(one.forces, other.forces)  # type: ignore[union-attr]
    assert isinstance(again, Ensemble) and list(again.members) == ["painn", "schnet"]
    assert again.shares.tolist() == list(SHARES)
    taught = provenance("MIT", tmp_path / "moved", {}, "")["teacher"]
    hashes = [hash_file(tmp_path / "moved" / "members" / name / "model.json") for name in ("painn", "schnet")]
    assert isinstance(taught, dict) and taught["name"] == "mean of painn, schnet"
    assert taught["sha256_as_used"] == "; ".join(hashes)
    assert distill.load_potential(tmp_path / "moved").origin["name"] == taught["name"]


def test_a_member_that_was_exchanged_is_refused(ensemble: Ensemble, tmp_path: Path) -> None:
    save(ensemble, tmp_path, {})
    description = read_json(tmp_path / "members" / "schnet" / "model.json")
    write_json(tmp_path / "members" / "schnet" / "model.json", description | {"origin": {"licence": "another"}})
    with pytest.raises(UserError, match="the member schnet is not the one that was saved"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc"])
def test_members_lie_in_its_folder(ensemble: Ensemble, tmp_path: Path, name: str) -> None:
    save(ensemble, tmp_path, {})
    description = read_json(tmp_path / "model.json")
    write_json(tmp_path / "model.json", description | {"parts": {name: ""}})
    with pytest.raises(UserError, match="is not the one that was saved"):
        load(tmp_path)


def test_members_that_run_code_need_consent(
    members: dict[str, Potential], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of the user's may be a member: it has no gradients, and is in the mean all the same."""
    (tmp_path / "their_calculators.py").write_text(
        "from ase.calculators.lj import LennardJones\n\n\n"
        "def make():\n    return LennardJones(sigma=2.0, epsilon=0.1, rc=6.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    external = POTENTIALS["ase"]
    theirs = external.create(external.Settings(function="their_calculators:make"))
    ensemble = join({"painn": members["painn"], "theirs": theirs}, (0.5, 0.5))
    frames = Frames.from_atoms(rattled(2))
    expected = (theirs.evaluate(frames).forces + members["painn"].evaluate(frames).forces) / 2
    np.testing.assert_allclose(ensemble.evaluate(frames).forces, expected, atol=1e-12)
    assert not ensemble.predicts_atomic_energies
    save(ensemble, tmp_path / "saved", {})
    with pytest.raises(UserError, match="their_calculators:make"):
        load(tmp_path / "saved")
    named = Consent(named=(Code("ase", "their_calculators:make"),))
    for opened in (open_saved(tmp_path / "saved", "cpu", named), load(tmp_path / "saved", trust_code=True)):
        np.testing.assert_allclose(opened.evaluate(frames).forces, expected, atol=1e-12)
    with pytest.raises(UserError, match="Leave the environment out"):
        load(tmp_path / "saved", trust_code=True, environment="/usr/bin/python3")


def test_what_it_cannot_do_is_said(ensemble: Ensemble) -> None:
    frames = Frames.from_atoms(rattled(1))
    for refused in (lambda: ensemble.prepare(frames), lambda: ensemble.compile_for("use")):
        with pytest.raises(UserError, match="ensemble"):
            refused()
    with pytest.raises(UserError, match="does not know the element"):
        join({"a": POTENTIALS["diep-2.0"].build(POTENTIALS["diep-2.0"].Settings(), 0)}, [1.0]).evaluate(
            [Atoms("Po2", [[0, 0, 0], [0, 0, 3]])]
        )
    assert (
        ensemble.evaluate([molecule("Si2H6")]).stress is None
        or np.isnan(ensemble.evaluate([molecule("Si2H6")]).stress).all()
    )

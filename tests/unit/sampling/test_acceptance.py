"""A walk ends by the rule: the chance of every evaluation, and where a relaxation must stop."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.units import kB
from toys import (
    FREELY,
    MOST,
    RULES,
    Toy,
    assert_geometric,
    crystal,
    displacement,
    flat,
    homing,
    least_distance,
    records,
)

from distill.sampling.constraints import ConstraintMask
from distill.sampling.grow import grow
from distill.sampling.relax import relax_step
from distill.structures.frames import Frames, concatenate

TREES = 200


def next_step(one):
    """Positions of the relax step that would have followed."""
    info, mask = one.info[0], ConstraintMask(np.ones((len(one.numbers), 3), dtype=bool), np.ones(len(one.numbers)))
    return relax_step(one.positions, one.forces, info["sigma"] / (info["relax_steps"] + 1), mask)


@pytest.mark.parametrize("rise_in_kt", [-5.0, 2.0, 3.0])
def test_every_evaluation_is_accepted_with_the_probability_of_the_rule(tmp_path, rise_in_kt):
    toy = flat(rise_in_kt * kB * FREELY.temperature, crystal())
    result = grow(
        toy, concatenate([crystal()] * TREES), replace(FREELY, structures=TREES), seed=0, journal=tmp_path / "j"
    )
    steps = np.array([info["relax_steps"] for info in result.structures.info])
    assert_geometric(steps, min(0.25, np.exp(-rise_in_kt)))
    assert result.funnel["accepted"] == result.funnel["proposed"] == TREES
    assert result.calls == toy.calls == TREES + np.sum(steps + 1)


def test_the_rise_is_per_atom_and_against_the_parent(tmp_path):
    # Boltzmann weights alone: the seed is the parent nearly always at 12 kT above it, and often at 2 kT.
    rules = replace(FREELY, structures=120, exploration=0.0, max_relax_steps=20)
    rise = [2.0 * kB * 300, 12.0 * kB * 300]
    low, high = (grow(flat(r, crystal()), crystal(), rules, seed=0, journal=tmp_path / str(r)) for r in rise)
    assert {(info["parent"], info["relax_steps"]) for info in high.structures.info} == {(0, 20)}
    of_seed = [info["relax_steps"] for info in low.structures.info if info["parent"] == 0]
    others = [info["relax_steps"] for info in low.structures.info if info["parent"] > 0]
    assert min(len(of_seed), len(others)) > 10
    for steps, p in ((of_seed, np.exp(-2.0)), (others, 0.25)):  # a member's children are as high as itself
        mean = np.sum((1 - p) ** np.arange(1, 21))  # cut off after 20 steps, which only narrows the distribution
        assert np.mean(steps) == pytest.approx(mean, abs=4 * np.sqrt(1 - p) / p / np.sqrt(len(steps)))


def test_after_the_last_step_a_structure_is_kept_whatever_its_energy(tmp_path):
    rules = replace(FREELY, structures=20, max_relax_steps=3)
    toy = flat(100.0, crystal())
    result = grow(toy, concatenate([crystal()] * 20), rules, seed=0, journal=tmp_path / "j")
    assert [info["relax_steps"] for info in result.structures.info] == [3] * 20
    assert result.calls == 20 + 20 * 4


def test_a_walk_that_would_end_in_its_parent_is_kept_one_step_before(tmp_path):
    rules = replace(FREELY, structures=30, temperature=1.0, sigma=(0.1, 0.5), min_displacement=0.1)
    result = grow(homing(crystal(), 1.0), concatenate([crystal()] * 30), rules, seed=0, journal=tmp_path / "j")
    steps = [info["relax_steps"] for info in result.structures.info]
    assert result.funnel["force"] == 0
    assert min(steps) < MOST
    for one, k in zip(result.structures, steps, strict=True):  # at 1 K no energy above the seed's is accepted
        assert displacement(one.positions, crystal().positions, crystal()) >= 0.1
        assert k == MOST or displacement(next_step(one), crystal().positions, crystal()) < 0.1
    assert all(r["calls"] == 0 for r in records(tmp_path / "j") if r["outcome"] != "accepted")


def test_a_walk_towards_atoms_too_close_is_kept_one_step_before(tmp_path):
    pair = Frames.from_atoms([Atoms("Cu2", [[0, 0, 0], [2.6, 0, 0]])])

    def collapsing(one):
        bond = one.positions[1] - one.positions[0]
        return float(not np.array_equal(one.positions, pair.positions)), np.stack([bond, -bond]), np.zeros((3, 3))

    rules = replace(FREELY, structures=30, temperature=1.0, sigma=(0.2, 0.4), min_separation=2.3)
    result = grow(Toy(collapsing), concatenate([pair] * 30), rules, seed=0, journal=tmp_path / "j")
    assert result.funnel["too_close"] > 0  # at once; those have cost no call
    assert sum(r["calls"] for r in records(tmp_path / "j") if r["outcome"] == "too_close") == 0
    steps = [info["relax_steps"] for info in result.structures.info]
    assert min(steps) == 0
    assert max(steps) > 0
    for one, k in zip(result.structures, steps, strict=True):
        assert least_distance(one) >= 2.3
        assert k == MOST or np.linalg.norm(np.subtract(*next_step(one))) < 2.3


def test_large_forces_are_relaxed_until_they_are_allowed_or_end_the_proposal(tmp_path):
    rules = replace(FREELY, structures=30, sigma=(0.2, 0.6), max_force=4.0, max_relax_steps=2)
    result = grow(homing(crystal(), 10.0), concatenate([crystal()] * 30), rules, seed=0, journal=tmp_path / "j")
    largest = np.linalg.norm(result.structures.forces, axis=1).reshape(30, 4).max(axis=1)
    assert largest.max() <= 4.0
    assert max(info["relax_steps"] for info in result.structures.info) > 0
    refused = [r["calls"] for r in records(tmp_path / "j") if r["outcome"] == "force"]
    assert refused == [3] * result.funnel["force"] != []


@pytest.mark.parametrize("broken", ["energy", "forces"])
def test_what_is_not_finite_ends_the_proposal_at_once(tmp_path, broken):
    def label(one):
        energy, forces, stress = homing(crystal(), 1.0).label(one)
        if energy > 0 and one.positions[0, 0] > 0:
            energy, forces = (np.nan, forces) if broken == "energy" else (energy, np.full_like(forces, np.inf))
        return energy, forces, stress

    toy = Toy(label)
    result = grow(toy, crystal(), replace(RULES, structures=10, max_relax_steps=0), seed=0, journal=tmp_path / "j")
    assert np.isfinite(result.structures.forces).all()
    assert np.isfinite(result.structures.energy).all()
    assert result.funnel["failed"] > 0
    assert [r["calls"] for r in records(tmp_path / "j") if r["outcome"] == "failed"] == [1] * result.funnel["failed"]
    assert result.calls == toy.calls


@pytest.mark.parametrize("offset", [-4096.0, 512.0])
def test_the_zero_of_energy_changes_no_structure(tmp_path, offset):
    def shifted(one):
        energy, forces, stress = Toy().label(one)
        return energy + offset * one.n_atoms[0], forces, stress

    rules = replace(RULES, structures=40)
    plain = grow(Toy(), crystal(), rules, seed=3, journal=tmp_path / "a")
    moved = grow(Toy(shifted), crystal(), rules, seed=3, journal=tmp_path / "b")
    assert np.array_equal(moved.structures.positions, plain.structures.positions)
    assert moved.structures.info == plain.structures.info
    assert (moved.funnel, moved.calls) == (plain.funnel, plain.calls)
    # Energies of 16 000 eV are rounded to 4e-12 eV.
    assert moved.relative_energy == pytest.approx(plain.relative_energy, abs=1e-11)


def test_energies_in_single_precision_grow_a_tree(tmp_path):
    def rounded(one):
        energy, forces, stress = Toy().label(one)
        return np.float32(energy - 1e4 * one.n_atoms[0]), forces.astype(np.float32), stress

    result = grow(Toy(rounded), crystal(), replace(RULES, structures=40), seed=3, journal=tmp_path / "j")
    assert len(result.structures) == 40
    assert result.structures.energy.dtype == np.float64
    # A single-precision number near -40 000 is rounded by at most 0.002 eV.
    exact = Toy()(result.structures).energy - 4e4
    assert result.structures.energy == pytest.approx(exact, abs=0.002)

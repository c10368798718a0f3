"""A walker carries one proposal from its parent to acceptance or rejection.

No call is wasted: before every evaluation the positions are compared with the tree and checked for atoms too close, so
whatever passes the acceptance test is kept as it was evaluated. A proposal that relaxes into a member of its tree, or
into a pair of atoms too close, is given up at once: the steps only become shorter, a new proposal is worth more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from distill.base.random import stream
from distill.sampling.rattle import draw_sigma, random_deformation, rattle
from distill.sampling.relax import acceptance_probability, relax_step
from distill.sampling.rules import GrowthRules
from distill.sampling.separation import Separation
from distill.sampling.tree import Member, Tree
from distill.structures.frames import Array, Frames


@dataclass
class Walker:
    """One proposal on its way.

    Attributes:
        tree: the tree it belongs to.
        rng: the proposal's own random numbers.
        parent: index of its parent in the tree.
        sigma: of its rattle, and length of its first relax step, Å.
        deformation: of the seed's cell, ``[3, 3]``.
        positions: ``[n, 3]`` Å.
        steps: relax steps taken.
        failed: the tests that it failed so far.
    """

    tree: Tree
    rng: np.random.Generator
    parent: int
    sigma: float
    deformation: Array
    positions: Array
    steps: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def cell(self) -> Array:
        """Lattice vectors, ``[3, 3]`` Å."""
        return self.tree.cell @ self.deformation

    def fault(self, rules: GrowthRules, separation: Separation) -> str | None:
        """Return the rule that rejects the positions before any call, or None."""
        tree = self.tree
        coordinates = tree.frame.coordinates(self.positions, self.deformation)
        if tree.pool.holds_similar(coordinates, rules.min_displacement):
            return "duplicate"
        if separation.closest(tree.numbers, self.positions, self.cell, tree.pbc):
            return "too_close"
        return None


@dataclass(frozen=True)
class Evaluation:
    """What the predictor says of one walker: energy eV, forces ``[n, 3]`` eV/Å, stress ``[3, 3]`` eV/Å³ or None."""

    energy: float
    forces: Array
    stress: Array | None

    @property
    def finite(self) -> bool:
        """Whether energy and forces are numbers."""
        return bool(np.isfinite(self.energy) and np.isfinite(self.forces).all())


def propose(tree: Tree, rules: GrowthRules, separation: Separation, seed: int) -> Walker | None:
    """Return a walker whose positions pass the geometric rules, or None where the tree's patience ends first."""
    while not tree.stuck(rules):
        walker = rattled(tree, rules, stream(seed, "tree", tree.index, "proposal", tree.counts.proposed))
        fault = walker.fault(rules, separation)
        if fault is None:
            return walker
        tree.counts.reject([fault])
    return None


def rattled(tree: Tree, rules: GrowthRules, rng: np.random.Generator) -> Walker:
    """Return a new proposal: a parent, moved into a strained cell of the seed where asked, and rattled."""
    parent = tree.choose_parent(rules, rng)
    sigma = draw_sigma(rules.sigma, rng)
    member = tree.members[parent]
    deformation, positions = member.deformation, member.positions
    if rules.cell_strain > 0:
        deformation = random_deformation(rules.cell_strain, tree.cell, tree.pbc, rng)
        positions = positions @ np.linalg.solve(member.deformation, deformation)
    return Walker(tree, rng, parent, sigma, deformation, rattle(positions, sigma, tree.masses, rng))


def as_frames(walkers: Sequence[Walker]) -> Frames:
    """Return the walkers as one batch of unlabelled structures."""
    return Frames(
        n_atoms=np.array([len(w.positions) for w in walkers]),
        numbers=np.concatenate([w.tree.numbers for w in walkers]),
        positions=np.concatenate([w.positions for w in walkers]),
        cells=np.stack([w.cell for w in walkers]),
        pbc=np.stack([w.tree.pbc for w in walkers]),
    )


def judge(walker: Walker, evaluation: Evaluation, rules: GrowthRules) -> tuple[str, bool]:
    """Return the verdict on the walker where it stands, and whether that ends its proposal.

    One random number is drawn in any case, so that the stream does not depend on the forces.
    """
    draw = walker.rng.random()
    if not evaluation.finite:
        return "force", True
    last = walker.steps >= rules.max_relax_steps
    if np.linalg.norm(evaluation.forces, axis=1).max() > rules.max_force:
        return "force", last
    tree = walker.tree
    rise = evaluation.energy / len(tree.numbers) - tree.energy_per_atom()[walker.parent]
    if draw < acceptance_probability(float(rise), rules.temperature):
        return "accepted", True
    return "not_accepted", last


def relax(walkers: Sequence[Walker], forces: Sequence[Array]) -> None:
    """Move walkers by their next relax step, all at once."""
    if not walkers:
        return
    n_atoms = [len(w.positions) for w in walkers]
    positions = relax_step(
        np.concatenate([w.positions for w in walkers]),
        np.concatenate(forces),
        np.array([w.sigma / (w.steps + 1) for w in walkers]),
        np.concatenate([w.tree.masses for w in walkers]),
        np.repeat(np.arange(len(walkers)), n_atoms),
    )
    for walker, moved in zip(walkers, np.split(positions, np.cumsum(n_atoms)[:-1]), strict=True):
        walker.positions = moved
        walker.steps += 1


def as_member(walker: Walker, evaluation: Evaluation) -> Member:
    """Return the walker, as it was evaluated, as a member of its tree."""
    return Member(
        positions=walker.positions,
        deformation=walker.deformation,
        energy=evaluation.energy,
        forces=evaluation.forces,
        stress=evaluation.stress,
        parent=walker.parent,
        generation=walker.tree.members[walker.parent].generation + 1,
        sigma=walker.sigma,
    )

"""A walker carries one proposal from its parent to its end.

No call is wasted: before every evaluation the positions are compared with the tree and checked for atoms too close. A
proposal that fails at once is never evaluated. One that would relax into a member of its tree, or into atoms too close,
stops where it was evaluated last: there it is a new structure, and it is kept.

With a surrogate the relaxation follows the surrogate, and the teacher evaluates where the surrogate would stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from distill.base.arrays import Array
from distill.base.random import stream
from distill.sampling.attempts import Evaluation
from distill.sampling.journal import Record, pack, unpack
from distill.sampling.rattle import draw_sigma, random_deformation, rattle
from distill.sampling.relax import acceptance_probability, relax_step
from distill.sampling.separation import Separation
from distill.sampling.tree import Ended, Member, Tree
from distill.structures.frames import Frames

PROGRESS = ("number", "steps", "calls", "surrogate_calls", "last", "asks_teacher")
"""What a walker has done of its proposal, besides its positions."""


@dataclass
class Walker:
    """One proposal on its way.

    Attributes:
        tree: the tree it belongs to.
        number: of the proposal.
        seen: members of the tree that it sees.
        rng: the proposal's own random numbers.
        parent: index of its parent in the tree.
        sigma: of its rattle, and length of its first relax step, Å.
        deformation: of the seed's cell, ``[3, 3]``.
        positions: ``[n, 3]`` Å.
        draw: random number in [0, 1) that decides on acceptance at these positions.
        steps: relax steps taken.
        calls: evaluations by the teacher.
        surrogate_calls: evaluations by the surrogate.
        clearance: by how much two atoms could come closer before they are too close, Å; 0 where it is not known.
        last: whether the relaxation ends here, whatever the energy.
        asks_teacher: whether the next evaluation is the teacher's also where there is a surrogate.
        undoing: of the deformation, for comparing with the tree.
    """

    tree: Tree
    number: int
    seen: int
    rng: np.random.Generator
    parent: int
    sigma: float
    deformation: Array
    positions: Array
    draw: float = 1.0
    steps: int = 0
    calls: int = 0
    surrogate_calls: int = 0
    clearance: float = 0.0
    last: bool = False
    asks_teacher: bool = False
    undoing: Array = field(init=False)

    def __post_init__(self) -> None:
        self.undoing = self.tree.undoing(self.deformation)
        self._arrive()

    @property
    def cell(self) -> Array:
        """Lattice vectors, ``[3, 3]`` Å."""
        return self.tree.cell @ self.deformation

    def fault(self, positions: Array, separation: Separation) -> str | None:
        """Return the rule that forbids to evaluate ``positions``, or None."""
        tree = self.tree
        coordinates = tree.coordinates(positions, self.undoing)
        if tree.pool.holds_similar(coordinates, tree.rules.min_displacement, slice(self.seen)):
            return "duplicate"
        step = positions - self.positions
        self.clearance -= 2 * float(np.sqrt(np.einsum("ij,ij->i", step, step).max()))  # two atoms may move head on
        if self.clearance <= 0:
            self.clearance = separation.clearance(tree.numbers, positions, self.cell, tree.pbc)
        return "too_close" if self.clearance < 0 else None

    def advance(self, evaluation: Evaluation, parent: float, by_teacher: bool, separation: Separation) -> Ended | None:
        """Take an evaluation in: move on and return None, or return what became of the proposal.

        Args:
            evaluation: at the present positions.
            parent: energy of the parent by the same predictor, eV/atom.
            by_teacher: whether the predictor is the teacher.
            separation: least distances.
        """
        self.calls += by_teacher
        self.surrogate_calls += not by_teacher
        rules = self.tree.rules
        if not evaluation.finite:
            return self.ended("failed" if by_teacher else "force", failure=evaluation.failure)
        allowed = evaluation.max_force() <= rules.max_force
        if not (allowed and self._accepted(evaluation.energy / len(self.positions) - parent)) and not self.last:
            step = self.sigma / (self.steps + 1)
            positions = relax_step(self.positions, evaluation.forces, step, self.tree.mask)
            if self.fault(positions, separation) is None:
                self._move(positions)
                return None
            self.last = True
        if not allowed:
            return self.ended("force")
        if by_teacher:
            return self.ended("accepted", self._member(evaluation))
        self.asks_teacher = True
        return None

    def to_record(self) -> Record:
        """Return where the walker stands as a JSON-able mapping that keeps every bit; its proposal says the rest."""
        state = {name: getattr(self, name) for name in PROGRESS}
        return state | {"tree": self.tree.index, "positions": pack(self.positions), "clearance": str(self.clearance)}

    def take_up(self, record: Record) -> None:
        """Go, as a new proposal, to where :meth:`to_record` of the same one stood."""
        for _ in range(record["steps"]):  # one random number was drawn at every step
            self.draw = self.rng.random()
        self.positions = unpack(record["positions"], -1, 3)
        self.clearance = float(record["clearance"])
        for name in PROGRESS:
            setattr(self, name, record[name])

    def ended(self, outcome: str, member: Member | None = None, failure: str = "") -> Ended:
        """Return the end of the proposal."""
        return Ended(self.number, outcome, self.calls, self.surrogate_calls, member, failure)

    def _accepted(self, rise: float) -> bool:
        return self.draw < acceptance_probability(rise, self.tree.rules.temperature)

    def _move(self, positions: Array) -> None:
        self.positions = positions
        self.steps += 1
        self.asks_teacher = False
        self._arrive()

    def _arrive(self) -> None:
        """Draw for the present positions; a single atom has nothing to relax."""
        self.draw = self.rng.random()
        self.last = self.steps >= self.tree.rules.max_relax_steps or len(self.tree.numbers) == 1

    def _member(self, evaluation: Evaluation) -> Member:
        return Member(
            positions=self.positions,
            deformation=self.deformation,
            energy=evaluation.energy,
            forces=evaluation.forces,
            stress=evaluation.stress,
            parent=self.parent,
            generation=self.tree.members[self.parent].generation + 1,
            sigma=self.sigma,
            relax_steps=self.steps,
        )


def propose(tree: Tree, number: int, seed: int) -> Walker:
    """Return a new proposal: a parent, moved into a strained cell of the seed where asked, and rattled."""
    rules, rng = tree.rules, stream(seed, "tree", tree.index, "proposal", number)
    seen = tree.schedule.sees(number) + 1
    parent = tree.choose_parent(seen, rng)
    sigma = draw_sigma(rules.sigma, rng)
    member = tree.members[parent]
    deformation, positions = member.deformation, member.positions
    if rules.cell_strain > 0:
        deformation = random_deformation(rules.cell_strain, tree.cell, tree.pbc, rng)
        positions = positions @ np.linalg.solve(member.deformation, deformation)
    return Walker(tree, number, seen, rng, parent, sigma, deformation, rattle(positions, sigma, tree.mask, rng))


def as_frames(structures: Sequence[Walker | tuple[Tree, Member]]) -> Frames:
    """Return walkers, or members of trees, as one batch of unlabelled structures."""
    rows = [(s.tree, s) if isinstance(s, Walker) else s for s in structures]
    return Frames(
        n_atoms=np.array([len(tree.numbers) for tree, _ in rows]),
        numbers=np.concatenate([tree.numbers for tree, _ in rows]),
        positions=np.concatenate([one.positions for _, one in rows]),
        cells=np.stack([tree.cell @ one.deformation for tree, one in rows]),
        pbc=np.stack([tree.pbc for tree, _ in rows]),
    )

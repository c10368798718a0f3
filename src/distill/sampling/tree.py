"""The family tree of one seed: its members, how a parent is chosen among them, and what became of its proposals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase.data import atomic_masses
from ase.units import kB

from distill.base.arrays import Array
from distill.sampling.attempts import finite_or_none
from distill.sampling.constraints import ConstraintMask
from distill.sampling.journal import Record, pack, unpack
from distill.sampling.rules import GrowthRules
from distill.sampling.schedule import Schedule
from distill.sampling.similarity import Pool, SeedFrame
from distill.structures.frames import Frames

REJECTIONS = ("duplicate", "too_close", "force", "failed")
"""Why a proposal ends without a structure; ``failed`` is the teacher, on a structure of it."""

OUTCOMES = (*REJECTIONS, "accepted")
"""What becomes of a proposal: exactly one of these."""


def parent_probabilities(energy_per_atom: Array, generation: Array, temperature: float, exploration: float) -> Array:
    """Return the probability of each member to be chosen as parent, ``[M]``.

    (1 - exploration) times the normalised Boltzmann weights of the energies plus exploration times the normalised
    (generation + 1). The zero of energy does not matter.

    Args:
        energy_per_atom: eV/atom, ``[M]``; taken as double precision.
        generation: 0 for the seed, ``[M]``.
        temperature: K.
        exploration: between 0 (energies alone) and 1 (generations alone).
    """
    energy = np.asarray(energy_per_atom, dtype=np.float64)
    boltzmann = np.exp(-(energy - energy.min()) / (kB * temperature))
    age = np.asarray(generation, dtype=np.float64) + 1
    return (1 - exploration) * boltzmann / boltzmann.sum() + exploration * age / age.sum()


@dataclass(frozen=True)
class Member:
    """One evaluated structure of a tree.

    Attributes:
        positions: ``[n, 3]`` Å.
        deformation: of the seed's cell, ``[3, 3]``.
        energy: eV.
        forces: ``[n, 3]`` eV/Å.
        stress: ``[3, 3]`` eV/Å³, or None.
        parent: index of the parent in the tree; the seed is 0 and its own parent.
        generation: steps from the seed.
        sigma: of the rattle that made it, Å; 0 for the seed.
        relax_steps: relax steps that followed the rattle.
    """

    positions: Array
    deformation: Array
    energy: float
    forces: Array
    stress: Array | None
    parent: int = 0
    generation: int = 0
    sigma: float = 0.0
    relax_steps: int = 0

    def to_record(self) -> Record:
        """Return the member as a JSON-able mapping that keeps every bit."""
        arrays = {name: pack(getattr(self, name)) for name in ("positions", "deformation", "forces", "stress")}
        return vars(self) | arrays

    @classmethod
    def from_record(cls, record: Record) -> Member:
        """Return the member that :meth:`to_record` wrote."""
        arrays = {
            "positions": unpack(record["positions"], -1, 3),
            "deformation": unpack(record["deformation"], 3, 3),
            "forces": unpack(record["forces"], -1, 3),
            "stress": None if record["stress"] is None else unpack(record["stress"], 3, 3),
        }
        return cls(**(record | arrays))


@dataclass(frozen=True)
class Ended:
    """What became of one proposal.

    Attributes:
        number: of the proposal in its tree.
        outcome: one of ``OUTCOMES``.
        calls: structures that the teacher evaluated for it.
        surrogate_calls: structures that the surrogate evaluated for it.
        member: the structure, where it was accepted.
        failure: what the teacher failed with, where it did.
    """

    number: int
    outcome: str
    calls: int = 0
    surrogate_calls: int = 0
    member: Member | None = None
    failure: str = ""

    def to_record(self, tree: int) -> Record:
        """Return the journal's record of it."""
        return {"tree": tree} | vars(self) | {"member": self.member and self.member.to_record()}

    @classmethod
    def from_record(cls, record: Record) -> Ended:
        """Return what :meth:`to_record` wrote."""
        values = {name: value for name, value in record.items() if name != "tree"}
        return cls(**(values | {"member": record["member"] and Member.from_record(record["member"])}))


@dataclass
class Counts:
    """What became of the proposals of one tree, as far as they count.

    Attributes:
        outcomes: proposals by outcome.
        calls: structures that the teacher evaluated.
        surrogate_calls: structures that the surrogate evaluated.
        recent: proposals rejected since the last acceptance, by rule.
        failure: what the teacher failed with first; empty where it never did.
    """

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    calls: int = 0
    surrogate_calls: int = 0
    recent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REJECTIONS, 0))
    failure: str = ""

    @property
    def in_a_row(self) -> int:
        """Proposals rejected since the last acceptance."""
        return sum(self.recent.values())

    def add(self, outcome: str, ended: Ended) -> None:
        """Count a proposal."""
        self.outcomes[outcome] += 1
        self.calls += ended.calls
        self.surrogate_calls += ended.surrogate_calls
        self.failure = self.failure or ended.failure
        if outcome == "accepted":
            self.recent = dict.fromkeys(REJECTIONS, 0)
        else:
            self.recent[outcome] += 1


class Tree:
    """A seed and the structures grown from it.

    Args:
        index: of the tree among all trees; part of its random streams.
        seed: one structure with the predictor's energy, forces and, where it has one, stress.
        rules: of the growth.

    Attributes:
        wanted: structures wanted, the seed not counted; none at first.
        energy_per_atom: of the members, seed first, eV/atom.
    """

    def __init__(self, index: int, seed: Frames, rules: GrowthRules) -> None:
        if seed.energy is None or seed.forces is None:
            raise ValueError("a tree needs a seed with energy and forces")
        self.index = index
        self.rules = rules
        self.wanted = 0
        self.numbers = seed.numbers
        free = np.ones_like(seed.positions, dtype=bool) if seed.fixed is None else ~seed.fixed
        self.mask = ConstraintMask(free, np.asarray(atomic_masses)[seed.numbers])
        movable = np.flatnonzero(free.any(axis=1))
        self._movable = slice(None) if len(movable) == len(free) else movable
        self.cell = seed.cells[0]
        self.pbc = seed.pbc[0]
        self.counts = Counts()
        self.schedule = Schedule[Ended]()
        self.members: list[Member] = []
        self.pool = self._pool()
        self.energy_per_atom: list[float] = []
        self._generation: list[int] = []
        stress = None if seed.stress is None else finite_or_none(seed.stress[0])
        root = Member(seed.positions, np.eye(3), float(seed.energy[0]), seed.forces, stress)
        self._add(root, self._coordinates(root))

    @property
    def grown(self) -> int:
        """Structures grown, the seed not counted."""
        return len(self.members) - 1

    @property
    def missing(self) -> int:
        """Structures still wanted."""
        return self.wanted - self.grown

    @property
    def stuck(self) -> bool:
        """Whether the last ``patience`` proposals were all rejected."""
        return self.counts.in_a_row >= self.rules.patience

    @property
    def room(self) -> int:
        """How many further proposals may begin without more structures than wanted, 0 where the tree has ended."""
        first = self.schedule.open()
        if self.stuck or first is None:
            return 0
        kept = sum(ended.member is not None for ended in self.schedule.waiting() if ended.number < first)
        return self.missing - self.schedule.running - kept

    @property
    def barren(self) -> bool:
        """Whether no proposal could ever differ from the seed."""
        strained = self.rules.cell_strain > 0 and bool(self.pbc.any())
        return not (strained if len(self.numbers) == 1 else self.mask.any)

    def choose_parent(self, among: int, rng: np.random.Generator) -> int:
        """Return the index of one of the first ``among`` members, drawn by :func:`parent_probabilities`."""
        energy, generation = np.array(self.energy_per_atom[:among]), np.array(self._generation[:among])
        weights = parent_probabilities(energy, generation, self.rules.temperature, self.rules.exploration)
        cumulative = np.cumsum(weights)
        return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))

    def want(self, structures: int) -> None:
        """Set how many structures are wanted; those that ended proposals have ready count at once."""
        self.wanted = structures
        self._count()

    def end(self, ended: Ended) -> None:
        """Take in what became of a proposal; it counts when all earlier ones do."""
        self.schedule.end(ended.number, ended)
        self._count()

    def undoing(self, deformation: Array) -> Array:
        """Return what :meth:`coordinates` needs to know of a deformation, ``[3, 3]``."""
        return deformation if len(self.numbers) == 1 else self.pool.frame.undoing(deformation)

    def coordinates(self, positions: Array, undoing: Array) -> Array:
        """Return what is compared with the pool: the atoms that may move, with the strain undone.

        A single atom moves against its periodic images alone, so that these are compared instead.
        """
        if len(self.numbers) == 1:
            return (self.cell @ undoing)[self.pbc]
        return positions[self._movable] @ undoing

    def _pool(self) -> Pool:
        if len(self.numbers) == 1:
            return Pool(SeedFrame(np.eye(3), np.zeros(3, dtype=bool)), int(self.pbc.sum()))
        return Pool(SeedFrame(self.cell, self.pbc), len(self.numbers[self._movable]))

    def _count(self) -> None:
        while self.missing > 0 and not self.stuck and (ended := self.schedule.next()) is not None:
            outcome = ended.outcome
            if ended.member is not None:
                outcome = self._accept(ended.member, self.schedule.sees(ended.number))
            self.counts.add(outcome, ended)
            self.schedule.count(self.grown)

    def _accept(self, member: Member, seen: int) -> str:
        """Add a member, unless one that its proposal could not see has come first."""
        coordinates = self._coordinates(member)
        if self.pool.holds_similar(coordinates, self.rules.min_displacement, slice(seen + 1, None)):
            return "duplicate"
        self._add(member, coordinates)
        return "accepted"

    def _coordinates(self, member: Member) -> Array:
        return self.coordinates(member.positions, self.undoing(member.deformation))

    def _add(self, member: Member, coordinates: Array) -> None:
        self.members.append(member)
        self.pool.add(coordinates)
        self.energy_per_atom.append(member.energy / len(self.numbers))
        self._generation.append(member.generation)

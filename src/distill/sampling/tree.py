"""The family tree of one seed: its members, how a parent is chosen among them, and what became of its proposals.

A tree's history depends on nothing but the tree: proposal number ``k`` draws from a stream of its own and sees the
members that earlier proposals left. Trees may therefore grow in any company and stop anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import atomic_masses
from ase.units import kB

from distill.sampling.journal import Record, pack, unpack
from distill.sampling.rules import GrowthRules
from distill.sampling.similarity import Pool, SeedFrame
from distill.structures.frames import Array, Frames

REJECTIONS = ("duplicate", "too_close", "force", "not_accepted")
"""Why a proposal ends without a structure."""

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
    """

    positions: Array
    deformation: Array
    energy: float
    forces: Array
    stress: Array | None
    parent: int
    generation: int
    sigma: float

    def to_record(self) -> Record:
        """Return the member as a JSON-able mapping that keeps every bit."""
        return {
            "positions": pack(self.positions),
            "deformation": pack(self.deformation),
            "energy": self.energy,
            "forces": pack(self.forces),
            "stress": pack(self.stress),
            "parent": self.parent,
            "generation": self.generation,
            "sigma": self.sigma,
        }

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


@dataclass
class Counts:
    """What became of the proposals of one tree.

    Attributes:
        outcomes: finished proposals by outcome.
        in_a_row: proposals rejected since the last acceptance.
        failed: tests that those failed, by rule; a proposal is tested at every evaluation and may fail several.
        calls: structures evaluated for the finished proposals.
    """

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    in_a_row: int = 0
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REJECTIONS, 0))
    calls: int = 0

    @property
    def proposed(self) -> int:
        """Finished proposals: also the number of the next one."""
        return sum(self.outcomes.values())

    def accept(self, calls: int) -> None:
        """Count an accepted proposal and its calls."""
        self.outcomes["accepted"] += 1
        self.calls += calls
        self.in_a_row = 0
        self.failed = dict.fromkeys(REJECTIONS, 0)

    def reject(self, failed: Sequence[str], calls: int = 0) -> None:
        """Count a rejected proposal, the tests it failed (the last one decided) and its calls."""
        self.outcomes[failed[-1]] += 1
        self.calls += calls
        self.in_a_row += 1
        for rule in failed:
            self.failed[rule] += 1


class Tree:
    """A seed and the structures grown from it.

    Args:
        index: of the tree among all trees; part of its random streams.
        seed: one structure with the predictor's energy, forces and, where it has one, stress.
        wanted: structures wanted, the seed not counted.
    """

    def __init__(self, index: int, seed: Frames, wanted: int) -> None:
        if seed.energy is None or seed.forces is None:
            raise ValueError("a tree needs a seed with energy and forces")
        self.index = index
        self.wanted = wanted
        self.numbers = seed.numbers
        self.masses = np.asarray(atomic_masses)[seed.numbers]
        self.cell = seed.cells[0]
        self.pbc = seed.pbc[0]
        self.counts = Counts()
        self.members: list[Member] = []
        self.frame = SeedFrame(self.cell, self.pbc)
        self.pool = Pool(self.frame, len(self.numbers), wanted + 1)
        self._energy_per_atom = np.empty(wanted + 1)
        self._generation = np.empty(wanted + 1, dtype=np.int64)
        stress = None if seed.stress is None else finite_or_none(seed.stress[0])
        self._add(Member(seed.positions, np.eye(3), float(seed.energy[0]), seed.forces, stress, 0, 0, 0.0))

    @property
    def missing(self) -> int:
        """Structures still wanted."""
        return self.wanted - len(self.members) + 1

    def stuck(self, rules: GrowthRules) -> bool:
        """Return whether the last ``patience`` proposals were all rejected."""
        return self.counts.in_a_row >= rules.patience

    def energy_per_atom(self) -> Array:
        """Energies of the members, seed first, ``[M]`` eV/atom."""
        return self._energy_per_atom[: len(self.members)]

    def choose_parent(self, rules: GrowthRules, rng: np.random.Generator) -> int:
        """Return the index of a member, drawn by :func:`parent_probabilities`."""
        generation = self._generation[: len(self.members)]
        weights = parent_probabilities(self.energy_per_atom(), generation, rules.temperature, rules.exploration)
        cumulative = np.cumsum(weights)
        return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))

    def accept(self, member: Member, calls: int) -> Record:
        """Take a member in and return the journal's record of it."""
        self.counts.accept(calls)
        self._add(member)
        return self.state() | {"member": member.to_record()}

    def state(self) -> Record:
        """Return the journal's record of a tree between two proposals, without a new member."""
        counts = self.counts
        copies = {"outcomes": dict(counts.outcomes), "failed": dict(counts.failed)}
        return {"tree": self.index, "counts": vars(counts) | copies}

    def replay(self, record: Record) -> None:
        """Repeat what a record says; beyond the number wanted records are left alone."""
        if self.missing:
            self.counts = Counts(**record["counts"])
            if "member" in record:
                self._add(Member.from_record(record["member"]))

    def _add(self, member: Member) -> None:
        at = len(self.members)
        self.members.append(member)
        self.pool.add(self.frame.coordinates(member.positions, member.deformation))
        self._energy_per_atom[at] = member.energy / len(self.numbers)
        self._generation[at] = member.generation


def finite_or_none(stress: Array) -> Array | None:
    """Return a stress, or None where it is marked as missing."""
    return stress if np.isfinite(stress).all() else None

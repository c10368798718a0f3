"""The pool of walkers: as many as the device evaluates at once, each replaced as soon as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from distill.sampling.journal import Record
from distill.sampling.separation import Separation
from distill.sampling.tree import Tree, finite_or_none
from distill.sampling.walker import Evaluation, Walker, as_frames, propose
from distill.structures.frames import Frames

Predictor = Callable[[Frames], Frames]
"""Labels structures with energy, forces and, where it has one, stress; keeps their order."""

AtomLimit = int | Callable[[], int] | None


class WalkerPool:
    """Walkers of many trees that are evaluated together.

    Args:
        trees: grown in place.
        separation: least distances.
        seed: of all random numbers.
        atoms: most atoms under way at once (one walker always is), or a function that says so anew in every round;
            None for no limit. Changes no structure.

    Attributes:
        seconds: time spent in predictors.
    """

    def __init__(self, trees: Sequence[Tree], separation: Separation, seed: int, atoms: AtomLimit) -> None:
        self.trees = trees
        self.separation = separation
        self.seed = seed
        self.atoms = atoms
        self.seconds = 0.0
        self._walkers: list[Walker] = []
        self._under_way = 0
        self._surrogate: Predictor | None = None
        self._parent_energies: dict[tuple[int, int], float] = {}

    def fill(self) -> list[Record]:
        """Begin proposals, those of the neediest trees first; return records of those that fail without a call."""
        records: list[Record] = []
        limit = self.atoms() if callable(self.atoms) else self.atoms
        waiting = [tree for tree in self.trees if tree.room > 0]
        while waiting:
            waiting.sort(key=lambda tree: (-tree.room, tree.index))
            waiting = [tree for tree in waiting if self._fits(tree, limit) and self._begin(tree, records)]
        return records

    def _fits(self, tree: Tree, limit: int | None) -> bool:
        return limit is None or not self._walkers or self._under_way + len(tree.numbers) <= limit

    def _begin(self, tree: Tree, records: list[Record]) -> bool:
        """Begin a proposal that is worth a call; return whether the tree could begin another."""
        while tree.room > 0 and (number := tree.schedule.open()) is not None:
            walker = propose(tree, number, self.seed)
            tree.schedule.begin(number)
            fault = walker.fault(walker.positions, self.separation)
            if fault is None:
                self._walkers.append(walker)
                self._under_way += len(tree.numbers)
                return True
            ended = walker.ended(fault)
            records.append(ended.to_record(tree.index))
            tree.end(ended)
        return False

    def advance(self, teacher: Predictor, surrogate: Predictor | None) -> list[Record]:
        """Evaluate every walker once and move it on; return records of the proposals that ended.

        Args:
            teacher: gives labels and decides what is kept.
            surrogate: relaxes in the teacher's place; None where the teacher does all.
        """
        to_teacher = [w for w in self._walkers if surrogate is None or w.asks_teacher]
        evaluated = [(w, e, _energy_of_parent(w), True) for w, e in self._evaluated(teacher, to_teacher)]
        if surrogate is not None:
            others = [w for w in self._walkers if not w.asks_teacher]
            parents = self._parents(surrogate, others)
            evaluated += [(w, e, parents[_parent(w)], False) for w, e in self._evaluated(surrogate, others)]
        records: list[Record] = []
        staying: list[Walker] = []
        for walker, evaluation, parent, by_teacher in evaluated:
            ended = walker.advance(evaluation, parent, by_teacher, self.separation)
            if ended is None:
                staying.append(walker)
            else:
                records.append(ended.to_record(walker.tree.index))
                walker.tree.end(ended)
        self._walkers = [walker for walker in staying if not walker.tree.stuck]
        self._under_way = sum(len(walker.positions) for walker in self._walkers)
        return records

    def __len__(self) -> int:
        return len(self._walkers)

    def _evaluated(self, predict: Predictor, walkers: Sequence[Walker]) -> list[tuple[Walker, Evaluation]]:
        return list(zip(walkers, self._called(predict, as_frames(walkers)), strict=True)) if walkers else []

    def _parents(self, surrogate: Predictor, walkers: Sequence[Walker]) -> dict[tuple[int, int], float]:
        """Return the surrogate's energy of the parent of each walker, eV/atom, by tree and index; each asked once."""
        if surrogate is not self._surrogate:
            self._surrogate, self._parent_energies = surrogate, {}
        new = {
            _parent(w): (w.tree, w.tree.members[w.parent]) for w in walkers if _parent(w) not in self._parent_energies
        }
        if new:
            evaluations = self._called(surrogate, as_frames(list(new.values())))
            for (key, (tree, _)), evaluation in zip(new.items(), evaluations, strict=True):
                self._parent_energies[key] = evaluation.energy / len(tree.numbers)
        return self._parent_energies

    def _called(self, predict: Predictor, structures: Frames) -> list[Evaluation]:
        begin = time.perf_counter()
        evaluations = list(evaluate(predict, structures))
        self.seconds += time.perf_counter() - begin
        return evaluations


def _parent(walker: Walker) -> tuple[int, int]:
    return walker.tree.index, walker.parent


def _energy_of_parent(walker: Walker) -> float:
    return walker.tree.energy_per_atom[walker.parent]


def evaluate(predict: Predictor, structures: Frames) -> Iterator[Evaluation]:
    """Yield the predictor's word on each structure; raises ValueError where it gives no energy or no forces."""
    labelled = predict(structures)
    if labelled.energy is None or labelled.forces is None:
        raise ValueError("the predictor must give energies and forces")
    forces = np.split(labelled.forces, np.cumsum(structures.n_atoms)[:-1])
    for i, energy in enumerate(labelled.energy):
        stress = None if labelled.stress is None else finite_or_none(labelled.stress[i])
        yield Evaluation(float(energy), forces[i].copy(), stress)

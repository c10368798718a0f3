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


class WalkerPool:
    """Walkers of many trees that are evaluated together.

    Args:
        trees: grown in place.
        separation: least distances.
        seed: of all random numbers.
        atoms: most atoms under way at once (one walker always is); None for no limit. Changes no structure.

    Attributes:
        seconds: time spent in predictors.
    """

    def __init__(self, trees: Sequence[Tree], separation: Separation, seed: int, atoms: int | None) -> None:
        self.trees = trees
        self.separation = separation
        self.seed = seed
        self.atoms = np.inf if atoms is None else atoms
        self.seconds = 0.0
        self._walkers: list[Walker] = []
        self._under_way = 0

    def fill(self) -> list[Record]:
        """Begin proposals, those of the neediest trees first; return records of those that fail without a call."""
        records: list[Record] = []
        waiting = [tree for tree in self.trees if tree.room > 0]
        while waiting and self._under_way < self.atoms:
            waiting.sort(key=lambda tree: (-tree.room, tree.index))
            waiting = [tree for tree in waiting if self._fits(tree) and self._begin(tree, records)]
        return records

    def _fits(self, tree: Tree) -> bool:
        return not self._walkers or self._under_way + len(tree.numbers) <= self.atoms

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
        records: list[Record] = []
        staying: list[Walker] = []
        to_teacher = [w for w in self._walkers if surrogate is None or w.asks_teacher]
        to_surrogate = [w for w in self._walkers if surrogate is not None and not w.asks_teacher]
        for predict, walkers in ((teacher, to_teacher), (surrogate, to_surrogate)):
            if predict is None or not walkers:
                continue
            for walker, evaluation in zip(walkers, self._evaluated(predict, walkers), strict=True):
                ended = walker.advance(evaluation, predict is teacher, self.separation)
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

    def _evaluated(self, predict: Predictor, walkers: Sequence[Walker]) -> list[Evaluation]:
        begin = time.perf_counter()
        evaluations = list(evaluate(predict, as_frames(walkers)))
        self.seconds += time.perf_counter() - begin
        return evaluations


def evaluate(predict: Predictor, structures: Frames) -> Iterator[Evaluation]:
    """Yield the predictor's word on each structure; raises ValueError where it gives no energy or no forces."""
    labelled = predict(structures)
    if labelled.energy is None or labelled.forces is None:
        raise ValueError("the predictor must give energies and forces")
    forces = np.split(labelled.forces, np.cumsum(structures.n_atoms)[:-1])
    for i, energy in enumerate(labelled.energy):
        stress = None if labelled.stress is None else finite_or_none(labelled.stress[i])
        yield Evaluation(float(energy), forces[i], stress)

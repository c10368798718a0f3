"""The pool of walkers: as many as the device evaluates at once, each replaced as soon as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from distill.sampling.attempts import Attempts, Evaluation, Predictor, evaluate
from distill.sampling.journal import Record
from distill.sampling.separation import Separation
from distill.sampling.tree import Tree
from distill.sampling.walker import Walker, as_frames, propose
from distill.structures.frames import Frames

AtomLimit = int | Callable[[], int] | None
Ask = Callable[[Frames], Iterable[Evaluation]]


class WalkerPool:
    """Walkers of many trees that are evaluated together.

    Args:
        trees: grown in place.
        separation: least distances.
        seed: of all random numbers.
        atoms: most atoms under way at once (one walker always is), or a function that says so anew in every round;
            None for no limit. Changes structures by the predictor's rounding alone.

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
        self._attempts = Attempts()
        self._under_way = 0
        self._surrogate: Predictor | None = None
        self._parent_energies: dict[tuple[int, int], float] = {}

    def under_way(self) -> Record:
        """Return the walkers, in their order, and what was asked for them, as a JSON-able mapping."""
        parents = [[*key, str(energy)] for key, energy in self._parent_energies.items()]
        return {"walkers": [walker.to_record() for walker in self._walkers], "parents": parents}

    def take_up(self, under_way: Record, surrogate: Predictor | None) -> None:
        """Go on with the walkers of :meth:`under_way`, so that they are evaluated in the same company as before."""
        for record in under_way["walkers"]:
            tree = self.trees[record["tree"]]
            walker = propose(tree, record["number"], self.seed)
            walker.take_up(record)
            tree.schedule.begin(walker.number)
            self._enter(walker)
        self._surrogate = surrogate
        self._parent_energies = {(tree, index): float(energy) for tree, index, energy in under_way["parents"]}

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
                self._enter(walker)
                return True
            ended = walker.ended(fault)
            records.append(ended.to_record(tree.index))
            tree.end(ended)
        return False

    def _enter(self, walker: Walker) -> None:
        self._walkers.append(walker)
        self._under_way += len(walker.positions)

    def advance(self, teacher: Predictor, surrogate: Predictor | None) -> list[Record]:
        """Evaluate every walker once and move it on; return records of the proposals that ended.

        Args:
            teacher: gives labels and decides what is kept.
            surrogate: relaxes in the teacher's place; None where the teacher does all.

        Raises:
            WorkError: the teacher fails nearly always.
        """
        to_teacher = [w for w in self._walkers if surrogate is None or w.asks_teacher]
        asked = self._evaluated(lambda frames: self._attempts(teacher, frames), to_teacher)
        evaluated = [(w, e, _energy_of_parent(w), True) for w, e in asked]
        if surrogate is not None:
            others = [w for w in self._walkers if not w.asks_teacher]
            parents = self._parents(surrogate, others)
            relaxed = self._evaluated(lambda frames: evaluate(surrogate, frames), others)
            evaluated += [(w, e, parents[_parent(w)], False) for w, e in relaxed]
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

    @property
    def certain(self) -> bool:
        """Whether the teacher has answered since it last failed.

        Until then no mark is made: where the teacher is given up instead, growth continues as if it had not been asked.
        """
        return self._attempts.in_a_row == 0

    def __len__(self) -> int:
        return len(self._walkers)

    def _evaluated(self, ask: Ask, walkers: Sequence[Walker]) -> list[tuple[Walker, Evaluation]]:
        return list(zip(walkers, self._called(ask, as_frames(walkers)), strict=True)) if walkers else []

    def _parents(self, surrogate: Predictor, walkers: Sequence[Walker]) -> dict[tuple[int, int], float]:
        """Return the surrogate's energy of the parent of each walker, eV/atom, by tree and index; each asked once."""
        if surrogate is not self._surrogate:
            self._surrogate, self._parent_energies = surrogate, {}
        new = {
            _parent(w): (w.tree, w.tree.members[w.parent]) for w in walkers if _parent(w) not in self._parent_energies
        }
        if new:
            evaluations = self._called(lambda frames: evaluate(surrogate, frames), as_frames(list(new.values())))
            for (key, (tree, _)), evaluation in zip(new.items(), evaluations, strict=True):
                self._parent_energies[key] = evaluation.energy / len(tree.numbers)
        return self._parent_energies

    def _called(self, ask: Ask, structures: Frames) -> list[Evaluation]:
        begin = time.perf_counter()
        evaluations = list(ask(structures))
        self.seconds += time.perf_counter() - begin
        return evaluations


def _parent(walker: Walker) -> tuple[int, int]:
    return walker.tree.index, walker.parent


def _energy_of_parent(walker: Walker) -> float:
    return walker.tree.energy_per_atom[walker.parent]

"""Rattle, relax, repeat: grow a family tree of new structures from each seed.

Every unfinished tree has one walker. A round evaluates all walkers in one call of the predictor, then accepts, moves or
replaces each. What a tree becomes does not depend on the other trees (see :mod:`distill.sampling.tree`), so neither the
size of a batch nor an interruption changes a structure; the journal keeps every tree between two proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.base.errors import UserError, WorkError
from distill.base.files import hash_value
from distill.base.progress import Phase, Progress
from distill.sampling.journal import Journal, Record, pack, unpack
from distill.sampling.result import GrowthResult, collect, stuck_warning
from distill.sampling.rules import GrowthRules
from distill.sampling.separation import Separation
from distill.sampling.tree import Tree, finite_or_none
from distill.sampling.walker import Evaluation, Walker, as_frames, as_member, judge, propose, relax
from distill.structures.frames import Array, Frames

Predictor = Callable[[Frames], Frames]
"""Labels structures with energy, forces and, where it has one, stress; keeps their order."""


def grow(
    predict: Predictor,
    seeds: Frames,
    rules: GrowthRules,
    *,
    seed: int,
    journal: Path,
    progress: Progress | None = None,
    walkers: int | None = None,
) -> GrowthResult:
    """Return ``rules.structures`` new structures, spread evenly over one tree for each of ``seeds``.

    Args:
        predict: the teacher; called once for each round.
        seeds: the roots of the trees; labels they bring are not used, the predictor's count.
        rules: what to grow and what to keep.
        seed: of all random numbers.
        journal: file that accepted structures are written to at once. Where it exists, growth continues from it, also
            to a larger number of structures.
        progress: where to report.
        walkers: most structures in one call, None for one of every tree; bounds memory, changes no structure.

    Raises:
        UserError: seeds that break the rules themselves, or a journal of other seeds or rules.
        WorkError: nothing at all was accepted.
    """
    if not len(seeds):
        raise UserError("there are no seed structures to grow from", where="generation")
    separation = Separation(rules.min_separation, seeds.elements)
    _check_seeds(seeds, separation)
    shares = [len(range(i, rules.structures, len(seeds))) for i in range(len(seeds))]
    with Journal(journal) as log:
        roots, trees = _open_trees(log, predict, seeds, rules, seed, shares)
        done = sum(len(tree.members) - 1 for tree in trees)
        with (progress or Progress()).phase("growing", rules.structures, "structure", done) as phase:
            growth = Growth(predict, rules, separation, seed, trees)
            while growth.prepare(walkers):
                log.append(growth.round())
                _report(phase, trees)
    warnings = [log.note] if log.note else []
    warnings += [stuck_warning(tree, rules) for tree in trees if tree.missing]
    result = collect(trees, seeds, roots, warnings)
    if not len(result.structures):
        raise WorkError(f"no structure was accepted. {result.warnings[-1]}", where="generation")
    return result


class Growth:
    """The rounds of growing trees.

    Args:
        predict: the teacher.
        rules: what to keep.
        separation: least distances.
        seed: of all random numbers.
        trees: grown in place.
    """

    def __init__(
        self, predict: Predictor, rules: GrowthRules, separation: Separation, seed: int, trees: Sequence[Tree]
    ) -> None:
        self.predict = predict
        self.rules = rules
        self.separation = separation
        self.seed = seed
        self.trees = trees
        self._walkers: dict[int, Walker] = {}

    def prepare(self, most: int | None) -> bool:
        """Give trees that need structures a walker, the neediest first, up to ``most``; say whether there is any."""
        waiting = [tree for tree in self.trees if tree.missing and tree.index not in self._walkers]
        for tree in sorted(waiting, key=lambda tree: (-tree.missing, tree.index)):
            if len(self._walkers) == most:
                break
            walker = propose(tree, self.rules, self.separation, self.seed)
            if walker is not None:
                self._walkers[tree.index] = walker
        return bool(self._walkers)

    def round(self) -> list[Record]:
        """Evaluate all walkers, then accept, drop or move each; return a record of every tree whose proposal ended."""
        batch = [self._walkers[index] for index in sorted(self._walkers)]
        records: list[Record] = []
        staying: list[Walker] = []
        forces: list[Array] = []
        for walker, evaluation in zip(batch, evaluate(self.predict, as_frames(batch)), strict=True):
            verdict, ended = judge(walker, evaluation, self.rules)
            if verdict == "accepted":
                records.append(walker.tree.accept(as_member(walker, evaluation), calls=walker.steps + 1))
                del self._walkers[walker.tree.index]
                continue
            walker.failed.append(verdict)
            if ended:
                records.append(self._drop(walker, calls=walker.steps + 1))
            else:
                staying.append(walker)
                forces.append(evaluation.forces)
        relax(staying, forces)
        for walker in staying:
            fault = walker.fault(self.rules, self.separation)
            if fault is not None:
                walker.failed.append(fault)
                records.append(self._drop(walker, calls=walker.steps))
        return records

    def _drop(self, walker: Walker, calls: int) -> Record:
        walker.tree.counts.reject(walker.failed, calls)
        del self._walkers[walker.tree.index]
        return walker.tree.state()


def evaluate(predict: Predictor, structures: Frames) -> Iterator[Evaluation]:
    """Yield the predictor's word on each structure; raises ValueError where it gives no energy or no forces."""
    labelled = predict(structures)
    if labelled.energy is None or labelled.forces is None:
        raise ValueError("the predictor must give energies and forces")
    forces = np.split(labelled.forces, np.cumsum(structures.n_atoms)[:-1])
    for i, energy in enumerate(labelled.energy):
        stress = None if labelled.stress is None else finite_or_none(labelled.stress[i])
        yield Evaluation(float(energy), forces[i], stress)


def _check_seeds(seeds: Frames, separation: Separation) -> None:
    for i, one in enumerate(seeds):
        pair = separation.closest(one.numbers, one.positions, one.cells[0], one.pbc[0])
        if pair is not None:
            raise UserError(
                f"atoms {pair[0]} and {pair[1]} are {pair[2]:.2f} Å apart, closer than min_separation allows",
                where=f"seed structure {i}",
                remedy="Correct the structure, or lower min_separation",
            )


def _open_trees(
    log: Journal, predict: Predictor, seeds: Frames, rules: GrowthRules, seed: int, shares: Sequence[int]
) -> tuple[Frames, list[Tree]]:
    """Return the labelled seeds and their trees, grown as far as the journal tells."""
    records = log.replay()
    fingerprint = _fingerprint(seeds, rules, seed)
    header = next(records, None)
    if header is None:
        roots = _labelled_roots(predict, seeds)
        log.append([_header(roots, fingerprint)])
        return roots, [Tree(i, roots[i], share) for i, share in enumerate(shares)]
    if header["fingerprint"] != fingerprint:
        raise UserError(
            "this journal is of other seeds, other rules or another random seed",
            where=str(log.path),
            remedy="Restore them, or delete the journal to grow new trees",
        )
    roots = _roots(header, seeds)
    trees = [Tree(i, roots[i], share) for i, share in enumerate(shares)]
    for record in records:
        trees[record["tree"]].replay(record)
    return roots, trees


def _fingerprint(seeds: Frames, rules: GrowthRules, seed: int) -> str:
    arrays = [seeds.n_atoms, seeds.numbers, seeds.positions, seeds.cells, seeds.pbc]
    return hash_value({"rules": rules.shaping(), "seed": seed, "seeds": [pack(array) for array in arrays]})


def _labelled_roots(predict: Predictor, seeds: Frames) -> Frames:
    evaluations = list(evaluate(predict, seeds))
    for i, one in enumerate(evaluations):
        if not one.finite:
            raise UserError(
                "the teacher gives no finite energy and forces",
                where=f"seed structure {i}",
                remedy="Remove the structure or correct it",
            )
    missing = np.full((3, 3), np.nan)
    stress = [missing if one.stress is None else one.stress for one in evaluations]
    return seeds.with_labels(
        np.array([one.energy for one in evaluations]),
        np.concatenate([one.forces for one in evaluations]),
        None if all(one.stress is None for one in evaluations) else np.stack(stress),
    )


def _header(roots: Frames, fingerprint: str) -> Record:
    labels = {"energy": pack(roots.energy), "forces": pack(roots.forces), "stress": pack(roots.stress)}
    return {"fingerprint": fingerprint} | labels


def _roots(header: Record, seeds: Frames) -> Frames:
    stress = None if header["stress"] is None else unpack(header["stress"], -1, 3, 3)
    return seeds.with_labels(unpack(header["energy"], -1), unpack(header["forces"], -1, 3), stress)


def _report(phase: Phase, trees: Sequence[Tree]) -> None:
    done = sum(len(tree.members) - 1 for tree in trees)
    calls = sum(tree.counts.calls for tree in trees)
    phase.update(done, f"{calls / done:.1f} calls each" if done else None)

"""Rattle, relax, repeat: grow a family tree of new structures from each seed.

A pool of walkers is evaluated in one call of the predictor; each walker then moves, or ends and is replaced at once
by a new proposal of the tree that needs it most. What a tree becomes depends on the tree alone (see
:mod:`distill.sampling.schedule`), but for the rounding of the predictor, which may depend on what it evaluates side by
side. The journal keeps every proposal that ended and the walkers that are under way: after an interruption the same
structures are evaluated side by side again, and no bit changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError, WorkError
from distill.base.files import hash_value
from distill.base.progress import Phase, Progress
from distill.sampling.attempts import Predictor, attempt, with_evaluations
from distill.sampling.journal import Journal, Record, pack, unpack
from distill.sampling.pool import AtomLimit, WalkerPool
from distill.sampling.result import GrowthResult, barren_warning, collect, failures_warning, grown_frames, stuck_warning
from distill.sampling.rules import GrowthRules, for_validation
from distill.sampling.separation import Separation
from distill.sampling.surrogate import Surrogate, stretches
from distill.sampling.tree import Ended, Tree
from distill.structures.frames import Frames, concatenate


def grow(
    predict: Predictor,
    seeds: Frames,
    rules: GrowthRules,
    *,
    seed: int,
    journal: Path,
    progress: Progress | None = None,
    batch_atoms: AtomLimit = None,
    surrogate: Surrogate | None = None,
) -> GrowthResult:
    """Return ``rules.structures`` new structures, spread over one tree for each of ``seeds`` by :func:`allotment`.

    Args:
        predict: the teacher; called once for each round. A proposal that it fails on is rejected, and counted.
        seeds: the roots of the trees; labels they bring are not used, the predictor's count. Their fixed atoms stay.
        rules: what to grow and what to keep.
        seed: of all random numbers.
        journal: file that every proposal is written to as it ends. Where it exists, growth continues from it, also to
            a larger number of structures.
        progress: where to report.
        batch_atoms: most atoms in one call of the predictor (but at least one structure), or a function that says so
            anew before every call; None for no limit. Changes structures by rounding alone.
        surrogate: relaxes in the teacher's place once there is something to train it on; None for none.

    Raises:
        UserError: seeds that break the rules themselves or that the teacher fails on, or a journal of other seeds or
            rules.
        WorkError: nothing at all was accepted, or the teacher fails nearly always.
    """
    if not len(seeds):
        raise UserError("there are no seed structures to grow from", where="generation")
    separation = Separation(rules.min_separation, seeds.elements)
    _check_seeds(seeds, separation)
    with Journal(journal) as log:
        roots, trees = _open_trees(log, predict, seeds, rules, seed, surrogate)
        valid = np.array(seeds.labels("split")) == "valid"
        pool = WalkerPool(trees, separation, seed, batch_atoms)
        with (progress or Progress()).phase("growing", rules.structures, "structure") as phase:
            for number, end in enumerate(stretches(rules.structures, surrogate)):
                known = grown_frames(trees, seeds) if number else Frames.empty()
                _want(trees, allotment(end, valid, rules.valid_fraction))
                if not pool.seconds:
                    phase.resume(sum(tree.grown for tree in trees))
                left = _left(log, number)
                relaxer = None
                if number and surrogate is not None and (left or any(tree.room > 0 for tree in trees)):
                    relaxer = surrogate.train(concatenate([roots, known]), number)
                if left:
                    pool.take_up(left, relaxer)
                _run(pool, predict, relaxer, log, phase, number)
    warnings = [log.note] if log.note else []
    warnings += failures_warning(trees)
    warnings += [barren_warning(tree) for tree in trees if tree.barren]
    warnings += [stuck_warning(tree) for tree in trees if tree.stuck]
    result = collect(trees, seeds, roots, warnings, pool.seconds)
    if not len(result.structures):
        raise WorkError(" ".join(["no structure was accepted.", *result.warnings[-1:]]), where="generation")
    return result


def _left(log: Journal, stretch: int) -> Record | None:
    """Return what an interruption left under way in this stretch, or None."""
    left = log.under_way
    return left if left and left["walkers"] and left["stretch"] == stretch else None


def _run(
    pool: WalkerPool, predict: Predictor, relaxer: Predictor | None, log: Journal, phase: Phase, stretch: int
) -> None:
    """Grow until no tree needs or can do more."""
    while True:
        log.append(pool.fill())
        _report(phase, pool.trees)
        if not len(pool):
            log.mark({"stretch": stretch, "walkers": []})
            return
        log.append(pool.advance(predict, relaxer))
        if pool.certain:
            log.mark({"stretch": stretch} | pool.under_way())


def allotment(structures: int, valid: Array, fraction: float) -> Array:
    """Return how many structures each tree is to have, ``[T]`` integers that add up to ``structures``.

    Trees of training and of validation structures have their shares however many there are of each, so that students
    learn from equally many structures whether these grow from one DFT structure or from many. Within a side they are
    spread evenly; the first trees get one more. More structures never mean fewer in any tree.

    Args:
        structures: over all trees.
        valid: which trees are those of validation structures, ``[T]`` booleans.
        fraction: the share of these; where one side has no trees, the other has all structures.
    """
    share = fraction if valid.any() and not valid.all() else float(valid.all())
    of_valid = for_validation(structures, share)
    wanted = np.zeros(len(valid), dtype=np.int64)
    for side, total in ((valid, of_valid), (~valid, structures - of_valid)):
        trees = np.flatnonzero(side)
        wanted[trees] = [len(range(i, total, len(trees))) for i in range(len(trees))]
    return wanted


def _want(trees: Sequence[Tree], structures: Array) -> None:
    """Set how many structures each tree is to have; one that cannot grow gets none."""
    for tree, wanted in zip(trees, structures.tolist(), strict=True):
        tree.want(0 if tree.barren else wanted)


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
    log: Journal, predict: Predictor, seeds: Frames, rules: GrowthRules, seed: int, surrogate: Surrogate | None
) -> tuple[Frames, list[Tree]]:
    """Return the labelled seeds and their trees, which know of every proposal in the journal."""
    records = log.replay()
    fingerprint = _fingerprint(seeds, rules, seed, surrogate)
    header = next(records, None)
    if header is None:
        roots = _labelled_roots(predict, seeds)
        log.append([_header(roots, fingerprint)])
        log.mark({"stretch": 0, "walkers": []})
    elif header["fingerprint"] != fingerprint:
        raise UserError(
            "this journal is of other seeds, other rules or another random seed",
            where=str(log.path),
            remedy="Restore them, or delete the journal to grow new trees",
        )
    else:
        roots = _roots(header, seeds)
    trees = [Tree(i, roots[i], rules) for i in range(len(roots))]
    for record in records:
        trees[record["tree"]].end(Ended.from_record(record))
    return roots, trees


def _fingerprint(seeds: Frames, rules: GrowthRules, seed: int, surrogate: Surrogate | None) -> str:
    arrays = [seeds.n_atoms, seeds.numbers, seeds.positions, seeds.cells, seeds.pbc]
    arrays += [] if seeds.fixed is None else [seeds.fixed]
    shaping = {"rules": rules.shaping(), "seed": seed, "seeds": [pack(array) for array in arrays]}
    if surrogate is not None:  # a tree that stops early leaves less to train on
        shaping["surrogate"] = [surrogate.after, surrogate.every, rules.patience]
    return hash_value(shaping)


def _labelled_roots(predict: Predictor, seeds: Frames) -> Frames:
    evaluations = []
    for i, one in enumerate(attempt(predict, seeds)):
        if one.failure:
            raise UserError(
                f"the teacher fails on it: {one.failure}",
                where=f"seed structure {i}",
                remedy="Remove the structure or correct it, or choose a teacher that knows such structures",
            )
        evaluations.append(one)
    return with_evaluations(seeds, evaluations)


def _header(roots: Frames, fingerprint: str) -> Record:
    labels = {"energy": pack(roots.energy), "forces": pack(roots.forces), "stress": pack(roots.stress)}
    return {"fingerprint": fingerprint} | labels


def _roots(header: Record, seeds: Frames) -> Frames:
    stress = None if header["stress"] is None else unpack(header["stress"], -1, 3, 3)
    return seeds.with_labels(unpack(header["energy"], -1), unpack(header["forces"], -1, 3), stress)


def _report(phase: Phase, trees: Iterable[Tree]) -> None:
    done = sum(tree.grown for tree in trees)
    calls = sum(tree.counts.calls for tree in trees)
    phase.update(done, f"{calls / done:.1f} calls each" if done else None)

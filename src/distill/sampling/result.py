"""What a growth returns: the structures, what the search for them cost, and the numbers for its histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.sampling.attempts import failures_text
from distill.sampling.rattle import MEAN_DISPLACEMENT
from distill.sampling.tree import OUTCOMES, REJECTIONS, Tree
from distill.structures.frames import Frames

HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class GrowthResult:
    """Grown structures and how they came about; arrays follow the order of ``structures`` (by tree, then by age).

    Attributes:
        structures: with the predictor's labels; ``info`` holds tree, index (in the tree; the seed is 0), parent,
            generation, sigma (Å), relax_steps and the seed's ``config_type`` where it has one.
        roots: the seeds with the predictor's labels.
        funnel: proposals by outcome: proposed = duplicate + too_close + force + failed + accepted.
        calls: structures evaluated by the predictor, seeds included; walkers lost in an interruption, or when their
            tree stopped, do not count.
        surrogate_calls: structures evaluated by the surrogate, parents not counted.
        predictor_s: time spent in the predictors in this attempt, s.
        per_tree: structures of each tree, ``[T]``.
        generation: ``[S]``.
        displacement_from_parent: mean over the atoms that may move, Å, ``[S]``.
        displacement_from_seed: likewise.
        relative_energy: eV/atom above the seed, ``[S]``.
        warnings: what the user should know.
    """

    structures: Frames
    roots: Frames
    funnel: dict[str, int]
    calls: int
    surrogate_calls: int
    predictor_s: float
    per_tree: tuple[int, ...]
    generation: Array
    displacement_from_parent: Array
    displacement_from_seed: Array
    relative_energy: Array
    warnings: tuple[str, ...]

    @property
    def calls_per_structure(self) -> float:
        """Predictor calls for each structure, seeds included."""
        return self.calls / max(len(self.structures), 1)

    def histograms(self) -> dict[str, dict[str, list[float]]]:
        """Return counts and bin edges of generation, displacements (Å) and energy above the seed (eV/atom)."""
        values = {
            "displacement_from_parent": self.displacement_from_parent,
            "displacement_from_seed": self.displacement_from_seed,
            "relative_energy": self.relative_energy,
        }
        found = {name: np.histogram(value, bins=HISTOGRAM_BINS) for name, value in values.items()}
        generation = np.bincount(self.generation)
        tables = {"generation": (generation, np.arange(len(generation) + 1) - 0.5)} | found
        return {name: {"counts": counts.tolist(), "edges": edges.tolist()} for name, (counts, edges) in tables.items()}


def collect(
    trees: Sequence[Tree], seeds: Frames, roots: Frames, warnings: Sequence[str], predictor_s: float
) -> GrowthResult:
    """Return the result of grown ``trees``; ``seeds`` give ``config_type``, ``roots`` are their evaluations."""
    members = [(tree, i) for tree in trees for i in range(1, len(tree.members))]
    outcomes = {name: sum(tree.counts.outcomes[name] for tree in trees) for name in OUTCOMES}
    energies = [np.array(tree.energy_per_atom) for tree in trees]
    return GrowthResult(
        structures=grown_frames(trees, seeds),
        roots=roots,
        funnel={"proposed": sum(outcomes.values())} | outcomes,
        calls=len(roots) + sum(tree.counts.calls for tree in trees),
        surrogate_calls=sum(tree.counts.surrogate_calls for tree in trees),
        predictor_s=predictor_s,
        per_tree=tuple(tree.grown for tree in trees),
        generation=np.array([tree.members[i].generation for tree, i in members], dtype=np.int64),
        displacement_from_parent=_joined([_displacements(tree, to_parent=True) for tree in trees]),
        displacement_from_seed=_joined([_displacements(tree, to_parent=False) for tree in trees]),
        relative_energy=_joined([energy[1:] - energy[0] for energy in energies]),
        warnings=tuple(warnings),
    )


def failures_warning(trees: Sequence[Tree]) -> list[str]:
    """Return the sentence on the structures that the teacher failed on, and on what it said first; none without."""
    failed = sum(tree.counts.outcomes["failed"] for tree in trees)
    first = next((tree.counts.failure for tree in trees if tree.counts.failure), "")
    text = failures_text(failed, sum(tree.counts.calls for tree in trees), first)
    return [text] if text else []


def barren_warning(tree: Tree) -> str:
    """Return why a tree cannot grow."""
    if len(tree.numbers) > 1:
        return f"tree {tree.index} grows nothing: all its atoms are fixed. Free some, or leave the structure out."
    remedy = "set cell_strain, or use a larger cell" if tree.pbc.any() else "leave it out"
    return f"tree {tree.index} grows nothing: a single atom has nothing to move against; {remedy}."


def stuck_warning(tree: Tree) -> str:
    """Return what stopped a tree, and what to change."""
    recent = tree.counts.recent
    worst = max(REJECTIONS, key=recent.__getitem__)
    return (
        f"tree {tree.index} stopped at {tree.grown} of {tree.wanted} structures: its last {tree.counts.in_a_row} "
        f"proposals were all rejected, {recent[worst]} of them as {worst.replace('_', ' ')}. {_remedy(worst, tree)}"
    )


def _remedy(rule: str, tree: Tree) -> str:
    rules = tree.rules
    low, high = rules.sigma
    if rule == "duplicate":
        return (
            f"Raise sigma (now {low:g}-{high:g} Å; a rattle moves atoms by {MEAN_DISPLACEMENT:.1f} sigma on average), "
            f"or lower min_displacement (now {rules.min_displacement:g} Å)."
        )
    if rule == "too_close":
        pairs = "-".join(chemical_symbols[z] for z in np.unique(tree.numbers))
        return f"Lower sigma (now up to {high:g} Å) or min_separation ({pairs})."
    if rule == "failed":
        return f"The teacher fails on them; first: {tree.counts.failure}."
    return f"Lower sigma (now up to {high:g} Å), or raise max_relax_steps or max_force ({rules.max_force:g} eV/Å)."


def grown_frames(trees: Sequence[Tree], seeds: Frames) -> Frames:
    """Return the grown structures of all trees, by tree, then by age, as ``GrowthResult.structures`` has them."""
    grown = [(tree, i) for tree in trees for i in range(1, len(tree.members))]
    if not grown:
        return Frames.empty()
    members = [tree.members[i] for tree, i in grown]
    missing = np.full((3, 3), np.nan)
    stress = [missing if m.stress is None else m.stress for m in members]
    return Frames(
        n_atoms=np.array([len(m.positions) for m in members]),
        numbers=np.concatenate([tree.numbers for tree, _ in grown]),
        positions=np.concatenate([m.positions for m in members]),
        cells=np.stack([tree.cell @ m.deformation for (tree, _), m in zip(grown, members, strict=True)]),
        pbc=np.stack([tree.pbc for tree, _ in grown]),
        energy=np.array([m.energy for m in members]),
        forces=np.concatenate([m.forces for m in members]),
        stress=None if all(m.stress is None for m in members) else np.stack(stress),
        fixed=None if seeds.fixed is None else np.concatenate([~tree.mask.free for tree, _ in grown]),
        info=tuple(_info(tree, i, seeds) for tree, i in grown),
    )


def _info(tree: Tree, index: int, seeds: Frames) -> dict[str, Any]:
    member, seed = tree.members[index], seeds.info[tree.index]
    inherited = {key: seed[key] for key in ("config_type", "split") if key in seed}
    place = {"tree": tree.index, "index": index, "parent": member.parent, "generation": member.generation}
    return inherited | place | {"sigma": member.sigma, "relax_steps": member.relax_steps}


def _displacements(tree: Tree, to_parent: bool) -> Array:
    members = np.arange(1, len(tree.members))
    others = [tree.members[i].parent if to_parent else 0 for i in members]
    return tree.pool.displacements(members, np.array(others, dtype=np.int64))


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.zeros(0), *parts])

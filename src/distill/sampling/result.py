"""What a growth returns: the structures, what the search for them cost, and the numbers for its histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from distill.sampling.rattle import MEAN_DISPLACEMENT
from distill.sampling.rules import GrowthRules
from distill.sampling.tree import OUTCOMES, REJECTIONS, Tree
from distill.structures.frames import Array, Frames


@dataclass(frozen=True)
class GrowthResult:
    """Grown structures and how they came about; arrays follow the order of ``structures`` (by tree, then by age).

    Attributes:
        structures: with the predictor's labels; ``info`` holds tree, index (in the tree; the seed is 0), parent,
            generation, sigma (Å) and the seed's ``config_type`` where it has one.
        roots: the seeds with the predictor's labels.
        funnel: proposals by outcome: proposed = duplicate + too_close + force + not_accepted + accepted.
        calls: structures evaluated by the predictor, seeds included; walkers lost in an interruption are not known.
        per_tree: structures of each tree, ``[T]``.
        generation: ``[S]``.
        displacement_from_parent: mean over atoms, Å, ``[S]``.
        displacement_from_seed: mean over atoms, Å, ``[S]``.
        relative_energy: eV/atom above the seed, ``[S]``.
        warnings: what the user should know.
    """

    structures: Frames
    roots: Frames
    funnel: dict[str, int]
    calls: int
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


def collect(trees: Sequence[Tree], seeds: Frames, roots: Frames, warnings: Sequence[str]) -> GrowthResult:
    """Return the result of grown ``trees``; ``seeds`` give ``config_type``, ``roots`` are their evaluations."""
    grown = [(tree, i) for tree in trees for i in range(1, len(tree.members))]
    outcomes = {name: sum(tree.counts.outcomes[name] for tree in trees) for name in OUTCOMES}
    return GrowthResult(
        structures=_structures(grown, seeds),
        roots=roots,
        funnel={"proposed": sum(outcomes.values())} | outcomes,
        calls=len(roots) + sum(tree.counts.calls for tree in trees),
        per_tree=tuple(len(tree.members) - 1 for tree in trees),
        generation=np.array([tree.members[i].generation for tree, i in grown], dtype=np.int64),
        displacement_from_parent=_joined([_displacements(tree, to_parent=True) for tree in trees]),
        displacement_from_seed=_joined([_displacements(tree, to_parent=False) for tree in trees]),
        relative_energy=_joined([tree.energy_per_atom()[1:] - tree.energy_per_atom()[0] for tree in trees]),
        warnings=tuple(warnings),
    )


def stuck_warning(tree: Tree, rules: GrowthRules) -> str:
    """Return what stopped a tree, and what to change."""
    failed = tree.counts.failed
    worst = max(REJECTIONS, key=failed.__getitem__)
    got = len(tree.members) - 1
    return (
        f"tree {tree.index} stopped at {got} of {tree.wanted} structures: its last {tree.counts.in_a_row} proposals "
        f"were all rejected; of {sum(failed.values())} failed tests, {failed[worst]} say {worst.replace('_', ' ')}. "
        f"{_remedy(worst, tree, rules)}"
    )


def _remedy(rule: str, tree: Tree, rules: GrowthRules) -> str:
    low, high = rules.sigma
    if rule == "duplicate":
        if len(tree.numbers) == 1:
            return "A single atom has no inner displacement: use a larger cell."
        return (
            f"Raise sigma (now {low:g}-{high:g} Å; a rattle moves atoms by {MEAN_DISPLACEMENT:.1f} sigma on average), "
            f"or lower min_displacement (now {rules.min_displacement:g} Å)."
        )
    if rule == "too_close":
        pairs = "-".join(chemical_symbols[z] for z in np.unique(tree.numbers))
        return f"Lower sigma (now up to {high:g} Å) or min_separation ({pairs})."
    if rule == "force":
        return f"Lower sigma (now up to {high:g} Å), or raise max_relax_steps or max_force ({rules.max_force:g} eV/Å)."
    return f"Raise max_relax_steps ({rules.max_relax_steps}) or temperature ({rules.temperature:g} K), or lower sigma."


def _structures(grown: Sequence[tuple[Tree, int]], seeds: Frames) -> Frames:
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
        info=tuple(_info(tree, i, seeds) for tree, i in grown),
    )


def _info(tree: Tree, index: int, seeds: Frames) -> dict[str, Any]:
    member, seed = tree.members[index], seeds.info[tree.index]
    inherited = {key: seed[key] for key in ("config_type",) if key in seed}
    place = {"tree": tree.index, "index": index, "parent": member.parent, "generation": member.generation}
    return inherited | place | {"sigma": member.sigma}


def _displacements(tree: Tree, to_parent: bool) -> Array:
    members = np.arange(1, len(tree.members))
    others = [tree.members[i].parent if to_parent else 0 for i in members]
    return tree.pool.displacements(members, np.array(others, dtype=np.int64))


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.zeros(0), *parts])

"""What fine-tuning does to everything but the material at hand: how much is forgotten, and what to replay against it.

A foundation model that is fitted to one material changes its mind about others. No labels are needed to see that: the
model before fine-tuning is the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.structures.materials import ordinary_materials
from distill.structures.replay import REMEDY, UNLABELLED


@dataclass(frozen=True)
class Forgetting:
    """How far predictions for other materials moved.

    Attributes:
        forces: mean absolute change of the force components, eV/Å.
        size: mean absolute force component before, eV/Å.
        energy: mean absolute change of the energy per atom, eV/atom.
        structures: how many structures that rests on.
        by_material: the change of the forces of each material, eV/Å.
    """

    forces: float
    size: float
    energy: float
    structures: int
    by_material: dict[str, float]


def forgetting(before: Frames, after: Frames) -> Forgetting:
    """Compare predictions before and after fine-tuning; both label the same structures, with ``info["material"]``."""
    old, new = _labels(before), _labels(after)
    change = np.abs(new[1] - old[1]).mean(axis=1)  # (N,)
    names = np.array(before.labels("material"))
    of_atom = names[before.structure_of_atom]
    return Forgetting(
        forces=float(change.mean()),
        size=float(np.abs(old[1]).mean()),
        energy=float(np.abs((new[0] - old[0]) / before.n_atoms).mean()),
        structures=len(before),
        by_material={str(name): float(change[of_atom == name].mean()) for name in dict.fromkeys(names.tolist())},
    )


def to_replay(potential: Potential, given: Frames | None, shift: Mapping[str, float], apart_from: Frames) -> Frames:
    """Return labelled structures of other materials to mix into the training.

    Args:
        potential: the model before fine-tuning, with shifted reference energies.
        given: the user's structures; None takes a built-in set of ordinary materials. What has no labels gets those of
            ``potential``; what has some is taken to be of the model's own level of theory.
        shift: what the reference shift added to each element, eV per atom by symbol.
        apart_from: the structures of the material at hand.

    Raises:
        UserError: energies without forces or the reverse, an unknown element, or nothing to replay.
    """
    if given is None:
        built_in = ordinary_materials("replay", potential.elements, apart_from.elements)
        if not len(built_in):
            where, remedy = "teacher.finetune.replay", "Name a file with structures of other materials"
            raise UserError(
                f"no built-in material has only elements that {potential.architecture} knows", where, remedy
            )
        return potential.evaluate(built_in)
    if given.energy is None and given.forces is None:
        return potential.evaluate(given)
    if given.energy is None or given.forces is None:
        raise UserError(UNLABELLED, "teacher.finetune.replay.file", REMEDY)
    potential.check(given)
    by_number = np.array([shift.get(symbol, 0.0) for symbol in chemical_symbols])
    moved = np.bincount(given.structure_of_atom, weights=by_number[given.numbers], minlength=len(given))
    return given.with_labels(given.energy + moved, given.forces, given.stress)


def _labels(frames: Frames) -> tuple[Array, Array]:
    if frames.energy is None or frames.forces is None:
        raise ValueError("these structures are not labelled")
    return frames.energy, frames.forces

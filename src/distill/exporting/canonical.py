"""What an export has whatever programs it is for: the saved potential, and structures that it can be compared by.

Weights are safetensors and what is said of them is JSON, so that nothing is run by opening them. ``frames.xyz`` has
the structures of the certificates with what this package says of them in double precision; whoever reads it with
another program needs nothing else to compare.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill.base.files import copy_tree, replacing
from distill.base.leftovers import remove_at_once
from distill.exporting.certificate import reference
from distill.exporting.frames import certificate_frames
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import PARTS, save
from distill.structures.frames import Frames
from distill.structures.write import write_frames

FRAMES = "frames.xyz"
SAVED = ("model.json", "weights.safetensors")


def write_canonical(potential: Potential, saved: Path | None, folder: Path) -> list[Path]:
    """Write what every export has, and return the files.

    Args:
        potential: what is exported.
        saved: the folder that it was opened from, which is copied as it is; None saves the potential anew.
        folder: of the export; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if saved is None:
        save(potential, folder, {})
    elif saved.resolve() != folder.resolve():
        _copy(potential, saved, folder)
    write_frames(folder / FRAMES, reference_frames(potential))
    return [*(folder / name for name in (*SAVED, *potential.files())), folder / FRAMES]


def reference_frames(potential: Potential) -> Frames:
    """Return the structures of certificates with energies, forces and stresses in double precision.

    Each has its name as ``frame``. A stress has no meaning, and is left out, where a direction is not periodic.
    """
    named = certificate_frames(potential.elements or (), potential.cutoff)
    labelled = reference(potential).evaluate(list(named.values()))
    stress = None if labelled.stress is None else labelled.stress.copy()
    if stress is not None:
        stress[~labelled.pbc.all(axis=1)] = np.nan
    return labelled.with_labels(labelled.energy, labelled.forces, stress).with_info(frame=list(named))


def _copy(potential: Potential, saved: Path, folder: Path) -> None:
    """Copy a saved potential, its description last: without that the folder is none."""
    if (saved / PARTS).is_dir():
        remove_at_once(folder / PARTS)
        copy_tree(saved / PARTS, folder / PARTS)
    for name in (*potential.files(), *reversed(SAVED)):
        with replacing(folder / name) as temporary:
            temporary.write_bytes((saved / name).read_bytes())

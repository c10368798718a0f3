"""What a caller gives to be evaluated: a model and structures, each as a path or as an object; opened, read and named.

A name tells models apart: of a run's model it is that of run and student, of one in the store its labels and the first
digits of its hash, and of any other folder its own with digits that its content gives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from distill.base.errors import UserError, nearest
from distill.base.files import hash_file
from distill.base.sealed import DamagedError, read_sealed

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames
    from distill.structures.read import LabelSource

    Model: TypeAlias = str | Path | Potential | BaseCalculator
    """A folder of a saved potential, a potential, or an ASE calculator."""
    Structures: TypeAlias = str | Path | Frames | Atoms | Sequence[Atoms]
    """An extended XYZ file, or structures in memory."""

LABELS = ("energy", "forces", "stress")
MANIFEST = "manifest.json"
DIGITS = 8
"""Of a hash, in names."""
IN_MEMORY = "the structures"
"""What messages call structures that are in no file."""


def model_name(model: Model) -> str:
    """Return what a model is called, in tables and as part of the name of a folder.

    ``runs/water/models/painn`` is ``water-painn``, and with the name of the sweep before it where the run is one of a
    sweep; a folder in the store is for instance ``painn-distilled-0-1a2b3c4d``, any other ``painn-1a2b3c4d``, by its
    content. An object is called by its architecture or class.
    """
    if not isinstance(model, str | Path):
        return str(getattr(model, "architecture", "")) or type(model).__name__
    folder = Path(os.path.abspath(model))
    if folder.parent.name == "models":
        run = folder.parents[1]
        sweep = [run.parents[1].name] if run.parent.name == "variants" else []
        return "-".join([*sweep, run.name, folder.name])
    if not folder.is_symlink() and (said := _manifest(folder)) is not None:
        output = [] if folder.name == "model" else [folder.name]
        words = [*map(str, said["labels"].values() or [said["stage"]]), *output]
        return "-".join([*words, folder.parent.name[:DIGITS]])
    description = folder / "model.json"
    return f"{folder.name}-{hash_file(description)[:DIGITS]}" if description.is_file() else folder.name


def labels_of(folder: Path) -> Mapping[str, Any] | None:
    """Return what tells a run's model from others of its run, e.g. its ``student``; None for folders elsewhere."""
    said = _manifest(Path(os.path.realpath(folder)))
    return None if said is None else dict(said["labels"])


def _manifest(folder: Path) -> Any:
    """Return the manifest of the artifact that a model of the store is in; None for folders elsewhere."""
    try:
        return read_sealed(folder.parent / MANIFEST)
    except (OSError, DamagedError):
        return None


def check_model(model: Model, **options: Any) -> None:
    """Refuse what is no model, before anything is opened: of folders with the nearest that is one.

    ``options`` are for folders; an object is opened already, and on a device.
    """
    if not isinstance(model, str | Path):
        _check_object(model, options)
        return
    folder = Path(model)
    if (folder / "model.json").is_file():
        return
    inside = sorted(path.parent for path in folder.glob("models/*/model.json")) + sorted(
        path.parent for path in folder.glob("*/model.json")
    )
    if inside:
        remedy = f"Give one of these: {', '.join(map(str, inside))}"
    elif folder.is_file() and (folder.parent / "model.json").is_file():
        remedy = f"Give its folder, {folder.parent}"
    else:
        remedy = "Give the folder of a model, for instance runs/quickstart/models/painn"
    if not folder.exists():
        raise UserError("there is no such folder", where=str(folder), remedy=remedy)
    raise UserError("is not a folder of a potential: it has no model.json", where=str(folder), remedy=remedy)


def _check_object(model: Any, options: Mapping[str, Any]) -> None:
    """Refuse an object that is neither a potential nor a calculator, and options that it has no use for."""
    from ase import Atoms

    from distill.potentials.interface.potential import Potential

    is_calculator = hasattr(model, "get_potential_energy") and not isinstance(model, Atoms)
    if not (isinstance(model, Potential) or is_calculator):
        what = f"{type(model).__name__} is no model"
        raise UserError(what, where="evaluate", remedy="Give a folder, a potential or an ASE calculator")
    for name, value in options.items():
        if value not in (None, False, "auto"):
            what = f"{name} is for folders, and {model_name(model)} is opened already"
            raise UserError(what, where="evaluate", remedy="Leave it out")


def open_model(model: Model, device: str, trust_code: bool, environment: str | None) -> Potential:
    """Return the potential, ready to be evaluated on ``device``, a torch device; objects stay where they are.

    Raises:
        UserError: the folder is damaged, or would run code without being trusted.
    """
    from distill.potentials.interface.calculator import PotentialCalculator
    from distill.potentials.interface.potential import Potential
    from distill.potentials.interface.saving import load
    from distill.potentials.workers.calculator_potential import GivenCalculator

    if isinstance(model, Potential):
        return model
    if isinstance(model, PotentialCalculator):
        return cast("Potential", model.potential)
    if not isinstance(model, str | Path):
        return GivenCalculator(model)
    _refuse_damaged(Path(model))
    try:
        return load(model, device, trust_code=trust_code, environment=environment)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the potential cannot be read ({error})", where=str(model)) from error


def _refuse_damaged(model: Path) -> None:
    """Refuse a run's model of which a file is not as the run wrote it; of other folders nothing is known."""
    from distill.workflow.store import Store

    folder = model.resolve()
    if len(folder.parents) > 2 and (folder.parent / MANIFEST).is_file():
        damaged = Store(folder.parents[2]).damaged_below(folder)
        if damaged:
            remedy = "distill run with its recipe makes it again"
            raise UserError("is damaged: it is not as it was written", where=str(damaged[0]), remedy=remedy)


def read_structures(data: Structures, keys: Mapping[str, str]) -> tuple[Frames, LabelSource]:
    """Return the structures with the labels that all of them have, and where these are from.

    Raises:
        UserError: they cannot be read, or a label has no such key.
    """
    from ase import Atoms

    from distill.structures.frames import Frames
    from distill.structures.from_ase import frames_from_ase
    from distill.structures.read import LabelKeys, LabelSource, read_frames

    for label in keys:
        if label not in LABELS:
            raise UserError(f"unknown label {label!r}", where="--key", remedy=nearest(label, LABELS))
    if isinstance(data, Frames):
        if keys:
            raise UserError("frames have their labels, and no keys of them", where="keys", remedy="Leave keys out")
        energy, forces, stress = (name if getattr(data, name) is not None else None for name in LABELS)
        return data, LabelSource(energy, forces, stress)
    if isinstance(data, Atoms):
        data = [data]
    try:
        if isinstance(data, str | Path):
            return read_frames(data, LabelKeys(**keys), labels="optional")
        if not isinstance(data, Sequence) or not all(isinstance(one, Atoms) for one in data):
            remedy = "Give an extended XYZ file, Frames, or one or several ASE structures"
            raise UserError(f"{type(data).__name__} are no structures", where="evaluate", remedy=remedy)
        return frames_from_ase(data, LabelKeys(**keys), IN_MEMORY)
    except UserError as error:
        # The reader's remedy is for recipes.
        remedy = re.sub(r"in the recipe as data\.keys\.(\w+)", r"as --key \1=NAME", error.remedy or "")
        raise UserError(error.what, where=error.where, remedy=remedy or None) from None


def place_of(data: Any) -> str:
    """Return what messages call the structures: their file, if they have one."""
    return str(data) if isinstance(data, str | Path) else IN_MEMORY

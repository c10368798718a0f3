"""Weights of students that have seen many elements before, made by ``scripts/pretraining.py``.

A student that begins with them knows already what atoms of an element are like and how bonds bend and stretch; it has
to learn the material alone, from fewer labels. Only networks of exactly these sizes can begin so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.errors import UserError
from distill.base.files import read_json

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

FOLDER = Path(__file__).with_name("weights")
"""One folder for each architecture, as models are saved."""


def check_pretrained(arch: str, settings: Mapping[str, Any]) -> None:
    """Refuse a student that cannot begin with pretrained weights.

    Args:
        arch: its name in a recipe.
        settings: the architecture's own settings.

    Raises:
        ValueError: there are no such weights, or they are of a network of other sizes.
    """
    names = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
    if arch not in names:
        raise ValueError(f"there are pretrained weights of {', '.join(names)}, not of {arch}: leave start out")
    pretrained = read_json(FOLDER / arch / "model.json")["settings"]
    wrong = {name: value for name, value in pretrained.items() if name != "preset" and settings.get(name) != value}
    if wrong:
        wanted = ", ".join(f"{name}: {value}" for name, value in wrong.items())
        raise ValueError(f"the pretrained weights of {arch} are of {wanted}: set that, or leave start out")


def load_pretrained(potential: Potential, arch: str) -> None:
    """Give a student the pretrained weights, its reference energies among them, and say so in its ``origin``.

    Raises:
        UserError: the weights have not seen one of its elements, or the installed file is damaged.
    """
    from ase.data import chemical_symbols

    from distill.potentials.interface.saving import load

    pretrained = load(FOLDER / arch)
    unseen = sorted(set(potential.elements or ()) - set(pretrained.elements or ()))
    if unseen:
        symbols = ", ".join(chemical_symbols[z] for z in unseen)
        raise UserError(f"the pretrained weights of {arch} have not seen {symbols}", "students", "Leave start out")
    potential.load_state_dict(pretrained.state_dict())
    made = read_json(FOLDER / arch / "model.json")["provenance"]
    potential.origin["start"] = f"pretrained on {made['structures']} structures of many elements by {made['teacher']}"

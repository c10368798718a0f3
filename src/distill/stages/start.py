"""The structure that a simulation starts from, as a recipe names it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from distill.base.settings import Settings

if TYPE_CHECKING:
    from ase import Atoms


class Crystal(Settings):
    """A crystal as :func:`ase.build.bulk` makes it."""

    name: str
    """Chemical symbol or symbols."""
    crystalstructure: str | None = None
    """For instance ``diamond``, ``fcc``, ``rocksalt``."""
    a: float | None = Field(None, gt=0)
    """Lattice constant, Å."""
    c: float | None = Field(None, gt=0)
    """Second lattice constant of hexagonal crystals, Å."""
    cubic: bool = False
    """Use the cubic cell."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Crystal:
        if why := _cannot_be_built(**self.model_dump(exclude_none=True)):
            raise ValueError(f"is not a crystal that ASE can build: {why}")
        return self


@lru_cache(maxsize=256)
def _cannot_be_built(**crystal: Any) -> str:
    """Return why ASE cannot build a crystal; nothing where it can."""
    from ase.build import bulk

    try:
        bulk(**crystal)
    except (ValueError, RuntimeError, KeyError) as error:
        return str(error) or type(error).__name__
    return ""


class Start(Settings):
    """The structure that a simulation starts from."""

    crystal: Crystal | None = None
    """A perfect crystal."""
    frame: int | None = Field(None, ge=0)
    """Instead, a frame of the training set, counted from 0."""
    file: str | None = Field(None, exclude=True)
    """Instead, a file of yours in any format that ASE reads (extended XYZ, CIF, POSCAR ...): its last structure."""
    name: str | None = None
    """What it is called; required for a file."""
    repeat: tuple[int, int, int] = (1, 1, 1)
    """Repetitions of the cell."""

    @model_validator(mode="after")
    def _is_one_structure(self) -> Start:
        if sum(one is not None for one in (self.crystal, self.frame, self.file)) != 1:
            raise ValueError("must have one of 'crystal', 'frame' and 'file'")
        if self.file is not None and not self.name:
            raise ValueError("must have 'name': what the structure of the file is called")
        return self


def start(structure: Start, frames: Path, file: Path | None = None) -> Atoms:
    """Return the ASE structure that a simulation starts from.

    Args:
        structure: as the recipe names it.
        frames: the training structures.
        file: the user's own, where it names one.
    """
    from ase.build import bulk

    from distill.base.errors import UserError
    from distill.structures.any_format import last_structure
    from distill.structures.read import read_frames

    if structure.crystal is not None:
        return bulk(**structure.crystal.model_dump(exclude_none=True)).repeat(structure.repeat)
    if structure.file is not None:
        return last_structure(file or Path(structure.file)).repeat(structure.repeat)
    every = read_frames(frames)[0]
    index = structure.frame or 0
    if index >= len(every):
        raise UserError(f"there is no frame {index}", where="simulate.structure.frame", remedy=f"0 to {len(every) - 1}")
    return every[index].to_atoms()[0].repeat(structure.repeat)


def named_file(structure: Start | None, place: str) -> dict[str, str]:
    """Return as the input ``structure`` the recipe's key of the user's own structure; nothing where there is none.

    Args:
        structure: as the recipe names it.
        place: the dotted key of the simulation.
    """
    return {} if structure is None or structure.file is None else {"structure": f"{place}.structure.file"}


def check_start(files: Mapping[str, Path]) -> None:
    """Raise :class:`UserError` where the input ``structure`` is there and cannot be read."""
    if "structure" in files:
        from distill.structures.any_format import last_structure

        last_structure(files["structure"])


def describe(structure: Start, atoms: Atoms) -> str:
    """Return what is simulated in words, e.g. ``diamond Si``."""
    if structure.name:
        return structure.name
    if structure.crystal is None:
        return f"{atoms.symbols.formula.reduce()[0]}, frame {structure.frame or 0}"
    return " ".join(filter(None, [structure.crystal.crystalstructure, structure.crystal.name]))

"""Read structures and their labels from extended XYZ, and say which keys the labels came from.

A label is the first of its known names (:data:`NAMES` with each of ``PREFIXES``) or the key that the caller names. One
file uses one key for a label in all of its frames: whatever deviates is an error that names file, frame and key. NaN
says that a frame, or an atom, has no such label.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from distill.base.arrays import Array
from distill.base.conventions import MOVE_MASK, PREFIXES
from distill.base.errors import UserError, nearest
from distill.structures.doubled import Doubled, compare
from distill.structures.extxyz import Block, cell_and_pbc, read_blocks
from distill.structures.frames import Frames
from distill.structures.symbols import numbers_from_words, symbol_fault
from distill.structures.textfile import Notes
from distill.structures.words import advice, real

NAMES = {"energy": ("energy", "free_energy"), "forces": ("forces",), "stress": ("stress", "virial", "virials")}
"""Known names of each label, best first: an ``energy`` is preferred to a ``free_energy`` (which contains the electronic
entropy of a smearing), a ``stress`` to a ``virial``."""

MOMENTS = ("magmom", "magmoms", "initial_magmoms", "magnetic_moments")
"""Per-atom columns, in any case, of which only is noted whether they are zero: no potential reads them."""

CELLS = ("cell", "cells", "unit_cell", "cell_vectors", "lattice_vectors", "latticevectors", "box", "box_vectors", "h0")
"""Names that other programs give the lattice, in any case."""

LATTICES = {*CELLS, "lattice", "pbc"}
"""These and the format's own."""

DIFFERENT = 1000
"""Lattices that are remembered while a file is read."""

ASYMMETRY = 0.1
"""A stress whose halves differ by more than this share of its largest component is refused; less is averaged away."""


@dataclass(frozen=True)
class LabelKeys:
    """Keys to read labels from; None looks for the known names."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None


@dataclass(frozen=True)
class LabelSource:
    """Which key each label was read from (None: not there), and what else in the file was not used.

    ``unused`` are label keys; ``magnetic`` are frames, counted from 0, whose atoms have magnetic moments; ``voigt``
    says whether some stress has six values, which only a convention puts in order; ``notes`` are sentences on what was
    read otherwise than it is written; ``doubled`` are labels that stand under two known keys with different values,
    where the caller named none.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    unused: tuple[str, ...] = ()
    magnetic: tuple[int, ...] = ()
    voigt: bool = False
    notes: tuple[str, ...] = ()
    doubled: tuple[Doubled, ...] = ()

    def text(self) -> str:
        """Return for instance ``energy from 'REF_energy', forces from 'REF_forces', no stress``."""
        pairs = (("energy", self.energy), ("forces", self.forces), ("stress", self.stress))
        return ", ".join(f"{label} from {key!r}" if key else f"no {label}" for label, key in pairs)


def read_frames(
    path: str | Path, keys: LabelKeys = LabelKeys(), labels: Literal["none", "optional", "required"] = "required"
) -> tuple[Frames, LabelSource]:
    """Read an extended XYZ file.

    Args:
        path: the file.
        keys: keys of the labels, where they are not known ones.
        labels: whether energy and forces must be there (``"required"``), are read where all frames have them
            (``"optional"``) or are left alone (``"none"``). A stress is never required; frames may lack it, and
            a single atom its forces, which symmetry fixes.

    Returns:
        the structures in the units of :mod:`distill.base.conventions`, and which keys were used. A stress may be given
        as nine values, as six in Voigt order (xx, yy, zz, yz, xz, xy), or as a virial in eV: stress = -virial / volume.
        ``fixed`` is what the column ``move_mask`` says may not move. ``info`` keeps every other key of the comment
        line; further per-atom columns are not read.

    Raises:
        UserError: naming file, frame and line or key of whatever cannot be used.
    """
    notes: Notes = {}
    return frames_of(list(read_blocks(Path(path), notes)), str(path), keys, labels, notes)


def frames_of(
    blocks: Sequence[Block],
    name: str,
    keys: LabelKeys,
    labels: Literal["none", "optional", "required"],
    notes: Notes,
) -> tuple[Frames, LabelSource]:
    """Return what :func:`read_frames` does of frames that are read; ``name`` is their file, ``notes`` what was noted.

    Raises:
        UserError: as :func:`read_frames`.
    """
    cells, pbc = _cells(blocks)
    columns: dict[str, Any] = {
        "n_atoms": [len(next(iter(b.columns.values()))) for b in blocks],
        "numbers": _all_numbers(blocks, notes),
        "positions": _all_vectors(blocks, "pos"),
        "cells": cells,
        "pbc": pbc,
        "fixed": _fixed(blocks),
    }
    source = LabelSource() if labels == "none" else _source(name, blocks, keys, labels == "required")
    source = replace(source, magnetic=tuple(i for i, block in enumerate(blocks) if _has_moments(block)))
    voigt = any(np.size(block.info.get(source.stress or "", ())) == 6 for block in blocks)
    source = replace(source, voigt=voigt, notes=tuple(notes.values()))
    volumes = np.abs(np.linalg.det(cells))
    for label in NAMES:
        if key := getattr(source, label):
            columns[label] = _values(blocks, label, key, volumes)
    source = _compared(blocks, source, keys, columns, volumes)
    known = {name for label in NAMES for name in _candidates(label)} | {source.energy, source.stress}
    columns["info"] = tuple({k: v for k, v in b.info.items() if k not in known} for b in blocks)
    return Frames(**columns), source


def _candidates(label: str) -> list[str]:
    return [prefix + name for name, prefix in product(NAMES[label], PREFIXES)]


# ── which key ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _source(path: str, blocks: Sequence[Block], keys: LabelKeys, required: bool) -> LabelSource:
    """Choose the key of each label; energy and forces come from one prefix where a prefix has both."""
    per_frame = Counter(key for b in blocks for key in b.info)
    per_atom = Counter(key for b in blocks for key in b.columns)
    present = {"energy": per_frame, "forces": per_atom, "stress": per_frame}
    whole = [p for p in PREFIXES if any(per_frame[p + n] for n in NAMES["energy"]) and per_atom[p + "forces"]]
    chosen: dict[str, str | None] = {}
    for label, found in present.items():
        own = [whole[0] + name for name in NAMES[label]] if whole else []
        asked = getattr(keys, label)
        names = [asked] if asked else [*own, *_candidates(label)]
        key = chosen[label] = next((name for name in names if found[name]), None)
        needed = asked is not None or (required and label != "stress")
        if key is None and needed:
            raise _no_label(path, label, asked, found, per_frame if label == "forces" else per_atom)
        if key is not None and found[key] < len(blocks):
            _refuse_mix(blocks, label, key, [] if asked else names)
    known = [name for label in NAMES for name in _candidates(label)]
    unused = [n for n in known if (per_frame[n] or per_atom[n]) and n not in chosen.values()]
    return LabelSource(chosen["energy"], chosen["forces"], chosen["stress"], unused=tuple(unused))


def _no_label(path: str, label: str, asked: str | None, found: Counter[str], elsewhere: Counter[str]) -> UserError:
    """Say that a label is nowhere in the file, and what is."""
    name = asked or label
    kind = "column of Properties" if label == "forces" else "key in the comment lines"
    what = f"no {label}: no frame has a {kind} {name!r}"
    if not asked:
        what += f" ({', '.join(n for n in _candidates(label) if n != label)} were tried too)"
    if name in elsewhere:
        what += f"; {name!r} stands {'in the comment line' if label == 'forces' else 'among the per-atom columns'}"
    others = sorted(key for key in found if key not in ("species", "pos", "Z", MOVE_MASK))
    hint = nearest(asked, others) if asked and others else f"The file has: {', '.join(others) or 'none'}"
    return UserError(what, f"{path}, key {name!r}", f"Name the right key in the recipe as data.keys.{label}. {hint}")


def _refuse_mix(blocks: Sequence[Block], label: str, key: str, others: Sequence[str]) -> None:
    """Raise for frames without ``key``; a stress may be missing, but not be given under another key."""
    for block in blocks:
        have = block.columns if label == "forces" else block.info
        if key in have:
            continue
        other = next((name for name in others if name in have), None)
        alone = label == "forces" and len(next(iter(block.columns.values()))) == 1
        if other is None and (label == "stress" or alone):
            continue
        what = f"has its {label} as {other!r}, other frames as {key!r}" if other else f"has no {label} as others have"
        remedy = "Write all frames with one key, and only frames of one level of theory"
        missing = "Label the frame, remove it, or write nan for a label that it does not have"
        raise UserError(what, f"{block.where}, key {key!r}", remedy if other else missing)


def _compared(
    blocks: Sequence[Block], source: LabelSource, keys: LabelKeys, columns: Mapping[str, Any], volumes: Array
) -> LabelSource:
    """Return the source with what other known keys say differently; those that say the same need no word.

    A free energy is meant to differ from an energy, and a label whose key the caller names is settled.
    """
    sizes, unused, doubled = np.array(columns["n_atoms"]), list(source.unused), []
    for label, other in product(NAMES, source.unused):
        used = getattr(source, label)
        if used is None or getattr(keys, label) or other not in _candidates(label):
            continue
        if other.endswith("free_energy") != used.endswith("free_energy"):
            continue
        try:
            found = compare(label, used, other, (columns[label], _values(blocks, label, other, volumes)), sizes)
        except UserError:  # what is not used need not be readable
            continue
        if found:
            doubled.append(found)
        else:
            unused.remove(other)
    return replace(source, unused=tuple(unused), doubled=tuple(doubled))


# ── what it holds ────────────────────────────────────────────────────────────────────────────────────────────────────


def _all_numbers(blocks: Sequence[Block], notes: Notes) -> Array:
    """Return atomic numbers of all frames, ``[N]``; the same symbols are looked up once."""
    known: dict[tuple[str, ...], Array] = {}
    numbers = []
    for block in blocks:
        words = tuple(block.columns["species"].tolist()) if "species" in block.columns else ()
        if not words or words not in known:
            known[words] = _numbers(block, notes)
        numbers.append(known[words])
    return np.concatenate(numbers)


def _numbers(block: Block, notes: Notes) -> Array:
    """Return atomic numbers ``[n]`` from the symbols, or from ``Z`` where there are none."""
    if "species" in block.columns:
        key, shown = "species", block.columns["species"]
        numbers = numbers_from_words([str(word) for word in shown], block.where, notes)
    elif "Z" in block.columns and block.columns["Z"].dtype == np.int64:
        key, numbers, shown = "Z", block.columns["Z"], block.columns["Z"]
    else:
        raise UserError("no chemical symbols", f"{block.where}, key 'species'", "Add species:S:1 to Properties")
    bad = np.flatnonzero((numbers < 1) | (numbers > 118))
    if len(bad):
        what, remedy = symbol_fault(str(shown[bad[0]]))
        raise UserError(what, f"{block.where}, line {block.line + 2 + bad[0]}, key {key!r}", remedy)
    return numbers


def _values(blocks: Sequence[Block], label: str, key: str, volumes: Array) -> Any:
    """Return a label of all frames, ``[B]``, ``[N, 3]`` or ``[B, 3, 3]``, NaN where there is none."""
    if label == "energy":
        return np.array([_energy(block, key) for block in blocks])
    if label == "stress":
        return np.array([_stress(b, key, v) for b, v in zip(blocks, volumes, strict=True)])
    return _all_vectors(blocks, key, may_lack=True)


def _all_vectors(blocks: Sequence[Block], key: str, may_lack: bool = False) -> Array:
    """Return a per-atom column of vectors of all frames, ``[N, 3]``; NaN of those without, where a label ``may_lack``.

    All of them are looked at together first: one by one only where something is amiss.
    """
    found = [block.columns[key] for block in blocks if key in block.columns]
    if len(found) == len(blocks) and all(one.dtype == np.float64 and one.shape[1:] == (3,) for one in found):
        vectors: Array = np.concatenate(found)
        if np.isfinite(vectors).all():
            return vectors
    return np.concatenate(
        [
            np.full((len(next(iter(block.columns.values()))), 3), np.nan)
            if may_lack and key not in block.columns
            else _vectors(block, key, may_lack)
            for block in blocks
        ]
    )


def _vectors(block: Block, key: str, may_lack: bool = False) -> Array:
    """Return a per-atom column of vectors ``[n, 3]``, all finite, or NaN too where a label ``may_lack``."""
    where = f"{block.where}, key {key!r}"
    if key not in block.columns:
        raise UserError("no positions", where, f"Add {key}:R:3 to Properties")
    vectors = block.columns[key]
    if vectors.shape != (len(vectors), 3) or vectors.dtype != np.float64:
        kind = "numbers" if vectors.dtype == np.float64 else "other things than real numbers"
        what = f"has shape {vectors.shape} of {kind}, expected ({len(vectors)}, 3)"
        raise UserError(what, where, f"Write {key}:R:3 in Properties")
    bad = np.flatnonzero(~(np.isfinite(vectors) | (may_lack & np.isnan(vectors))).all(axis=1))
    if len(bad):
        raise _not_finite(vectors[bad[0]], f"{block.where}, line {block.line + 2 + bad[0]}, key {key!r}")
    return vectors


def _fixed(blocks: Sequence[Block]) -> Array | None:
    """Return which components are fixed ``[N, 3]``, False for frames that do not say; None where none is in any frame.

    As in ASE's files, ``move_mask`` is true for what is free, with one column for atoms or three for components.
    """
    if not any(MOVE_MASK in block.columns for block in blocks):
        return None
    pieces = []
    for block in blocks:
        n = len(next(iter(block.columns.values())))
        free = block.columns.get(MOVE_MASK, np.ones(n, dtype=np.bool_))
        if free.dtype != np.bool_ or free.shape not in ((n,), (n, 3)):
            raise UserError(
                "should be one or three columns of T (free to move) and F (fixed)",
                f"{block.where}, key {MOVE_MASK!r}",
                f"Write {MOVE_MASK}:L:1 or {MOVE_MASK}:L:3 in Properties",
            )
        pieces.append(np.broadcast_to(~free.reshape(n, -1), (n, 3)))
    fixed = np.concatenate(pieces)
    return fixed if fixed.any() else None


def _not_finite(values: Iterable[float], where: str) -> UserError:
    shown = " ".join(f"{v:g}" for v in np.ravel(np.array(values)))
    return UserError(f"not finite: {shown}", where, "Remove the frame or label it again")


def _floats(block: Block, key: str, sizes: tuple[int, ...], may_lack: bool = False) -> Array:
    """Return a value of the comment line as finite floats, or NaN too, whose number is one of ``sizes``."""
    where = f"{block.where}, key {key!r}"
    value = block.info[key]
    words = re.findall(r"[^\s,]+", value) if isinstance(value, str) else []
    try:
        array = np.array([real(word) for word in words] if words else value, dtype=np.float64).ravel()
    except (ValueError, TypeError):
        array = np.zeros(0)
    if isinstance(value, bool) or value == "" or array.size not in sizes:
        counts = " or ".join(map(str, sizes)) + (" number" if sizes == (1,) else " numbers")
        commas = array.size and array.size in [2 * size for size in sizes] and array.size not in sizes
        remedy = advice("0,0") if commas else advice(words[0]) if words else None
        raise UserError(f"{str(value)[:60]!r} should be {counts}", where, remedy)
    if not (np.isfinite(array) | (may_lack & np.isnan(array))).all():
        raise _not_finite(array, where)
    return array


def _cells(blocks: Sequence[Block]) -> tuple[Array, Array]:
    """Return lattices ``[B, 3, 3]`` and periodic directions ``[B, 3]``; the same are looked at once."""
    known: dict[str, tuple[Array, Array]] = {}
    cells, pbc = np.zeros((len(blocks), 3, 3)), np.zeros((len(blocks), 3), dtype=np.bool_)
    for i, block in enumerate(blocks):
        named = [(name.lower(), value) for name, value in block.info.items() if name.lower() in LATTICES]
        same = repr(named)
        if same not in known:
            if len(known) >= DIFFERENT:
                known.clear()
            known[same] = _cell(block)
        else:
            cell_and_pbc(block)  # takes them out
        cells[i], pbc[i] = known[same]
    return cells, pbc


def _cell(block: Block) -> tuple[Array, Array]:
    """Return lattice vectors as rows ``[3, 3]`` and periodic directions ``[3]``; a lattice alone means periodic."""
    lattice, pbc = cell_and_pbc(block)
    cell = np.zeros((3, 3))
    if lattice is None:
        _refuse_other_cell(block)
    else:
        cell = _floats(Block(block.where, block.line, {"Lattice": lattice}, {}), "Lattice", (9,)).reshape(3, 3)
    pbc = [lattice is not None] * 3 if pbc is None else np.atleast_1d(np.array(pbc, dtype=object))
    flags = np.array([p in (True, 1) for p in pbc])
    if len(flags) not in (1, 3) or not all(p in (True, False, 0, 1) for p in pbc):
        raise UserError('should be three of T and F, as pbc="T T F"', f"{block.where}, key 'pbc'")
    flags = np.broadcast_to(flags, 3)
    vectors = cell[flags]
    if flags.any() and np.linalg.matrix_rank(vectors, tol=1e-3) < flags.sum():
        raise UserError(
            "is periodic along lattice vectors that are zero or not independent",
            f"{block.where}, key 'Lattice'",
            'Give the lattice, or write pbc="F F F" for a molecule',
        )
    return cell, flags


def _refuse_other_cell(block: Block) -> None:
    """Raise for a frame whose lattice is under a name that is not the format's: it would be read as a molecule."""
    for key, value in block.info.items():
        if key.lower() not in CELLS or isinstance(value, bool | str) or np.size(np.array(value, dtype=object)) < 3:
            continue
        what = f"has no Lattice but a key {key!r}, which extended XYZ does not know"
        remedy = "Write the three lattice vectors, nine numbers in Å, as Lattice, or remove the key if it is a molecule"
        raise UserError(what, f"{block.where}, key {key!r}", remedy)


def _has_moments(block: Block) -> bool:
    """Return whether a per-atom column holds magnetic moments that are not zero (0.1 Bohr magnetons)."""
    columns = (block.columns[name] for name in block.columns if name.lower() in MOMENTS)
    return any(c.dtype in (np.float64, np.int64) and bool((np.abs(c) > 0.1).any()) for c in columns)


def _energy(block: Block, key: str) -> float:
    """Return the energy in eV, NaN where the frame has none."""
    value = block.info.get(key)
    if isinstance(value, float) and math.isfinite(value):
        return value
    return float(_floats(block, key, (1,), may_lack=True)[0]) if key in block.info else np.nan


def _stress(block: Block, key: str, volume: float) -> Array:
    """Return the stress ``[3, 3]`` in eV/Å³, NaN where the frame has none."""
    if key not in block.info:
        return np.full((3, 3), np.nan)
    where = f"{block.where}, key {key!r}"
    values = _floats(block, key, (6, 9), may_lack=True)
    if np.isnan(values).any() or (volume <= 0 and not values.any()):  # a molecule has none, which some codes write as 0
        return np.full((3, 3), np.nan)
    full = values.reshape(3, 3) if values.size == 9 else values[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    if np.abs(full - full.T).max() > ASYMMETRY * np.abs(full).max():
        raise UserError("is not symmetric", where, "A stress is symmetric: xx xy xz yx yy yz zx zy zz")
    if volume <= 0:
        what = "is given for a structure without a cell"
        raise UserError(what, where, 'Add Lattice="..." if it is periodic; else remove it: a molecule has no stress')
    symmetric = (full + full.T) / 2
    return -symmetric / volume if "virial" in key.lower() else symmetric

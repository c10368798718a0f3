"""Find structures that are the same, or nearly, in time that does not grow with the cost of comparing atoms.

The moduli of a few structure factors do not change when atoms are wrapped, moved together or reordered, and change
little when atoms move little: they select the candidates (one matrix product), which are then compared atom by atom.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.guard import refuse_unphysical
from distill.structures.periodic import whole_cells

SAME = 1e-3
"""Structures whose atoms differ by less than this (root mean square, Å) are the same one, rounded."""

NEAR = 0.05
"""Structures that differ by less than this (Å) teach next to nothing new; thermal motion at 300 K is 0.1-0.3."""

_CELL = 0.01
"""Largest relative difference of the lattice's metric: 0.5 % of strain."""

_BOX = 20.0
"""Period, in Å, along directions that are not periodic."""

WHOLE = 5000
"""Structures of one composition up to which all are compared with all: 12 million pairs."""

_CHUNK = 512
_ATOMS = 50_000
"""Atoms of the structures that are worked on together."""
_ENTRIES = 4_000_000
"""Pairs whose fingerprints are compared together: 32 MB."""
_DIRECTIONS = 5
"""Main directions of the fingerprints in which the nearest are searched; in more of them a tree gains nothing."""
_WAVES = np.array([k for k in product((-2, -1, 0, 1, 2), repeat=3) if k > (0, 0, 0)])  # [62, 3], one of k and -k


def close_pairs(frames: Frames, threshold: float = NEAR, nearest: int | None = None) -> tuple[Array, Array]:
    """Return pairs of structures ``[P, 2]`` (first index smaller) that are close, and their distances ``[P]`` in Å.

    The distance is the root mean square displacement of the atoms by minimum image, with a common translation taken out
    and a strain of the cell of up to 0.5 % undone. Found are pairs with the same order of atoms below ``threshold``,
    and below :data:`SAME` also with another order, wrapped, or rotated together with the cell. The same crystal
    in another choice of cell, and a rotated molecule, are not found.

    Args:
        frames: the structures.
        threshold: Å.
        nearest: where there are more than :data:`WHOLE` structures of one composition, each is compared with so many
            that are likest to it by their fingerprints; None compares all with all.

    Raises:
        UnphysicalStructure: positions or a cell are not finite, or a cell is degenerate.
    """
    refuse_unphysical(frames)
    cells = _cells(frames)
    fractional = np.einsum("ni,nij->nj", frames.positions, np.linalg.inv(cells)[frames.structure_of_atom])
    offsets = frames.offsets
    pieces: list[tuple[Array, Array]] = []
    for members in _by_composition(frames):
        parts = [fractional[offsets[i] : offsets[i + 1]] for i in members]
        numbers = np.array([frames.numbers[offsets[i] : offsets[i + 1]] for i in members])
        pairs, distances = _close_in_group(np.array(parts), numbers, cells[members], threshold, nearest)
        pieces.append((members[pairs], distances))
    pairs = np.concatenate([p for p, _ in pieces]) if pieces else np.zeros((0, 2), dtype=np.int64)
    distances = np.concatenate([d for _, d in pieces]) if pieces else np.zeros(0)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], distances[order]


def displacements(frames: Frames, rows: Array, columns: Array) -> Array:
    """Return the distance in Å, as :func:`close_pairs` has it, of structures ``rows`` to ``columns``: ``[R, C]``.

    All of them must have the same atoms in the same order.
    """
    cells, atoms = _cells(frames), frames.n_atoms[rows[0]]
    fractional = [
        (frames.positions[frames.atom_indices(i)].reshape(len(i), atoms, 3) @ np.linalg.inv(cells[i]))
        for i in (rows, columns)
    ]
    result = np.empty((len(rows), len(columns)))
    for k, row in enumerate(rows):
        result[k] = _rms(_shift(fractional[0][k], fractional[1]), (cells[row] + cells[columns]) / 2)
    return result


def close_cells(frames: Frames, rows: Array, columns: Array) -> Array:
    """Return whether cells of structures ``rows`` and ``columns`` differ by less than 0.5 % of strain, ``[R, C]``."""
    metric, scale = _metric(_cells(frames))
    return np.asarray(np.abs(metric[rows][:, None] - metric[columns][None]).max(axis=2) < _CELL * scale[rows][:, None])


def _cells(frames: Frames) -> Array:
    """Return cells ``[B, 3, 3]`` whose vectors along directions without a period are orthogonal to the others."""
    return whole_cells(frames.cells, frames.pbc) * np.where(frames.pbc, 1.0, _BOX)[:, :, None]


def _by_composition(frames: Frames) -> list[Array]:
    """Return the indices of structures that have the same atoms, in whatever order, for each composition."""
    offsets = frames.offsets
    groups: dict[bytes, list[int]] = {}
    for i in range(len(frames)):
        groups.setdefault(np.sort(frames.numbers[offsets[i] : offsets[i + 1]]).tobytes(), []).append(i)
    return [np.array(members) for members in groups.values() if len(members) > 1]


def _close_in_group(
    fractional: Array, numbers: Array, cells: Array, threshold: float, nearest: int | None
) -> tuple[Array, Array]:
    """Return close pairs among ``M`` structures of one composition: fractional ``[M, n, 3]``, numbers ``[M, n]``."""
    prints = _fingerprints(fractional, numbers, cells)  # (M, K)
    metric, scale = _metric(cells)
    found: list[tuple[Array, Array]] = []
    reach = np.sqrt(prints.shape[1]) * threshold
    for i, j in _likest(prints, reach, nearest) if nearest and len(prints) > WHOLE else _alike(prints, reach):
        keep = np.abs(metric[i] - metric[j]).max(axis=1) < _CELL * scale[i]
        i, j = i[keep], j[keep]
        most = max(_CHUNK, _ATOMS // numbers.shape[1])
        for part in range(0, len(i), most):
            pick = slice(part, part + most)
            found.append(_compare(fractional, numbers, cells, prints, i[pick], j[pick], threshold))
    if not found:
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    return np.concatenate([p for p, _ in found]), np.concatenate([d for _, d in found])


def _alike(prints: Array, reach: float) -> Iterator[tuple[Array, Array]]:
    """Yield pairs ``i < j`` of structures whose fingerprints differ by less than ``reach``."""
    squares = (prints**2).sum(axis=1)
    most = max(1, min(_CHUNK, _ENTRIES // len(prints)))
    for start in range(0, len(prints), most):
        rows = slice(start, start + most)
        gram = squares[rows, None] + squares[None] - 2 * prints[rows] @ prints.T
        i, j = np.nonzero(gram < reach**2)
        yield (i + start)[j > i + start], j[j > i + start]


def _likest(prints: Array, reach: float, nearest: int) -> Iterator[tuple[Array, Array]]:
    """Yield pairs ``i < j`` of structures, each with those that are nearest to it in the main directions of all."""
    from scipy.spatial import cKDTree

    centred = prints - prints.mean(axis=0)
    main = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -_DIRECTIONS:]  # (M, _DIRECTIONS): no longer than prints
    _, others = cKDTree(main).query(main, nearest + 1, distance_upper_bound=reach)
    i, k = np.nonzero(others < len(prints))
    j = others[i, k]
    pairs = np.unique(np.sort(np.stack([i, j], axis=1)[i != j], axis=1), axis=0)
    for start in range(0, len(pairs), _ATOMS):
        i, j = pairs[start : start + _ATOMS].T
        near = np.linalg.norm(prints[i] - prints[j], axis=1) < reach
        yield i[near], j[near]


def _metric(cells: Array) -> tuple[Array, Array]:
    """Return the scalar products of the lattice vectors ``[M, 9]`` and the largest of each cell ``[M]``."""
    metric = np.einsum("mij,mkj->mik", cells, cells).reshape(-1, 9)
    return metric, np.abs(metric).max(axis=1)


def _fingerprints(fractional: Array, numbers: Array, cells: Array) -> Array:
    """Return ``|sum_j w_j exp(i q·r_j)| / (sqrt(n) |q|)`` for 62 reciprocal vectors ``q``: ``[M, 62]`` in Å.

    The change of such a number is at most of the order of the atoms' displacement. Weights ``w`` grow with the atomic
    number, so that exchanged elements are told apart.
    """
    weights = np.sqrt(numbers / numbers[0].mean())
    prints = np.empty((len(fractional), len(_WAVES)))
    most = max(_CHUNK, _ATOMS // numbers.shape[1])
    for start in range(0, len(fractional), most):
        rows = slice(start, start + most)
        first = np.exp(2j * np.pi * fractional[rows])  # (m, n, 3)
        powers = np.stack([first**p for p in (-2, -1, 0, 1, 2)])  # (5, m, n, 3)
        for k, wave in enumerate(_WAVES + 2):
            phases = powers[wave[0], ..., 0] * powers[wave[1], ..., 1] * powers[wave[2], ..., 2]
            prints[rows, k] = np.abs((weights[rows] * phases).sum(axis=1))
        waves = np.einsum("mij,kj->mki", np.linalg.inv(cells[rows]), _WAVES)
        prints[rows] /= np.sqrt(numbers.shape[1]) * 2 * np.pi * np.linalg.norm(waves, axis=2)  # (m, K) 1/Å
    return prints


def _compare(
    fractional: Array, numbers: Array, cells: Array, prints: Array, i: Array, j: Array, threshold: float
) -> tuple[Array, Array]:
    """Return those of the pairs ``(i, j)`` that are close, and their distances."""
    distances = _rms(_shift(fractional[i], fractional[j]), (cells[i] + cells[j]) / 2)
    distances[(numbers[i] != numbers[j]).any(axis=1)] = np.inf
    far = np.flatnonzero(distances >= threshold)
    alike = far[np.abs(prints[i[far]] - prints[j[far]]).max(axis=1, initial=0.0) < 4 * SAME]
    most = max(1, _ATOMS // numbers.shape[1] ** 2)
    for start in range(0, len(alike), most):
        p = alike[start : start + most]
        distances[p] = _reordered(fractional[i[p]], numbers[i[p]], fractional[j[p]], numbers[j[p]], cells[i[p]])
    close = distances < threshold
    return np.stack([i[close], j[close]], axis=1), distances[close]


def _shift(a: Array, b: Array) -> Array:
    """Return the fractional shifts of the atoms from ``b`` to ``a`` by minimum image, ``[P, n, 3]``."""
    shift = a - b
    shift -= shift[:, :1]  # against the first atom, which undoes a common translation before periods are removed
    shift -= np.round(shift)
    return np.asarray(shift)


def _rms(shift: Array, cells: Array) -> Array:
    """Return root mean square lengths in Å of fractional shifts ``[P, n, 3]``, their mean taken out."""
    vectors = shift @ cells
    mean = np.einsum("pnx->px", vectors) / vectors.shape[1]
    squares = np.einsum("pnx,pnx->p", vectors, vectors) / vectors.shape[1] - (mean**2).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0))


def _reordered(a: Array, numbers_a: Array, b: Array, numbers_b: Array, cells: Array) -> Array:
    """Return the distances ``[P]`` of pairs of structures whose atoms stand in different orders; infinite of others.

    Each atom of the rarest element is tried as the image of the first; then every atom must lie on one of its element.
    """
    n, found = numbers_a.shape[1], np.full(len(a), np.inf)
    kinds, counts = np.unique(numbers_a[0], return_counts=True)
    rarest = kinds[np.argmin(counts)]
    anchors = np.take_along_axis(a, np.argmax(numbers_a == rarest, axis=1)[:, None, None], axis=1)
    candidates = np.nonzero(numbers_b == rarest)[1].reshape(len(b), -1)
    for candidate in candidates.T:
        rest = np.flatnonzero(np.isinf(found))
        images = b[rest, candidate[rest]][:, None]
        shift = (a - anchors)[rest][:, :, None] - (b[rest] - images)[:, None]  # (p, n, n, 3)
        shift -= np.round(shift)
        lengths = np.linalg.norm(shift @ cells[rest][:, None], axis=3)
        lengths[numbers_a[rest][:, :, None] != numbers_b[rest][:, None]] = np.inf
        partner = lengths.argmin(axis=2)
        fits = (np.sort(partner, axis=1) == np.arange(n)).all(axis=1) & (lengths.min(axis=2).max(axis=1) < 10 * SAME)
        rms = _rms(np.take_along_axis(shift, partner[:, :, None, None], axis=2)[:, :, 0], cells[rest])
        same = fits & (rms < SAME)
        found[rest[same]] = rms[same]
    return found

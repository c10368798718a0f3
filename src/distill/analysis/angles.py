"""Distributions of bond angles, which tell networks apart whose distances are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.analysis.bonds import within
from distill.analysis.elements import of_element
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames


@dataclass(frozen=True)
class BondAngles:
    """A distribution of bond angles in ``A`` bins from 0 to 180°, over all frames.

    Attributes:
        angle: middle of each bin, ``[A]`` degrees.
        values: probability density, ``[A]`` 1/degree; its integral is 1. Directions without order have
            sin(angle) / 2 a radian.
        mean: mean angle, degrees.
        deviation: standard deviation of the angles, degrees.
        per_centre: angles for each atom in the centre.
    """

    angle: Array
    values: Array
    mean: float
    deviation: float
    per_centre: float


def bond_angles(
    frames: Frames,
    first: str | None = None,
    centre: str | None = None,
    second: str | None = None,
    *,
    radius: float | tuple[float, float],
    width: float = 1.0,
) -> BondAngles:
    """Return the distribution of angles between bonds that an atom has with one of ``first`` and one of ``second``.

    Every pair of bonds counts once; periodic images count as atoms.

    Args:
        frames: the structures.
        first: element at the end of one bond; None: all atoms.
        centre: element of the atom that has both bonds; None: all atoms.
        second: element at the end of the other bond; None: all atoms.
        radius: up to which distance atoms are bonded, Å; or one for ``first`` and one for ``second``.
        width: of a bin, degrees; it is rounded so that bins divide 180°.

    Raises:
        UserError: an element is missing, the radius or the width is out of range, or no atom has two such bonds.
    """
    radii = (radius, radius) if isinstance(radius, int | float) else radius
    if not (min(radii) > 0 and max(radii) < np.inf and 0 < width <= 180):
        raise UserError(f"angles need positive radii and bins of at most 180°, and have {radii} Å and {width:g}°")
    middle, ends = of_element(frames, centre), (of_element(frames, first), of_element(frames, second))
    used = middle | ends[0] | ends[1]
    found = []
    for k in range(len(frames)):
        atoms = slice(frames.offsets[k], frames.offsets[k + 1])
        here = used[atoms]
        found.append(_angles(frames[k], here, middle[atoms][here], [end[atoms][here] for end in ends], radii))
    angles = np.concatenate(found)
    if not len(angles):
        raise UserError(f"no {centre or 'atom'} has two neighbours within {max(radii):g} Å", remedy="Raise the radius")
    edges = np.linspace(0, 180, max(1, round(180 / width)) + 1)
    counts = np.histogram(angles, edges)[0]
    density = counts / (len(angles) * np.diff(edges))
    mean, deviation = float(angles.mean()), float(angles.std())
    return BondAngles((edges[1:] + edges[:-1]) / 2, density, mean, deviation, len(angles) / float(middle.sum()))


def _angles(frame: Frames, used: Array, middle: Array, ends: list[Array], radii: tuple[float, float]) -> Array:
    """Return the angles of one structure, degrees."""
    bonds = within(frame, used, max(radii))
    bonds = bonds.select(middle[bonds.i])
    lengths = bonds.lengths
    as_first, as_second = (end[bonds.j] & (lengths <= radius) for end, radius in zip(ends, radii, strict=True))
    p, q = bonds.followers()
    wanted = (as_first[p] & as_second[q]) | (as_second[p] & as_first[q])
    directions = bonds.vectors / lengths[:, None]
    cosines = np.einsum("pk,pk->p", directions[p[wanted]], directions[q[wanted]])
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1, 1))))

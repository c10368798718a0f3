"""Two sources of one label in a file: whether they say the same, and which of them is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import Finding

SAME: Mapping[str, float] = {"energy": 1e-3, "forces": 1e-3, "stress": 1e-4}
"""eV, eV/Å, eV/Å³: two sources that differ by less are one, written with other decimals."""
UNITS: Mapping[str, str] = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}


@dataclass(frozen=True)
class Doubled:
    """A label that a file has under two keys, with different values.

    Attributes:
        label: ``energy``, ``forces`` or ``stress``.
        used: the key that is read.
        other: the key that is passed over.
        largest: the largest difference, in eV/atom, eV/Å (a component) or eV/Å³.
        typical: its root mean square over what both have.
        frames: frames in which they differ, counted from 0.
    """

    label: str
    used: str
    other: str
    largest: float
    typical: float
    frames: tuple[int, ...]

    def finding(self, name: str) -> Finding:
        """Return what the user should know of it; ``name`` is the file."""
        what = (
            f"{self.used!r} and {self.other!r} are both there and differ, by up to {self.largest:.3g} "
            f"{UNITS[self.label]} ({self.typical:.3g} root mean square): {self.used!r} is used"
        )
        remedy = f"Say which is meant: data.keys.{self.label}: {self.used} (or {self.other}); --key in distill evaluate"
        return Finding("warning", "two-sources", what, name, remedy, self.frames)


def compare(label: str, used: str, other: str, values: tuple[Array, Array], sizes: Array) -> Doubled | None:
    """Return how two sources of a label differ, or None where they are the same wherever both are given.

    Args:
        label: ``energy``, ``forces`` or ``stress``.
        used: key of the first. other: of the second.
        values: of both, in our units and shapes, NaN where there is none.
        sizes: atoms of each frame, ``[B]``.
    """
    frame_of = np.repeat(np.arange(len(sizes)), sizes if label == "forces" else 1)
    difference = np.abs(values[0] - values[1]).reshape(len(frame_of), -1)
    apart = np.nan_to_num(difference) > SAME[label]
    if not apart.any():
        return None
    if label == "energy":
        difference = difference / sizes[frame_of][:, None]
    frames = np.unique(frame_of[apart.any(axis=1)])
    return Doubled(
        label,
        used,
        other,
        float(np.nanmax(difference)),
        float(np.sqrt(np.nanmean(difference**2))),
        tuple(frames.tolist()),
    )


def findings_of(doubled: tuple[Doubled, ...], name: str) -> Iterator[Finding]:
    """Yield a finding for each label with two sources."""
    return (one.finding(name) for one in doubled)

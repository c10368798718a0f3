"""In which order six values of a stress are: programs differ in shear, and no file says which it means.

The correlation of the shear components alone tells, since pressure, which dominates a stress, is the same in all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.frames import Frames

ORDERS = {
    "xx yy zz xy yz zx (VASP's OUTCAR)": "xx yy zz xy yz xz",
    "xx yy zz xy xz yz (LAMMPS)": "xx yy zz xy xz yz",
    "xx xy xz yy yz zz (upper triangle by rows)": "xx xy xz yy yz zz",
    "xx xy yy xz yz zz (lower triangle by rows)": "xx xy yy xz yz zz",
}
"""Orders other than Voigt's, as they are named and component by component."""
VOIGT = "xx yy zz yz xz xy"
_PAIRS = [(name[0], name[1]) for name in VOIGT.split()]

CLEAR = 0.8
"""Correlation of shear above which an order fits; CHGNet has 0.82 to 0.88 for silicon."""
APART = 0.2
"""Difference of two correlations above which one order fits better than the other."""
VALUES = 9
"""Shear components; fewer say nothing: of 9 values two random orders correlate by 0.8 once in 100."""
LEAST_SHEAR = 0.001
"""eV/Å³, root mean square: 0.16 GPa. Smaller shear is as large as the teacher's errors."""

_UNTOLD = "six values of a stress are read as xx yy zz yz xz xy (Voigt's order, as in ASE)"
_REMEDY = "Check the program's order: VASP's OUTCAR has xx yy zz xy yz zx, LAMMPS xx yy zz xy xz yz"


def check_order(data: FileFrames, predicted: Frames | None, teacher: str) -> tuple[list[Finding], FileFrames]:
    """Find the order of six stress values that fits the predictions.

    Args:
        data: structures whose stresses were read from six values in Voigt's order.
        predicted: the same structures with predictions; None where there are none.
        teacher: who predicts.

    Returns:
        an error that names an order that fits better, or an info where none can be told; and the structures, with
        stresses in the order that fits.
    """
    labels = data.frames.stress
    theirs = None if predicted is None else predicted.stress
    untold = [data.finding("info", "stress-order", _UNTOLD, _REMEDY)]
    if labels is None or theirs is None:
        return untold, data
    used = np.isfinite(labels).all(axis=(1, 2)) & np.isfinite(theirs).all(axis=(1, 2))
    own, shear = labels[used], _shear(theirs[used])
    if shear.size < VALUES or np.sqrt((shear**2).mean()) < LEAST_SHEAR:
        return untold, data
    voigt = _correlation(_shear(own), shear)
    fits = {name: _correlation(_shear(reordered(own, order)), shear) for name, order in ORDERS.items()}
    name = max(fits, key=lambda one: fits[one])
    if voigt >= fits[name] + APART and voigt >= CLEAR - APART:
        return [], data
    if fits[name] < CLEAR or fits[name] < voigt + APART:
        return untold, data
    what = (
        f"the six values of a stress are in the order {name}: so read, shear correlates {fits[name]:.2f} with "
        f"{teacher}, as xx yy zz yz xz xy {voigt:.2f}"
    )
    remedy = "Write them as xx yy zz yz xz xy, or all nine components"
    fitting = replace(data.frames, stress=reordered(labels, ORDERS[name]))
    return [data.finding("error", "stress-order", what, remedy)], replace(data, frames=fitting)


def reordered(stress: Array, order: str) -> Array:
    """Return stresses ``[B, 3, 3]`` that were read in Voigt's order as they are in another: ``xx yy ...``."""
    read = [stress[:, "xyz".index(a), "xyz".index(b)] for a, b in _PAIRS]
    names = order.split()
    tensor = np.empty_like(stress)
    for a in "xyz":
        for b in "xyz":
            tensor[:, "xyz".index(a), "xyz".index(b)] = read[names.index("".join(sorted(a + b)))]
    return tensor


def _shear(stress: Array) -> Array:
    """Return yz, xz and xy of each stress, ``[B, 3]``."""
    return np.asarray(stress[:, [1, 0, 0], [2, 2, 1]])


def _correlation(one: Array, other: Array) -> float:
    """Return the cosine between two arrays without its sign, which conventions differ in."""
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return abs(float((one * other).sum())) / norm if norm > 0 else 0.0

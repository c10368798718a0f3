"""Checks for what the potentials do not see: a charge, a spin. The keys of the comment line tell.

A potential that is given positions and elements alone predicts one energy for a neutral and a charged system.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding

CHARGES = ("charge", "total_charge", "net_charge")
MULTIPLICITIES = ("multiplicity", "spin_multiplicity")
MOMENTS = ("magmom", "magmoms", "total_magmom", "initial_magmoms", "magnetic_moment", "total_magnetization", "nupdown")
SMALL = 0.1
"""Elementary charges, or Bohr magnetons; less is rounding."""


def check_systems(data: FileFrames, magnetic: Collection[int] = ()) -> Iterator[Finding]:
    """Charged and magnetic systems; ``magnetic`` are places in the file of structures with moments of atoms."""
    moments = np.isin(data.place(np.arange(len(data.frames))), list(magnetic))
    for kind, name, amount in (("charged", "charge", _charge), ("magnetic", "spin", _spin)):
        values = np.array([amount(_lower(info)) if info else 0.0 for info in data.frames.info])
        if kind == "magnetic":
            values = np.where((values == 0) & moments, 1.0, values)
        chosen = np.abs(values) > SMALL
        if chosen.any():
            yield data.finding("warning", kind, _what(name, values, chosen), _remedy(values), chosen)


def _what(name: str, values: Array, chosen: Array) -> str:
    if np.ptp(values) < SMALL:
        return f"all systems have a {name}, which the teacher does not see"
    return f"{chosen.sum()} of {len(values)} systems have a {name}, which differs and which the teacher does not see"


def _remedy(values: Array) -> str:
    if np.ptp(values) < SMALL:
        return "Right if only such systems are simulated: the potential learns them from their labels alone"
    return "Keep systems of one charge and spin state, or train one potential for each"


def _lower(info: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in info.items()}


def _charge(info: Mapping[str, Any]) -> float:
    return _first(info, CHARGES, float)


def _spin(info: Mapping[str, Any]) -> float:
    """Return a number that is zero without a magnetic moment.

    ``spin`` stands for the multiplicity in some data sets (1 without moment), for the number of unpaired electrons in
    others: only what is magnetic in both counts.
    """
    if excess := _first(info, MULTIPLICITIES, lambda value: value - 1):
        return excess
    if moment := _first(info, MOMENTS, float):
        return moment
    spin = _first(info, ("spin",), float)
    return spin if abs(spin) > 1 else 0.0


def _first(info: Mapping[str, Any], names: tuple[str, ...], convert: Callable[[float], float]) -> float:
    """Return the largest absolute number of the first of the keys that has numbers; 0 without any."""
    for name in names:
        value = info.get(name)
        if isinstance(value, bool | str) or value is None:
            continue
        try:
            numbers = np.array(value, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            continue
        if numbers.size and np.isfinite(numbers).all():
            return convert(float(numbers[np.argmax(np.abs(numbers))]))
    return 0.0

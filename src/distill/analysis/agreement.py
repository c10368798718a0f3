"""What a certificate comes to, in a few rows: how far another program is from this one, beside what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAILED = "FAILED"
"""The outcome where a difference is above its limit."""
FRAME = "frame: "
"""What the names of checks begin with that compare one structure."""

NAMES = {
    "energy_ev_per_atom": "energy (eV/atom)",
    "forces_ev_per_angstrom": "forces (eV/Å)",
    "stress_ev_per_cubic_angstrom": "stress (eV/Å³)",
}
"""Quantities of a certificate in words."""


@dataclass(frozen=True)
class Agreement:
    """One quantity, or one check, of a certificate.

    Attributes:
        what: was compared.
        difference: the one that is nearest to its limit; None where there is no number.
        limit: of that.
        outcome: ``passed``, :data:`FAILED`, or why it was not run.
    """

    what: str
    difference: float | None
    limit: float | None
    outcome: str


def agreements(checks: Mapping[str, Mapping[str, Any]]) -> list[Agreement]:
    """Return the checks of a certificate, those of structures together by quantity.

    Args:
        checks: as ``certificate.json`` has them: each with ``passed``, and for each quantity ``difference`` and
            ``limit``.
    """
    quantities: dict[str, list[Mapping[str, float]]] = {}
    others = []
    for name, check in checks.items():
        numbers = {key: value for key, value in check.items() if isinstance(value, Mapping)}
        if name.startswith(FRAME):
            for key, value in numbers.items():
                quantities.setdefault(key, []).append(value)
        else:
            others.append(_agreement(name, list(numbers.values()), check.get("verdict", "not run")))
    count = sum(name.startswith(FRAME) for name in checks)
    return [
        *(_agreement(f"{NAMES.get(key, key)}, {count} structures", found) for key, found in quantities.items()),
        *others,
    ]


def _agreement(what: str, numbers: Sequence[Mapping[str, float]], otherwise: str = "") -> Agreement:
    if not numbers:
        return Agreement(what, None, None, otherwise)
    worst = max(numbers, key=lambda one: one["difference"] / one["limit"])
    passed = all(one["difference"] <= one["limit"] for one in numbers)
    return Agreement(what, worst["difference"], worst["limit"], "passed" if passed else FAILED)

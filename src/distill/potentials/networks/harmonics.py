"""Real spherical harmonics up to l = 3, as polynomials of a unit vector.

They are normalised "by component": Σ_m Y_lm(u) Y_lm(v) = (2l + 1) P_l(u · v), with Legendre's P_l. The order within
each l is that of e3nn, whose polar axis is y.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DEGREES = (0, 1, 2, 3)
COMPONENTS = 16


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Return Y_lm of unit vectors ``(M, 3)``: ``(M, 16)``, one of l = 0, three of l = 1, five, seven."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    ring = 4 * yy - xx - zz
    return torch.stack(
        [
            torch.ones_like(x),
            math.sqrt(3) * x,
            math.sqrt(3) * y,
            math.sqrt(3) * z,
            math.sqrt(15) * x * z,
            math.sqrt(15) * x * y,
            math.sqrt(5) * (yy - (xx + zz) / 2),
            math.sqrt(15) * y * z,
            math.sqrt(15) / 2 * (zz - xx),
            math.sqrt(35 / 8) * x * (3 * zz - xx),
            math.sqrt(105) * x * y * z,
            math.sqrt(21 / 8) * x * ring,
            math.sqrt(7) / 2 * y * (2 * yy - 3 * (xx + zz)),
            math.sqrt(21 / 8) * z * ring,
            math.sqrt(105) / 2 * y * (zz - xx),
            math.sqrt(35 / 8) * z * (zz - 3 * xx),
        ],
        dim=-1,
    )

"""How large an atomic cluster expansion is, and the same in the words of pacemaker's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.potentials.settings import OfElements, PotentialSettings

EMBEDDINGS = {"linear": [(1.0, 1.0)], "finnis-sinclair": [(1.0, 1.0), (1.0, 0.5)]}
"""Factor and exponent of each density, by the name of the embedding."""

PUBLISHED = [(1.0, 1.0), (1.0, 0.5), (1.0, 0.75), (1.0, 0.25)]
"""The first four of the six terms of the embedding ``published``."""

REFUSED = ("filename", "initial_potential", "elements")
"""Parts of pacemaker's ``potential`` section that are files, or that are known here."""


Orders = Annotated[tuple[int, ...], Field(strict=False)]
Pair = Annotated[tuple[float, float], Field(strict=False)]
Densities = Annotated[tuple[Pair, ...], Field(strict=False)]
"""Lists of a recipe or a JSON file are tuples here."""


class Radial(PotentialSettings):
    """The radial functions."""

    basis: Literal["SBessel", "ChebExpCos", "ChebPow"] = "SBessel"
    """Simplified spherical Bessel functions, or Chebyshev polynomials of the scaled distance."""
    parameter: float = Field(5.25, gt=0)
    """λ of the scaling of the distance in ChebExpCos and ChebPow; SBessel has none."""
    functions: int | None = Field(None, ge=1)
    """How many; as many as nradmax has for pairs if null."""
    dcut: float = Field(0.01, gt=0)
    """Width over which they end at the cutoff, Å."""


class ACESettings(OfElements):
    """Settings of ACE; order 1 is pairs, order 2 triplets, and so on."""

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"functions": 100, "nradmax": (10, 4, 3), "lmax": (0, 2, 2)},
        "large": {"functions": 700, "nradmax": (20, 8, 5, 4, 2), "lmax": (0, 4, 3, 2, 1)},
    }

    functions: int = Field(default=300, ge=1)
    """Functions per element at most; those of lowest order and degree are taken."""
    nradmax: Orders = (15, 6, 4, 3)
    """Radial functions, by order."""
    lmax: Orders = (0, 3, 2, 1)
    """Highest degree of the spherical harmonics, by order."""
    radial: Radial = Radial()
    """The radial functions."""
    embedding: Literal["linear", "finnis-sinclair", "published"] | Densities = "finnis-sinclair"
    """How densities give the energy: linear (one); finnis-sinclair (one and the root of another); published (six, with
    exponents 1, 0.5, 0.75, 0.25 and those of ``exponents``); or pairs of a factor and an exponent, one for each."""
    exponents: Pair = (0.875, 2.0)
    """Exponents of the fifth and sixth density of the published embedding."""
    potential: dict[str, Any] = {}
    """Further parts of the potential section of pacemaker's input, merged into what the settings above say."""
    environment: str | None = None
    """Python interpreter, or virtual environment, where python-ace and tensorpotential are; this one if null."""

    @model_validator(mode="after")
    def _orders_agree(self) -> Self:
        if len(self.nradmax) != len(self.lmax) or not self.nradmax:
            raise ValueError(f"nradmax has {len(self.nradmax)} orders, lmax {len(self.lmax)}: give both the same")
        if min(self.nradmax) < 1 or min(self.lmax) < 0 or self.lmax[0] != 0:
            raise ValueError("nradmax is at least 1, lmax at least 0, and 0 for order 1, which knows distances only")
        return self

    @field_validator("potential")
    @classmethod
    def _no_files(cls, potential: dict[str, Any]) -> dict[str, Any]:
        for key in REFUSED:
            if key in potential:
                raise ValueError(f"{key!r} cannot be given here")
        return potential

    def densities(self) -> list[tuple[float, float]]:
        """Return factor and exponent of each density."""
        if isinstance(self.embedding, tuple):
            return list(self.embedding)
        if self.embedding == "published":
            return [*PUBLISHED, *((1.0, exponent) for exponent in self.exponents)]
        return EMBEDDINGS[self.embedding]

    def pacemaker_potential(self) -> dict[str, Any]:
        """Return the ``potential`` section of pacemaker's input."""
        densities = self.densities()
        orders: dict[str, Any] = {"nradmax_by_orders": list(self.nradmax), "lmax_by_orders": list(self.lmax)}
        bonds = {
            "radbase": self.radial.basis,
            "radparameters": [self.radial.parameter],
            "rcut": self.cutoff,
            "dcut": self.radial.dcut,
            "NameOfCutoffFunction": "cos",
        }
        if self.radial.functions is not None:
            bonds["nradbase"] = self.radial.functions
        own = {
            "deltaSplineBins": 0.001,
            "elements": sorted(self.elements or []),
            "embeddings": {
                "ALL": {
                    "npot": "FinnisSinclairShiftedScaled",
                    "fs_parameters": [number for density in densities for number in density],
                    "ndensity": len(densities),
                }
            },
            "bonds": {"ALL": bonds},
            "functions": {"number_of_functions_per_element": self.functions, "ALL": orders},
        }
        return deep_merge(own, self.potential)


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested mapping with the values of another in their places."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = deep_merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged

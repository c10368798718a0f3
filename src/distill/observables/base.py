"""What an observable is: settings as the recipe has them, and what they say of one replica of a run."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from distill.base.settings import Settings
from distill.base.tolerances import Tolerance

if TYPE_CHECKING:
    from distill.analysis.samples import Samples
    from distill.base.arrays import Array


class Reference(Settings):
    """What a quantity is known to be, by experiment or from elsewhere: compared, and said."""

    file: str | None = None
    """Table of a curve: two columns of numbers, places and values; further columns are left alone."""
    value: float | None = None
    """A number instead, in the quantity's unit."""
    structures: str | None = None
    """A file of structures instead, samples of equilibrium in the order of time, of which the quantity is computed: for
    instance by DFT. They count as four replicas."""
    tolerance: Tolerance = "10 %"
    """How far the model may be from it."""
    name: str = "experiment"
    """What it is, as in the report."""
    binding: bool = False
    """Whether a model that differs by more is rejected; otherwise it is said alone."""

    def model_post_init(self, _: object) -> None:
        """Refuse none or several."""
        if sum(one is not None for one in (self.file, self.value, self.structures)) != 1:
            raise ValueError("needs one of 'file', for a curve, 'value', and 'structures'")
        if self.value == 0 and isinstance(self.tolerance, str):
            raise ValueError("has value 0, of which a share is no tolerance: give the tolerance as a number")


@dataclass(frozen=True, eq=False)
class Measured:
    """A quantity of one replica: a number, or a curve.

    Attributes:
        values: the number, ``[]``, or the curve, ``[P]``; NaN where there is none.
        places: where the curve is taken, ``[P]``; None of a number.
        most: of a number that is missing, about the most that it can be; NaN where nothing is known.
        why: why it is missing; empty where it is not.
    """

    values: Array
    places: Array | None = None
    most: float = math.nan
    why: str = ""

    @staticmethod
    def number(value: float, most: float = math.nan, why: str = "") -> Measured:
        """Return a number as a measured quantity."""
        import numpy as np

        return Measured(np.asarray(float(value)), None, most, why)


class Observable(Settings):
    """Base of all observables.

    Class attributes:
        level: of the verdict that it belongs to: 4 is structure, 5 dynamics.
        unit: of its values, empty for pure numbers.
        place_unit: of the places of a curve; None of a number.
        place_name: what these are, for the axis of a figure.
        asymptote: what a curve is far away, from which shares of it are counted.
        needs_velocities: whether the run has to keep velocities with its samples.
    """

    level: ClassVar[Literal[4, 5]] = 4
    unit: ClassVar[str] = ""
    place_unit: ClassVar[str | None] = None
    place_name: ClassVar[str] = ""
    asymptote: ClassVar[float] = 0.0
    needs_velocities: ClassVar[bool] = False

    run: str
    """The simulation of kind dynamics that it is taken from, by its name."""
    skip_ps: float = Field(0.0, ge=0)
    """Time at the beginning that is left out, ps, besides the run's own equilibrate_ps."""
    tolerance: Tolerance = Field("10 %", exclude=True)
    """How much student and teacher may differ: a number in the quantity's unit, or a share of the teacher's. Of curves
    it is the root mean square distance, a share is that of the curve's deviation from its value far away."""
    reference: Reference | None = Field(None, exclude=True)
    """What it is by experiment or elsewhere."""

    @model_validator(mode="after")
    def _reference_is_of_its_kind(self) -> Self:
        curve = self.place_unit is not None
        if self.reference is not None and getattr(self.reference, "value" if curve else "file") is not None:
            this, wanted = ("curve", "file") if curve else ("number", "value")
            raise ValueError(f"is a {this}: give its reference as '{wanted}' or 'structures'")
        return self

    @model_validator(mode="after")
    def _structures_tell_it(self) -> Self:
        if self.level == 5 and self.reference is not None and self.reference.structures is not None:
            raise ValueError("has structures as its reference, which tell nothing of motion: give 'file' or 'value'")
        return self

    @abstractmethod
    def measure(self, samples: Samples) -> Measured:
        """Return the quantity of one replica.

        Raises:
            UserError: it cannot be computed from such samples: no such element, no velocities, no periodic cell.
        """

"""What static physics says of one model: numbers to hold against the teacher's, and what is wrong in any case.

A number without a value says why it has none: a relaxation that did not converge is not a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from distill.base.tolerances import Tolerance, check_tolerance


@dataclass(frozen=True)
class Quantity:
    """One number of static physics.

    Attributes:
        name: what it is of what, for instance ``"C11 of diamond Si"``; the same for all models.
        value: in ``unit``; None where there is none.
        unit: as it is written; empty for pure numbers.
        tolerance: how far it may be from the teacher's, see :data:`distill.base.tolerances.Tolerance`.
        why: why there is no value.
    """

    name: str
    value: float | None
    unit: str
    tolerance: Tolerance
    why: str = ""

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
            object.__setattr__(self, "why", self.why or "it is not finite")
        if self.value is None and not self.why:
            raise ValueError(f"{self.name} has no value and does not say why")


@dataclass(frozen=True)
class StaticResult:
    """What one kind of static physics says of one model.

    Attributes:
        kind: of the recipe's ``simulate`` section, for instance ``"elastic"``.
        structure: what it is about, for instance ``"diamond Si"``.
        level: of the verdict: 0 is what no potential may fail, 1 what is compared with the teacher.
        quantities: what is compared.
        flaws: what is wrong whatever the teacher says, clauses that may follow the model's name and a colon.
        sound: what was found in order, one such clause; empty where nothing was judged in itself.
        arrays: what else was computed, JSON-able.
    """

    kind: str
    structure: str
    level: int
    quantities: Sequence[Quantity] = ()
    flaws: Sequence[str] = ()
    sound: str = ""
    arrays: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as ``result.json`` has it: the arrays beside the rest."""
        own = {name: value for name, value in vars(self).items() if name not in ("quantities", "arrays")}
        listed = {"quantities": [asdict(one) for one in self.quantities], "flaws": list(self.flaws)}
        return {**own, **listed, **self.arrays}

    @classmethod
    def from_json(cls, result: Mapping[str, Any]) -> Self:
        """Return what :meth:`as_json` wrote."""
        known = {"kind", "structure", "level", "quantities", "flaws", "sound"}
        return cls(
            kind=result["kind"],
            structure=result["structure"],
            level=result["level"],
            quantities=tuple(Quantity(**one) for one in result["quantities"]),
            flaws=tuple(result["flaws"]),
            sound=result["sound"],
            arrays={name: value for name, value in result.items() if name not in known},
        )

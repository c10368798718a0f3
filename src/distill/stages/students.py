"""Which students there are: how each comes to be, and the tasks that the recipe asks for."""

from __future__ import annotations

from typing import Any

VARIANTS = ("distilled", "refined", "direct")
"""How a student comes to be: from the synthetic structures, then the DFT structures too, or from these alone."""


def trained(students: Any) -> list[dict[str, Any]]:
    """Return the labels of each student, variant and seed that the recipe's ``students`` section asks for."""
    return [
        {"student": name, "variant": variant, "seed": seed}
        for name in type(students).model_fields
        for variant in _variants(getattr(students, name))
        for seed in range(getattr(students, name).seeds)
    ]


def _variants(student: Any) -> list[str]:
    wanted = {"distilled": True, "refined": student.refine is not None, "direct": student.direct}
    return [variant for variant in VARIANTS if wanted[variant]]

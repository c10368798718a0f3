"""The potentials, teachers and students. Adding one is one file and one line here; listing them imports nothing."""

from __future__ import annotations

from distill.base.registry import Registry

POTENTIALS = Registry(
    "potential",
    {
        "chgnet-0.3": "distill.potentials.chgnet:CHGNet03",
        "chgnet-r2scan": "distill.potentials.chgnet:CHGNetR2SCAN",
        "painn": "distill.potentials.painn:PaiNN",
        "tensornet": "distill.potentials.tensornet:TensorNet",
    },
)


def names(role: str) -> list[str]:
    """Return the names of the ``"teacher"`` or ``"student"`` rows."""
    return [name for name in POTENTIALS if POTENTIALS[name].role == role]

"""What a fit made worse: errors on the validation structures that are larger after it than before."""

from __future__ import annotations

import numpy as np

from distill.analysis.errors import mean_absolute_errors
from distill.structures.frames import Frames

LARGER = 1.05
"""How many times larger an error has to be to count; less comes of a trade of energies for forces."""

JUDGED = {"energy_per_atom": ("energies", "meV/atom"), "forces": ("forces", "meV/Å")}
"""Quantities that are looked at, with their names and units in the sentence."""


def worsened(truth: Frames, before: Frames, after: Frames) -> list[str]:
    """Return a sentence for each of energy and forces whose mean absolute error has grown, or none.

    Args:
        truth: labelled structures that nothing was fitted to.
        before: what the potential predicted of them before the fit.
        after: and after it.
    """
    old, new = (mean_absolute_errors(truth, guess) for guess in (before, after))
    return [
        f"fine-tuning made the {name} of the validation structures worse: {1000 * old[quantity]:.3g} {unit} before, "
        f"{1000 * new[quantity]:.3g} after; lower the learning rate, bring more structures, or set "
        "teacher.finetune: null"
        for quantity, (name, unit) in JUDGED.items()
        if np.isfinite(old.get(quantity, np.nan)) and not new[quantity] <= LARGER * old[quantity]
    ]

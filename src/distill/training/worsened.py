"""What a fit made worse: errors on the validation structures that are larger after it than before."""

from __future__ import annotations

import numpy as np

from distill.analysis.errors import mean_absolute_errors
from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.structures.frames import Frames

LARGER = 1.05
"""How many times larger an error has to be to count; less comes of a trade of energies for forces."""

JUDGED = {
    "energy_per_atom": ("energies", 1000.0, "meV/atom"),
    "forces": ("forces", 1000.0, "meV/Å"),
    "stress": ("stresses", EV_PER_A3_IN_GPA, "GPa"),
}
"""Quantities that are looked at, with their names and units in the sentence, and what these are in ours."""

REMEDY = "lower the learning rate, bring more structures, or set teacher.finetune.method: proximal"


def worsened(truth: Frames, before: Frames, after: Frames) -> list[str]:
    """Return a clause for each of energy, forces and stress whose mean absolute error has grown, or none.

    Args:
        truth: labelled structures that nothing was fitted to.
        before: what the potential predicted of them before the fit.
        after: and after it.
    """
    old, new = (mean_absolute_errors(truth, guess) for guess in (before, after))
    return [
        f"the {name} of the validation structures {scale * old[quantity]:.3g} {unit} before, "
        f"{scale * new[quantity]:.3g} after"
        for quantity, (name, scale, unit) in JUDGED.items()
        if np.isfinite(old.get(quantity, np.nan)) and not new[quantity] <= LARGER * old[quantity]
    ]

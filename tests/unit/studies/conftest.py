"""A sweep that the tests of this folder share."""

from __future__ import annotations

import pytest
from toy_sweep import CUTOFF, FINISHED, SIZE, Maker


@pytest.fixture(scope="session")
def learning() -> Maker:
    """Two cut-offs, three sizes, three seeds; direct students know no size; one training diverged, one had an error."""
    made = Maker((CUTOFF, SIZE))
    made.add("teacher", "zero_shot", 0.45)
    made.add("teacher", "finetuned", 0.12)
    for cutoff, worse in ((4.0, 1.25), (5.0, 1.0)):
        made.add_seeds("painn", "direct", (0.30 * worse, 0.31 * worse, 0.33 * worse), at={CUTOFF: cutoff})
        for size in (30, 100, 300):
            for seed, scatter in enumerate((0.97, 1.0, 1.04)):
                x = 0.5 * worse * scatter * size**-0.3
                status = {(4.0, 100, 1): "diverged", (5.0, 300, 2): "failed"}.get((cutoff, size, seed), FINISHED)
                made.add(
                    *("painn", "distilled", (x**2 + 0.12**2) ** 0.5),
                    seed=seed,
                    status=status,
                    against_teacher=x,
                    at={CUTOFF: cutoff, SIZE: size},
                    train_structures=size + 30,
                )
    return made

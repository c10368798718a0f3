"""What a search makes small: against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from distill.analysis.objective import objective_errors
from distill.structures.frames import Frames


def frames(energies: list[float], forces: float) -> Frames:
    """Structures of one and of four atoms, all force components the same."""
    atoms = [Atoms("H"), Atoms("H4", positions=np.arange(12.0).reshape(4, 3))]
    found = Frames.from_atoms(atoms)
    return found.with_labels(np.array(energies), np.full((5, 3), forces), None)


def test_energies_count_by_the_root_of_the_atoms_and_forces_by_components() -> None:
    found = objective_errors(frames([1.0, 2.0], 0.0), frames([1.3, 2.8], -0.2))
    # the errors of E / sqrt(N) are 0.3 / 1 and 0.8 / 2
    assert found["energy_rmse_eV_per_sqrt_atom"] == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2), rel=1e-12)
    assert found["forces_rmse_eV_per_A"] == pytest.approx(0.2, rel=1e-12)


def test_what_the_reference_lacks_is_left_out_and_what_is_not_finite_is_no_number() -> None:
    found = objective_errors(frames([1.0, np.nan], 0.0), frames([1.3, 9.0], np.inf))
    assert found["energy_rmse_eV_per_sqrt_atom"] == pytest.approx(0.3, rel=1e-12)
    assert found["forces_rmse_eV_per_A"] is None

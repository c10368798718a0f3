"""The one page of conventions: quantities, units, signs, keys.

Units are ASE's: energies in eV, lengths in Å, forces in eV/Å, stress in eV/Å³ with ASE's sign (the derivative of the
energy with respect to strain divided by the volume: a compressed crystal has a negative stress), time in fs where a
name says so, temperature in K. Cells are rows of lattice vectors.

========  ==========  ======  =============================================
quantity  shape       unit    key in extended XYZ
========  ==========  ======  =============================================
energy    ``[B]``     eV      ``energy`` (also ``REF_energy``, ``dft_energy``)
forces    ``[N, 3]``  eV/Å    ``forces`` (also ``REF_forces``, ``dft_forces``)
stress    ``[B,3,3]`` eV/Å³   ``stress`` (also ``REF_stress``, ``dft_stress``)
fixed     ``[N, 3]``  –       ``move_mask`` (ASE's, true where *not* fixed)
========  ==========  ======  =============================================

``B`` counts structures, ``N`` counts the atoms of all structures of a batch.
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["double", "single"]
"""In which other programs compute a network."""

DTYPES: dict[Precision, Literal["float64", "float32"]] = {"double": "float64", "single": "float32"}
"""What numpy and torch call them."""

PREFIXES = ("REF_", "dft_", "")
"""Prefixes under which labels are looked for, in this order: ``REF_`` and ``dft_`` say that labels are references,
while ASE writes whatever a calculator gave under the plain keys."""

UNITS = {"energy": "eV", "energy_per_atom": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}
"""Unit of each quantity, as it is written in tables."""

EV_PER_A3_IN_GPA = 160.21766208
"""One eV/Å³ in GPa."""

CLOSEST_RATIO = 0.6
"""Two atoms nearer than this multiple of the sum of their covalent radii (Cordero et al., Dalton Trans. 2832 (2008))
are too close for any chemistry: far up the repulsive wall (Si 1.33 Å, O-H 0.58 Å), below anything met at the
temperatures of molecular dynamics."""

MOVE_MASK = "move_mask"
"""Column of extended XYZ that says what is free to move: ``L:1`` for whole atoms, ``L:3`` for Cartesian components."""

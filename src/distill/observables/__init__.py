"""Quantities that the recipe's ``observe`` section names by kind. Adding one is one file and one line here.

A row is a settings class with one method, ``measure``, which gives the quantity of one replica.
"""

from __future__ import annotations

from distill.base.registry import Registry

OBSERVABLES = Registry(
    "observable",
    {
        "rdf": "distill.observables.structure:RadialDistribution",
        "structure_factor": "distill.observables.structure:StructureFactor",
        "coordination": "distill.observables.structure:Coordination",
        "tetrahedral_order": "distill.observables.structure:TetrahedralOrder",
        "angles": "distill.observables.network:Angles",
        "rings": "distill.observables.network:Rings",
        "hydrogen_bonds": "distill.observables.network:HydrogenBonds",
        "powder_pattern": "distill.observables.structure:PowderPattern",
        "density": "distill.observables.thermodynamics:Density",
        "pressure": "distill.observables.thermodynamics:Pressure",
        "energy": "distill.observables.thermodynamics:Energy",
        "diffusion": "distill.observables.motion:Diffusion",
        "displacement": "distill.observables.motion:Displacement",
        "spectrum": "distill.observables.motion:Spectrum",
    },
)
"""Kinds of observables."""

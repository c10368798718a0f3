"""What builds a MACE network, by the names of the package ``mace-torch``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distill.potentials.settings import PotentialSettings


class MACESettings(PotentialSettings):
    """All that builds the network, by the names of the package; the defaults are a tiny network without weights."""

    scale_shift: bool = True
    """Whether interaction energies are scaled and shifted (ScaleShiftMACE), or not (MACE)."""
    r_max: float = Field(default=4.0, gt=0)
    """Distance up to which atoms see each other directly, Å."""
    radial_type: Literal["bessel", "gaussian", "chebyshev"] = "bessel"
    """Kind of functions that a distance is expanded into."""
    num_bessel: int = Field(default=6, ge=1)
    """Number of functions that a distance is expanded into."""
    num_polynomial_cutoff: int = Field(default=5, ge=1)
    """Power of the polynomial that takes messages to zero at the cutoff."""
    apply_cutoff: bool = True
    """Whether that polynomial multiplies the radial functions, or the messages."""
    distance_transform: Literal["None", "Agnesi", "Soft"] = "None"
    """How distances are transformed before they are expanded."""
    pair_repulsion: bool = False
    """Whether nuclei repel each other at very short distances (the potential of Ziegler, Biersack and Littmark)."""
    max_ell: int = Field(default=2, ge=0)
    """Highest degree of the spherical harmonics."""
    num_interactions: int = Field(default=2, ge=1)
    """Rounds of message passing."""
    interaction_cls_first: str = "RealAgnosticResidualInteractionBlock"
    """Class of the first interaction."""
    interaction_cls: str = "RealAgnosticResidualInteractionBlock"
    """Class of the later interactions."""
    hidden_irreps: str = "8x0e+8x1o"
    """Features of an atom, as irreducible representations of O(3)."""
    edge_irreps: str | None = None
    """Features that enter a message, where they differ from those of the atom."""
    use_edge_irreps_first: bool = False
    """Whether that holds for the first interaction too."""
    keep_last_layer_irreps: bool = False
    """Whether the last layer keeps more than scalars."""
    correlation: list[int] = [2, 2]
    """Body order minus one of each layer's product."""
    use_reduced_cg: bool = True
    """Whether the products use the reduced set of coupling coefficients."""
    use_agnostic_product: bool = False
    """Whether the weights of the products are shared by all elements."""
    use_so3: bool = False
    """Whether parity is ignored."""
    radial_MLP: list[int] = [16, 16]
    """Widths of the hidden layers from distances to the weights of messages."""
    readout_cls: str = "NonLinearReadoutBlock"
    """Class of the last readout."""
    MLP_irreps: str = "8x0e"
    """Hidden features of the last readout."""
    gate: Literal["silu", "tanh", "abs", "None"] = "silu"
    """Nonlinearity of the last readout."""
    use_last_readout_only: bool = False
    """Whether the energy is read from the last layer alone."""
    atomic_numbers: list[int] = Field(default=[1, 6, 8, 14], min_length=1)
    """Elements that it knows, in the order of its weights."""
    avg_num_neighbors: float = Field(default=10.0, gt=0)
    """By what sums over neighbours are divided."""
    heads: list[str] = Field(default=["Default"], min_length=1)
    """Names of its heads, one for each level of theory that it was fitted to."""
    head: str = "Default"
    """The head that is used."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network; isolated atoms and sums are always in double precision."""

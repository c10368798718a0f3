"""A graph-pes model of any kind as a potential: its energies of atoms, our derivatives.

graph-pes lets a model compute its own forces; here they are always the gradient of the energy, so a model whose energy
cannot be differentiated, or whose own forces are something else, is refused.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from graph_pes.graph_pes_model import GraphPESModel
from graph_pes.models import load_model

from distill.base.errors import UserError
from distill.potentials.interface.batch import half_neighbour_list
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.graph_pes import GraphPESFilePotential, atomic_graph
from distill.potentials.published.probe import probe

SAME = 1e-3
"""Relative difference allowed between the forces of graph-pes and ours, both in the precision of the model."""


def read_model(path: Path) -> Potential:
    """Return the model in ``path``, a pickle that the user named.

    Raises:
        UserError: the file holds no graph-pes model, or one whose forces are not the gradient of its energy.
    """
    remedy = "Give the model.pt of a graph-pes training"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = load_model(path)
    except Exception as error:  # reading what is not a model can fail in any way
        raise UserError(f"this is not a model of graph-pes ({_first_line(error)})", str(path), remedy) from error
    if not isinstance(model, GraphPESModel):
        raise UserError("this graph-pes model predicts no energies", str(path), remedy)
    potential = GraphPESFilePotential(model.eval())
    try:
        difference = compare(potential)
    except Exception as error:
        raise _unsupported(path, f"it cannot be evaluated ({_first_line(error)})") from error
    if not difference <= SAME:
        raise _unsupported(path, f"its forces are not the gradient of its energy (off by {difference:.2g})")
    return potential


def compare(potential: GraphPESFilePotential) -> float:
    """Return the relative difference between forces on a probe as graph-pes predicts them and as we do."""
    frames = probe(potential)
    batch = potential.batch(frames, half_neighbour_list(frames, potential.cutoff))
    graph = atomic_graph(batch, potential.cutoff)
    own = potential.model.predict(graph, ["energy", "forces"])
    ours = potential(batch, stress=False)
    pairs = ((own["energy"], ours.energy), (own["forces"], ours.forces))
    return max(float((a - b).detach().abs().max()) / max(1.0, float(a.detach().abs().max())) for a, b in pairs)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _unsupported(path: Path, what: str) -> UserError:
    return UserError(
        f"this graph-pes model cannot be used here: {what}",
        where=str(path),
        remedy="Use it through ase:<file.py>:<function>, which labels and generates with any calculator",
    )

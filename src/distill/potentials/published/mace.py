"""Read a model file of the package ``mace-torch``: what builds the network, and its weights.

The file is a pickle of the whole network. Its structure is read off the blocks; a network of ours is built from that,
takes over the weights, and has to give the same energies on a probe before it is used.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from distill.base.errors import UserError
from distill.potentials.base import Architecture
from distill.potentials.interface.batch import half_neighbour_list
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.mace import ISOLATED, MACEPotential, quiet_import
from distill.potentials.published.probe import probe
from distill.potentials.settings.mace import MACESettings

with quiet_import():
    from mace import modules
    from mace.tools.scripts_utils import extract_radial_MLP

SAME = 1e-6
"""Relative difference allowed between interaction energies of the file's network and ours, in double precision."""
RADIAL = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
TRANSFORMS = {"": "None", "AgnesiTransform": "Agnesi", "SoftTransform": "Soft"}


def read_model(row: type[Architecture], path: Path, precision: str | None, origin: dict[str, str]) -> Potential:
    """Return the model in ``path`` as a potential of ``row``.

    Args:
        row: the row of the table that it becomes.
        path: a file that the user named or whose checksum was compared: reading it can run code.
        precision: ``"float32"`` or ``"float64"``, or None for the file's own.
        origin: where it is from; what was read is added.

    Raises:
        UserError: the file holds no MACE model, or one with parts that are not supported here.
    """
    model = unpickle(path)
    try:
        settings: Any = row.Settings(**describe(model, precision))
        potential = row.create(settings)
        transfer(model, potential, settings)
        difference = compare(model, potential)
    except (AttributeError, KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:
        raise _unsupported(path, " ".join(str(error).split())[:300]) from error
    if not difference <= SAME:
        raise _unsupported(path, f"parts of it (interaction energies are off by {difference:.2g} of their size)")
    potential.origin = {"licence": row.licence, "level_of_theory": row.level_of_theory, **origin}
    potential.origin["head"] = f"{settings.head} of {', '.join(settings.heads)}"
    return potential


def unpickle(path: Path) -> Any:
    """Return the package's network from its file, on the CPU.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    remedy = "Give a file that mace_run_train wrote, often named *.model"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # reading what is not a model can fail in any way
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"this is not a model file of mace-torch ({why})", where=str(path), remedy=remedy) from error
    if not isinstance(model, modules.MACE):
        raise UserError(f"it holds a {type(model).__name__}, not a MACE model", where=str(path), remedy=remedy)
    if type(model) not in (modules.MACE, modules.ScaleShiftMACE):
        raise _unsupported(path, f"its class {type(model).__name__}")
    if hasattr(model, "joint_embedding"):
        raise _unsupported(path, f"inputs besides the atoms ({', '.join(model.embedding_specs)})")
    return model


def describe(model: Any, precision: str | None = None) -> dict[str, Any]:
    """Return the settings that build a network like ``model``; its numbers, scale and shift too, are not settings."""
    radial, last = model.radial_embedding, model.readouts[-1]
    heads = list(getattr(model, "heads", None) or ["Default"])
    hidden = [product.linear.irreps_out for product in model.products]
    mlp = last.hidden_irreps.count("0e") // len(heads) if hasattr(last, "hidden_irreps") else 1
    edge = getattr(model, "edge_irreps", None)
    transform = type(radial.distance_transform).__name__ if hasattr(radial, "distance_transform") else ""
    return {
        "scale_shift": hasattr(model, "scale_shift"),
        "r_max": float(model.r_max),
        "radial_type": RADIAL[type(radial.bessel_fn).__name__],
        "num_bessel": int(radial.out_dim),
        "num_polynomial_cutoff": int(radial.cutoff_fn.p),
        "apply_cutoff": getattr(model, "apply_cutoff", True),
        "distance_transform": TRANSFORMS[transform],
        "pair_repulsion": hasattr(model, "pair_repulsion_fn"),
        "max_ell": model.spherical_harmonics._lmax,
        "num_interactions": int(model.num_interactions),
        "interaction_cls_first": type(model.interactions[0]).__name__,
        "interaction_cls": type(model.interactions[-1]).__name__,
        "hidden_irreps": str(hidden[0]),
        "edge_irreps": None if edge is None else str(edge),
        "use_edge_irreps_first": getattr(model, "use_edge_irreps_first", False),
        "keep_last_layer_irreps": len(hidden) > 1 and hidden[-1].lmax > 0,
        "correlation": [correlation(product) for product in model.products],
        "use_reduced_cg": bool(getattr(model, "use_reduced_cg", False)),
        "use_agnostic_product": getattr(model, "use_agnostic_product", False),
        "use_so3": getattr(model, "use_so3", False),
        "radial_MLP": [int(width) for width in extract_radial_MLP(model)],
        "readout_cls": type(last).__name__ if hasattr(last, "hidden_irreps") else "NonLinearReadoutBlock",
        "MLP_irreps": f"{max(1, mlp)}x0e",
        "gate": gate(last),
        "use_last_readout_only": getattr(model, "use_last_readout_only", False),
        "atomic_numbers": [int(z) for z in model.atomic_numbers],
        "avg_num_neighbors": float(model.interactions[0].avg_num_neighbors),
        "heads": heads,
        "head": choose_head(heads),
        "precision": precision or str(next(model.parameters()).dtype).removeprefix("torch."),
    }


def correlation(product: Any) -> int:
    """Return the body order minus one of a product block."""
    return len(product.symmetric_contractions.contractions[0].weights) + 1


def gate(readout: Any) -> str:
    """Return the name of a readout's nonlinearity; a linear one has none."""
    if not hasattr(readout, "non_linearity"):
        return "None"
    function = getattr(readout.non_linearity.acts[0], "f", None)
    names = [name for name, known in modules.gate_dict.items() if known is function]
    if not names:
        raise ValueError(f"the nonlinearity {function}")
    return names[0]


def choose_head(heads: list[str]) -> str:
    """Return the head named default, whatever its case, else the first."""
    return next((head for head in heads if head.lower() == "default"), heads[0])


def transfer(model: Any, potential: Potential, settings: MACESettings) -> None:
    """Fill our network with the numbers of the file's, the energies of isolated atoms into the reference energies.

    Parameters have to match one by one. Constants come and go with the versions of the package: those that ours lacks
    are left out, those that the file lacks stay as they were built.

    Raises:
        ValueError: parameters are missing or left over.
    """
    network = potential.get_submodule("network")
    state, ours = dict(model.state_dict()), network.state_dict()
    wanted, given = (dict(one.named_parameters()).keys() for one in (network, model))
    if different := (wanted - state.keys()) | (given - ours.keys()):
        raise ValueError(f"the parameters {', '.join(sorted(different)[:4])}")
    isolated = torch.atleast_2d(state[ISOLATED]).double()[settings.heads.index(settings.head)]
    state[ISOLATED] = torch.zeros_like(ours[ISOLATED])
    for name in ("scale_shift.scale", "scale_shift.shift"):
        if name in state:
            state[name] = torch.atleast_1d(state[name])
    network.load_state_dict({name: state.get(name, value) for name, value in ours.items()}, strict=True)
    with torch.no_grad():
        potential.reference_energies[settings.atomic_numbers] = isolated


def compare(model: Any, potential: Potential) -> float:
    """Return the largest difference of an atom's interaction energy on a probe, relative to the largest energy.

    Both are evaluated in double precision, in which the file's network remains; ours is put back.
    """
    if not isinstance(potential, MACEPotential):
        raise TypeError("not a MACE potential")
    kept = {name: value.clone() for name, value in potential.state_dict().items()}
    dtype = potential.dtype
    potential.double(), model.double().eval()
    frames = probe(potential)
    batch = potential.batch(frames, half_neighbour_list(frames, potential.cutoff))
    whole = model(potential.inputs(batch), compute_force=False)["node_energy"]
    expected = (whole - potential.reference_energies[batch.numbers]).detach()
    found = potential.atomic_energies(batch).detach()
    potential.network.to(dtype)
    potential.load_state_dict(kept)
    return float((expected - found).abs().max()) / max(1.0, float(expected.abs().max()))


def _unsupported(path: Path, what: str) -> UserError:
    return UserError(
        f"this MACE model has what is not supported here: {what}",
        where=str(path),
        remedy="Use it through ase:<file.py>:<function>, which labels and generates with any calculator",
    )

"""Potentials on disk: weights as safetensors, and a JSON description that says how to build what they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill.base.consent import Consent
from distill.base.errors import UserError
from distill.base.files import hash_file, read_json, replacing, write_json
from distill.potentials import COMPOSED, POTENTIALS
from distill.potentials.interface.potential import Potential

FORMAT = 1

PARTS = "members"
"""Folder of the potentials that a potential is made of; each has a folder of its own in it."""

ON_DISK = {"reference_energies": "offsets"}
"""Names of tensors that are others in the file of weights."""


def save(potential: Potential, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write ``weights.safetensors`` and then ``model.json`` into ``folder``, each of them whole or not at all.

    Args:
        potential: what to save.
        folder: where; made if need be.
        provenance: JSON-able facts about how it was made.
    """
    parts = {}
    for name, part in potential.parts().items():
        save(part, folder / PARTS / name, provenance)
        parts[name] = hash_file(folder / PARTS / name / "model.json")
    weights = folder / "weights.safetensors"
    state = {
        ON_DISK.get(name, name): value.detach().cpu().contiguous().clone()
        for name, value in potential.state_dict().items()
        if isinstance(value, Tensor)
    }
    with replacing(weights) as temporary:
        save_file(state, temporary)
    for name, content in potential.files().items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    description = {
        "format": FORMAT,
        "architecture": potential.architecture,
        "settings": potential.settings.model_dump(mode="json"),
        "elements": list(potential.elements) if potential.elements is not None else None,
        "dtype": str(potential.dtype).removeprefix("torch."),
        "sha256": hash_file(weights),
        "origin": potential.origin,
        "provenance": dict(provenance),
    } | ({"parts": parts} if parts else {})
    write_json(folder / "model.json", description)


def load(
    folder: str | Path,
    device: torch.device | str = "cpu",
    *,
    trust_code: bool = False,
    environment: str | None = None,
) -> Potential:
    """Return the potential saved in ``folder``, in evaluation mode; nothing that the folder names is run.

    Args:
        folder: for instance ``runs/quickstart/models/painn``.
        device: a torch device.
        trust_code: run what the folder names: a network of a user's own, a function that returns an ASE calculator, the
            pickle of a graph-pes file. Only for folders of people whom you trust.
        environment: the Python interpreter, or virtual environment, that the potential runs in, where its packages are
            not here; one that the folder names is never started.

    Raises:
        UserError: the folder holds no potential, a damaged one, or one that would run code without being trusted.
    """
    return open_saved(folder, device, Consent(trust_code, environment))


def open_saved(folder: str | Path, device: torch.device | str, consent: Consent) -> Potential:
    """Return the potential saved in ``folder``, with what may run for it; see :func:`load`."""
    folder = Path(folder)
    remedy = "Make it again, or give the folder of another potential"
    try:
        description = read_json(folder / "model.json")
        if hash_file(folder / "weights.safetensors") != description["sha256"]:
            raise UserError("the weights are not those that were saved", where=str(folder), remedy=remedy)
        _refuse_exchanged(description.get("parts", {}), folder, remedy)
        rows = COMPOSED if description["architecture"] in COMPOSED else POTENTIALS
        architecture = rows[description["architecture"]]
        potential: Potential = architecture.restore(
            architecture.Settings(**architecture.Settings.by_present_names(description["settings"])), folder, consent
        )
        potential.in_precision("float64" if description["dtype"] == "float64" else "float32")
        notes = {name: value for name, value in potential.state_dict().items() if not isinstance(value, Tensor)}
        stored = load_file(folder / "weights.safetensors")
        ours = {name: stored.pop(there) for name, there in ON_DISK.items() if there in stored}
        potential.load_state_dict(notes | stored | ours, strict=True)
        elements = description["elements"]
        potential.elements = tuple(elements) if elements is not None else None
        potential.origin = description["origin"]
    except FileNotFoundError as error:
        raise UserError(f"there is no {error.filename}", where=str(folder), remedy=remedy) from error
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError, RuntimeError) as error:
        raise UserError(f"the potential is damaged ({error})", where=str(folder), remedy=remedy) from error
    return potential.to(device).eval()


def _refuse_exchanged(parts: Mapping[str, str], folder: Path, remedy: str) -> None:
    """Refuse a potential of which a part is not the one that it was saved with, or lies outside of its folder."""
    for name, sha256 in parts.items():
        if Path(name).name != name or hash_file(folder / PARTS / name / "model.json") != sha256:
            raise UserError(f"the member {name} is not the one that was saved", where=str(folder), remedy=remedy)

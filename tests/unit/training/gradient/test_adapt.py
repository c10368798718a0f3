"""Freezing and low-rank changes do what their names say, to a real CHGNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.training.gradient.adapt import add_lora, freeze, merge_lora, parts
from distill.training.gradient.fit import fit


def chgnet() -> Potential:
    row = POTENTIALS["chgnet-0.3"]
    built: Potential = row.build(row.Settings(), 0)
    return built


def silicon(n: int = 2) -> Frames:
    """Rattled two-atom cells with forces that the foundation model does not give."""
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(n):
        atoms = bulk("Si")
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        structures.append(atoms)
    frames = Frames.from_atoms(structures)
    return frames.with_labels(rng.normal(-10, 0.1, n), rng.normal(0, 1, (2 * n, 3)), None)


def tune(potential: Potential, work: Path, steps: int = 3) -> None:
    arguments = {"steps": steps, "validation_interval": steps, "batch_size": 2, "learning_rate": 1e-3, "average": 0.0}
    fit(potential, silicon(), silicon(), work=work, **arguments)


def weights(potential: Potential) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in potential.named_parameters()}


def test_frozen_parts_stay_and_others_move(tmp_path: Path) -> None:
    potential = chgnet()
    before = weights(potential)
    left = freeze(potential, ["atom_layers.0", "elements"])
    assert left == sum(
        value.numel()
        for name, value in before.items()
        if name != "reference_energies" and ".atom_layers.0." not in name and ".elements." not in name
    )
    tune(potential, tmp_path)
    moved = {name for name, value in weights(potential).items() if not torch.equal(value, before[name])}
    assert not any(".atom_layers.0." in name or ".elements." in name for name in moved)
    assert any(".atom_layers.1." in name for name in moved)


def test_a_part_is_not_taken_for_one_with_a_longer_name() -> None:
    assert {"atom_layers", "atom_layers.0", "read_out"} <= set(parts(chgnet()))
    with pytest.raises(UserError, match=r"has no part 'atom_layer'\. Did you mean 'atom_layers'\?.*Its parts are"):
        freeze(chgnet(), ["atom_layer"])


def test_freezing_everything_is_refused() -> None:
    potential = chgnet()
    with pytest.raises(UserError, match="nothing is left to fit"):
        freeze(potential, [name for name in parts(potential) if "." not in name])


def test_lora_starts_from_the_pretrained_model_and_changes_it_by_low_rank(tmp_path: Path) -> None:
    potential, frames = chgnet(), silicon()
    before, predicted = weights(potential), potential.evaluate(frames)
    count = add_lora(potential, rank=2, alpha=4.0, seed=0)
    assert (
        count
        == sum(p.numel() for p in potential.parameters() if p.requires_grad)
        < 0.2 * sum(value.numel() for value in before.values())
    )
    assert np.array_equal(potential.evaluate(frames).forces, predicted.forces)  # B is zero
    tune(potential, tmp_path)
    adapted = potential.evaluate(frames)
    merge_lora(potential)
    after = weights(potential)
    assert after.keys() == before.keys()
    # W x + s B (A x) against (W + s B A) x in single precision
    np.testing.assert_allclose(potential.evaluate(frames).forces, adapted.forces, atol=2e-4)
    moved = [name for name in before if not torch.equal(after[name], before[name])]
    assert moved
    for name in moved:
        change = (after[name] - before[name]).double()
        assert name.endswith(".weight") and change.dim() == 2
        singular = torch.linalg.svdvals(change)
        assert (singular[2:] < 1e-3 * singular[0]).all(), name  # what is left are roundings of single precision


def test_lora_leaves_frozen_parts_alone() -> None:
    potential = chgnet()
    freeze(potential, ["read_out"])
    add_lora(potential, rank=1, alpha=1.0, seed=0)
    fitted = [name for name, p in potential.named_parameters() if p.requires_grad]
    assert fitted and not any("read_out" in name for name in fitted)


def test_an_adapted_model_is_saved_like_any_other(tmp_path: Path) -> None:
    from distill.potentials.interface.saving import load, save

    potential, frames = chgnet(), silicon()
    add_lora(potential, rank=2, alpha=4.0, seed=0)
    tune(potential, tmp_path / "work")
    merge_lora(potential)
    save(potential, tmp_path / "model", {})
    assert np.array_equal(load(tmp_path / "model").evaluate(frames).forces, potential.evaluate(frames).forces)


def test_double_precision_is_kept_by_saving(tmp_path: Path) -> None:
    from distill.potentials.interface.saving import load, save

    potential, frames = chgnet().double(), silicon()
    save(potential, tmp_path, {})
    loaded = load(tmp_path)
    assert loaded.dtype == torch.float64
    assert np.array_equal(loaded.evaluate(frames).forces, potential.evaluate(frames).forces)
    # single and double precision agree to single rounding, and differ: the type is not only a name
    single = chgnet().evaluate(frames)
    np.testing.assert_allclose(single.forces, loaded.evaluate(frames).forces, atol=1e-4)
    assert not np.array_equal(single.forces, loaded.evaluate(frames).forces)


def test_a_model_without_linear_layers_cannot_have_lora() -> None:
    potential = chgnet()
    for module in potential.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.requires_grad_(False)
    with pytest.raises(UserError, match="no linear layers"):
        add_lora(potential, rank=1, alpha=1.0, seed=0)

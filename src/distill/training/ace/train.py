"""Train an ACE student: data, references, weights and repulsion for :mod:`distill.training.ace.fit`, and its engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.base.random import stream_seed
from distill.potentials.interface.gradient_free import arrays
from distill.potentials.networks.student import fit_reference_energies
from distill.potentials.settings.ace import ACESettings
from distill.potentials.students.ace import ACE
from distill.potentials.workers import ace_fit as ace_fit_worker
from distill.potentials.workers.ace_potential import ACEPotential
from distill.potentials.workers.protocol import WorkerError
from distill.structures.frames import Frames, concatenate
from distill.training.ace.fit import Errors, Fit, Objective, State
from distill.training.ace.repulsion_distances import closer_than, shortest_distances
from distill.training.ace.settings import BFGS, Batches
from distill.training.disagreement import SpreadWeights
from distill.training.loggers import Logs, curve_writer

if TYPE_CHECKING:
    from distill.potentials.workers.process import Worker


def train_ace(
    settings: ACESettings,
    train: Frames,
    valid: Frames,
    *,
    batches: Batches | None,
    bfgs: BFGS | None,
    pacemaker: Mapping[str, Any] | None = None,
    spread_weights: SpreadWeights | None = None,
    **how: Any,
) -> tuple[ACEPotential, State]:
    """Return a fitted expansion and how its fit went.

    Per-element energies are those of least squares, and of dimers only the forces are fitted. Where the settings
    have it, the repulsion of nuclei begins at the shortest distance of the data, and structures with closer atoms are
    left out: the repulsion describes them.

    Args:
        settings: of the expansion; its elements are those of the data where none are named.
        train: structures to learn from, with energies and forces.
        valid: structures that choose the best state.
        batches: the first phase. bfgs: the second phase. Either may be None.
        pacemaker: ``fit`` and ``backend`` sections that are passed on: pacemaker itself does the second phase.
        spread_weights: how much each label of ``train`` counts; all the same if None.
        how: the further arguments of :func:`fit_ace`.

    Raises:
        UserError: labels are missing, or no structure can be fitted.
        WorkError: TensorFlow fails.
    """
    _refuse_without_labels(train, valid)
    own: ACESettings = ACE.for_data(settings, "ace", [chemical_symbols[z] for z in train.elements])
    student = ACE.build(own, 0)
    assert isinstance(student, ACEPotential)  # noqa: S101 - what that row builds
    energies, _ = fit_reference_energies(train[np.flatnonzero(referenced(train))])
    with torch.no_grad():
        student.reference_energies.copy_(torch.from_numpy(energies))
    repulsion = shortest_distances(train, own.cutoff) if own.short_range_repulsion else {}
    weights = np.ones(len(train))
    state = fit_ace(
        student,
        student.make_basis(repulsion),
        repulsion,
        train,
        valid,
        weights,
        batches,
        bfgs,
        pacemaker=pacemaker,
        spread_weights=spread_weights,
        **how,
    )
    return student, state


def refine_ace(
    student: ACEPotential,
    train: Frames,
    valid: Frames,
    synthetic: Frames,
    *,
    share: float,
    batches: Batches,
    **how: Any,
) -> tuple[ACEPotential, State]:
    """Fit a distilled expansion once more, in place, to the DFT structures, and return it and how that went.

    Args:
        student: fitted to the synthetic structures.
        train: DFT structures to learn from.
        valid: DFT structures that choose the best state.
        synthetic: what it was fitted to; mixed in, so that what they taught is not lost.
        share: of the synthetic structures in the loss.
        batches: the only phase.
        how: the further arguments of :func:`fit_ace`.

    Raises:
        UserError: labels are missing, or no structure can be fitted.
        WorkError: TensorFlow fails.
    """
    _refuse_without_labels(train, valid)
    repulsion = shortest_distances(synthetic, student.settings.cutoff) if student.settings.short_range_repulsion else {}
    others = synthetic if share else Frames.empty()
    total, n = len(train) + len(others), len(train)
    weights = np.concatenate(
        [np.full(n, (1 - share) * total / n), np.full(len(others), share * total / max(1, len(others)))]
    )
    every = concatenate([train, others])
    return student, fit_ace(student, student.basis, repulsion, every, valid, weights, batches, None, **how)


def _refuse_without_labels(train: Frames, valid: Frames) -> None:
    if train.energy is None or train.forces is None or valid.energy is None or valid.forces is None:
        raise UserError("ACE is fitted to energies and forces", "training data", "Give structures with both")


def fit_ace(
    student: ACEPotential,
    basis: str,
    repulsion: dict[str, float],
    train: Frames,
    valid: Frames,
    weights: Array,
    batches: Batches | None,
    bfgs: BFGS | None,
    *,
    seed: int,
    purpose: tuple[str | int, ...],
    l1: float = 0.0,
    l2: float = 0.0,
    force_scale: float | None = None,
    pacemaker: Mapping[str, Any] | None = None,
    spread_weights: SpreadWeights | None = None,
    max_time: float | None = None,
    work: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    logs: Logs | None = None,
) -> State:
    """Fit an expansion, begun with the coefficients of ``basis``, and return how that went.

    Args:
        student: is given what comes out.
        basis: pacemaker's YAML. repulsion: where that of nuclei begins, Å; structures with closer atoms are left out.
        train: structures to learn from. valid: structures that choose the best state.
        weights: how much each structure of ``train`` counts, ``[B]``.
        batches, bfgs, pacemaker, spread_weights: see :func:`train_ace`.
        seed: of the recipe. purpose: what the student is for; both give the order of the batches.
        l1: weight of the absolute values of the coefficients. l2: of their squares.
        force_scale: atoms with a force of this size, eV/Å, count half, and those with larger ones less; all the same if
            None. A structure counts as the atom of the largest force in it.
        max_time: minutes after which the fit ends.
        work: folder that keeps the state of an interrupted fit.
        device: torch's name of the device.
        progress: where to report.
        logs: what is logged besides the curve.

    Raises:
        UserError: no structure can be fitted.
        WorkError: TensorFlow fails.
    """
    reach = student.settings.cutoff
    can, could = (np.flatnonzero(~closer_than(side, repulsion, reach)) for side in (train, valid))
    kept, judged = train[can], valid[could]
    counts = np.concatenate([weights[can], np.ones(len(judged))])
    of_labels = (np.ones(len(counts)), np.ones(len(kept.numbers) + len(judged.numbers)))
    if spread_weights is not None:
        of_labels[0][: len(kept)] = spread_weights.energy[can]
        of_labels[1][: len(kept.numbers)] = spread_weights.forces[train.atom_indices(can)]
    every = concatenate([kept, judged])
    engine = WorkerEngine(student, basis, every, counts, force_scale, device, work, SpreadWeights(*of_labels))
    try:
        facts = engine.open()
        usable = facts["usable"]
        objective = Objective(
            train=usable[usable < len(kept)],
            valid=np.arange(len(kept), len(kept) + len(judged)),
            n_atoms=engine.frames.n_atoms,
            energy_weights=engine.energy_weights,
            force_weights=engine.force_weights,
            radial=int(facts["radial"]),
            l1=l1,
            l2=l2,
        )
        if not len(objective.train) or not len(judged):
            what = f"there is none whose atoms all have neighbours within {reach:g} Å, none too close"
            raise UserError(what, "training or validation structures", "Raise the cutoff, or bring more structures")
        passed_on = dict((pacemaker or {}).get("fit", {})) if pacemaker else None
        engine.backend = dict((pacemaker or {}).get("backend", {}))
        engine.at_once = batches.batch_size if batches else engine.at_once
        with curve_writer(logs or Logs(), math.ceil(len(objective.train) / engine.at_once)) as wrote:
            state = Fit(
                engine,
                objective,
                np.array(facts["coefficients"]),
                batches=batches,
                bfgs=bfgs,
                passed_on=passed_on,
                seed=stream_seed(seed, *purpose, "order"),
                max_time=max_time,
                work=work,
                wrote=wrote,
            ).run(progress or Progress())
        fitted = engine.basis(state.coefficients)
    finally:
        engine.close()
    state.warnings += student.adopt(fitted, kept[objective.train])
    if left := len(train) - len(objective.train):
        state.warnings.append(
            f"{left} of {len(train)} structures were not fitted: atoms closer than where the repulsion begins, or alone"
        )
    return state


def referenced(frames: Frames) -> Array:
    """Return which energies count, ``[B]``.

    A free atom has the per-element energy, in an expansion exactly. By least squares that is an energy of the bulk, so
    that dimers would have to be wrong by the energy of cohesion: beside larger structures their forces alone count.
    """
    large = frames.n_atoms > 2
    return large if large.any() else np.ones(len(frames), dtype=bool)


class WorkerEngine:
    """Loss, gradient and errors from :mod:`distill.potentials.workers.ace_fit`.

    Args:
        student: says where the packages are, and the energies of single atoms.
        basis: pacemaker's YAML.
        frames: all structures.
        counts: how much each of them counts, ``[B]``.
        force_scale: see :func:`fit_ace`.
        device: torch's name of the device.
        folder: where pacemaker may write.
        of_labels: how much the label of each structure and atom counts, besides.

    Attributes:
        at_once: structures that TensorFlow sees together at most; halved when memory runs out.
        backend: pacemaker's ``backend`` section.
    """

    def __init__(
        self,
        student: ACEPotential,
        basis: str,
        frames: Frames,
        counts: Array,
        force_scale: float | None,
        device: str,
        folder: Path,
        of_labels: SpreadWeights,
    ) -> None:
        assert frames.forces is not None and frames.energy is not None  # noqa: S101 - train_ace looks
        self.student, self.frames, self.folder = student, frames, folder
        self.at_once, self.backend = 32, dict[str, Any]()
        labelled = np.isfinite(frames.forces).all(axis=1)  # pacemaker weighs forces by atoms, not by components
        scaled = np.where(labelled, np.square(frames.forces).sum(axis=1), 0.0) / (force_scale or np.inf) ** 2
        weights = counts[frames.structure_of_atom] / (1 + scaled)
        self.force_weights = np.where(labelled, weights * of_labels.forces, 0.0)
        smallest = np.minimum.reduceat(weights, frames.offsets[:-1])
        smallest = smallest * of_labels.energy
        self.energy_weights = np.where(referenced(frames) & np.isfinite(frames.energy), smallest, 0.0)
        opening = {
            "basis": basis,
            "device": device,
            "threads": torch.get_num_threads(),
            **arrays(frames),
            "energy": np.nan_to_num(frames.energy - student.sum_of_reference_energies(frames)),
            "forces": np.nan_to_num(frames.forces),
            "energy_weights": self.energy_weights,
            "force_weights": self.force_weights,
        }
        self._worker: Worker = student.worker(ace_fit_worker, opening)

    def open(self) -> dict[str, Any]:
        """Return what is known of basis and structures: coefficients, how many are radial, which structures fit."""
        try:
            return self._worker.open()
        except WorkerError as failure:
            raise self.student.error(failure) from failure

    def gradient(self, coefficients: Array, chosen: Array, kappa: float) -> tuple[float, Array]:
        """Return loss and gradient; where memory runs out, fewer structures are looked at together from then on."""
        while True:
            request = {"do": "gradient", "coefficients": coefficients, "structures": chosen, "kappa": kappa}
            try:
                answer = self._worker.ask(request | {"at_once": self.at_once})
            except WorkerError as failure:
                if failure.kind != "memory" or self.at_once == 1:
                    raise self.student.error(failure) from failure
                self.at_once //= 2
                continue
            return float(answer["loss"]), answer["gradient"]

    def errors(self, coefficients: Array, chosen: Array) -> Errors:
        """Return the errors of structures."""
        found = self._ask({"do": "errors", "coefficients": coefficients, "structures": chosen})
        return Errors(found["energy"], found["forces"])

    def basis(self, coefficients: Array) -> str:
        """Return the basis with coefficients, as pacemaker's YAML."""
        return str(self._ask({"do": "basis", "coefficients": coefficients})["basis"])

    def pacemaker(
        self,
        coefficients: Array,
        chosen: Array,
        fit: Mapping[str, Any],
        judged: Array,
        on_progress: Callable[[Mapping[str, Any]], None],
    ) -> Array:
        """Return the coefficients that pacemaker's own fit ends with; ``on_progress`` cannot ask this engine."""
        folder = self.folder / "pacemaker"
        folder.mkdir(parents=True, exist_ok=True)
        request = {"do": "pacemaker", "coefficients": coefficients, "structures": chosen, "judged": judged}
        request |= {"fit": dict(fit), "backend": self.backend, "folder": str(folder.absolute())}
        found = self._ask(request, on_progress)
        return np.array(found["coefficients"])

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def _ask(self, request: Mapping[str, Any], on_progress: Callable[[Any], None] | None = None) -> dict[str, Any]:
        try:
            return self._worker.ask(request, on_progress)
        except WorkerError as failure:
            raise self.student.error(failure) from failure

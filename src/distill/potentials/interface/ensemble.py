"""Several potentials as one: energies, forces and stresses are their mean, and how far they lie apart goes with it.

The weights are constants, so that forces and stress stay exact derivatives of the energy wherever those of all members
are. Members may be of any kind, also such as run in another interpreter; each lists its neighbours by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from ase.calculators.calculator import all_changes
from torch import Tensor

from distill.base.arrays import Array
from distill.base.progress import Phase
from distill.potentials.interface.batch import Prediction
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.gradient_free import GradientFree
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.structures.spread import Spread, mean_of, spread_of

if TYPE_CHECKING:
    from ase import Atoms


class Ensemble(GradientFree):
    """The weighted mean of several potentials; ``reference_energies`` are added to it, and are 0 at first.

    Args:
        members: the potentials by name, in evaluation mode.
        shares: the weight of each, positive; they add up to 1.
    """

    no_gradients = ("an ensemble is not fitted, its members are", "Fit them one by one, or name a single teacher")

    def __init__(self, members: Mapping[str, Potential], shares: Sequence[float]) -> None:
        known = [set(one.elements) for one in members.values() if one.elements is not None]
        elements = tuple(sorted(set.intersection(*known))) if known else None
        super().__init__(max(one.cutoff for one in members.values()), elements=elements)
        self.members = dict(members)  # no modules of this one: each is saved, and keeps its precision, by itself
        self.shares = np.array(shares, dtype=float)
        flaws = [flaw for one in members.values() for flaw in one.violated_symmetries]
        self.violated_symmetries = tuple(dict.fromkeys(flaws))

    def parts(self) -> Mapping[str, Potential]:
        """Return the members."""
        return self.members

    @property
    def predicts_stress(self) -> bool:  # type: ignore[override]
        """Whether all members do."""
        return all(one.predicts_stress for one in self.members.values())

    @property
    def predicts_atomic_energies(self) -> bool:
        """Whether all members do."""
        return all(one.predicts_atomic_energies for one in self.members.values())

    @property
    def n_parameters(self) -> int:
        """None that a fit may change."""
        return 0

    def in_precision(self, precision: Literal["float32", "float64"]) -> Self:
        """Return this potential: its members have precisions of their own."""
        return self

    def batch_atoms(self) -> int:
        """Return how many atoms the member with the least room evaluates together."""
        return min(one.batch_atoms() for one in self.members.values())

    def predict(self, frames: Frames, stress: bool = True) -> Prediction:
        """Return the mean of what the members say of structures evaluated together, all of it float64 on the CPU."""
        return as_prediction(self.evaluate_with_spread(frames, stress=stress)[0])

    def evaluate(
        self,
        structures: Frames | Sequence[Atoms],
        *,
        max_atoms: int | None = None,
        stress: bool = True,
        progress: Phase | None = None,
    ) -> Frames:
        """Return the structures with the mean of the members' labels; each member divides them into its own batches."""
        return self.evaluate_with_spread(structures, max_atoms=max_atoms, stress=stress, progress=progress)[0]

    def evaluate_with_spread(
        self,
        structures: Frames | Sequence[Atoms],
        *,
        max_atoms: int | None = None,
        stress: bool = True,
        progress: Phase | None = None,
    ) -> tuple[Frames, Spread]:
        """Return the structures with the mean of the members' labels, and how far the members lie apart."""
        return self.joined(self.evaluate_each(structures, max_atoms=max_atoms, stress=stress, progress=progress))

    def evaluate_each(
        self,
        structures: Frames | Sequence[Atoms],
        *,
        max_atoms: int | None = None,
        stress: bool = True,
        progress: Phase | None = None,
    ) -> list[Frames]:
        """Return the structures with the labels of every member, in their order; see :meth:`evaluate`."""
        frames = structures if isinstance(structures, Frames) else Frames.from_atoms(structures)
        self.check(frames)
        last = len(self.members) - 1
        return [
            one.evaluate(frames, max_atoms=max_atoms, stress=stress, progress=progress if k == last else None)
            for k, one in enumerate(self.members.values())
        ]

    def joined(self, labelled: Sequence[Frames]) -> tuple[Frames, Spread]:
        """Return the mean of what every member says of the same structures, and how far that lies apart."""
        mean = mean_of(labelled, self.shares)
        energy = mean.energy + self.sum_of_reference_energies(mean)
        return mean.with_labels(energy, mean.forces, mean.stress), spread_of(labelled, self.shares)

    def energies_of_atoms(self, frames: Frames) -> Array:
        """Return the mean of the members' energies of each atom, ``[N]`` eV."""
        found = [one.energies_of_atoms(frames) for one in self.members.values()]
        return self.joined_atoms(found, frames)

    def joined_atoms(self, found: Sequence[Array], frames: Frames) -> Array:
        """Return the mean of what every member says of the energies of the same atoms, ``[N]`` eV."""
        return np.asarray(
            self.shares @ np.array(found) + self.reference_energies.detach().cpu().numpy()[frames.numbers]
        )

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the members too."""
        for one in self.members.values():
            one.train(mode)
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the members too."""
        for one in self.members.values():
            one._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def _calculator(self) -> PotentialCalculator:
        return EnsembleCalculator(self)


class EnsembleCalculator(PotentialCalculator):
    """The calculator of :class:`Ensemble`, whose members keep their own lists of neighbours.

    Its results have the spread besides: ``energy_spread`` (eV/atom) and ``forces_spread`` (``[N]`` eV/Å), see
    :class:`distill.structures.spread.Spread`.
    """

    SPREAD = ("energy_spread", "forces_spread")

    potential: Ensemble

    def __init__(self, potential: Ensemble) -> None:
        super().__init__(potential)
        self.implemented_properties += self.SPREAD
        self._members = [one._calculator() for one in potential.members.values()]

    @property
    def lists_built(self) -> int:
        """How often the members have built their neighbour lists so far, all together."""
        return sum(one.lists_built for one in self._members)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``self.results``, the spread among them; raises what :class:`PotentialCalculator` does."""
        super().calculate(atoms, properties, system_changes)
        self.results |= dict(zip(self.SPREAD, (float(self._spread.energy[0]), self._spread.forces), strict=True))

    def _predict(self, frames: Frames) -> tuple[Prediction, Tensor | None]:
        found = [one._predict(frames) for one in self._members]
        mean, self._spread = self.potential.joined([_labelled(frames, prediction) for prediction, _ in found])
        of_atoms = [energies.detach().cpu().numpy() for _, energies in found if energies is not None]
        joined = self.potential.joined_atoms(of_atoms, frames) if len(of_atoms) == len(found) else None
        return as_prediction(mean), None if joined is None else torch.tensor(joined)


def as_prediction(labelled: Frames) -> Prediction:
    """Return labels as a potential predicts them, float64 on the CPU."""
    energy, forces, stress = (
        None if values is None else torch.tensor(values)
        for values in (labelled.energy, labelled.forces, labelled.stress)
    )
    if energy is None or forces is None:
        raise ValueError("these structures have no energies or no forces")
    return Prediction(energy, forces, stress)


def _labelled(frames: Frames, prediction: Prediction) -> Frames:
    """Return structures with what was predicted of them."""
    arrays = [None if one is None else one.detach().cpu().numpy().astype(np.float64) for one in prediction]
    return frames.with_labels(*arrays)

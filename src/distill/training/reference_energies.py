"""Move a potential from its own level of theory to that of the data, by one energy per element.

Total energies of two codes or functionals differ mostly by a constant for every atom of an element; taking these
constants out first leaves the small and meaningful differences to fine-tuning. They are fitted to the structures, so
that they take up whatever of a difference in binding grows with the number of atoms. Where the compositions leave a
choice, the constants closest to the differences between isolated atoms are taken, and those closest to the model's own
values where there are no isolated atoms either. Isolated atoms alone would not do: many foundation models were never
fitted to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from distill.base.arrays import Array
from distill.potentials.interface.potential import Potential
from distill.structures.composition import element_counts, reduced_counts
from distill.structures.frames import Frames
from distill.structures.levels import mixed_levels


@dataclass(frozen=True)
class ReferenceShift:
    """What was added to the energy of each element.

    Attributes:
        shift: element symbol to eV per atom.
        determined: False where neither compositions nor isolated atoms determine all of the single shifts.
        residual: energy per atom left unexplained, data minus shifted potential, ``[B]`` eV/atom; NaN without a label.
        undetermined: symbols whose shift the data leave open; only sums of these, as in ``sums``, are determined.
        sums: the sums that are determined, for instance ``("2 H + O",)``, five at most.
        from_atoms: symbols whose isolated atoms settled what the compositions leave open.
        mixed: structures, as indices, that seem to come from another level of theory than others of their composition.
    """

    shift: dict[str, float]
    determined: bool
    residual: Array
    undetermined: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    from_atoms: tuple[str, ...] = ()
    mixed: tuple[int, ...] = field(default=())

    def text(self) -> str:
        """Return in words what was shifted, what is left open, and how much is unexplained."""
        shifts = ", ".join(f"{symbol} {value:+.3f} eV" for symbol, value in self.shift.items())
        root = float(np.sqrt(np.nanmean(self.residual**2)))
        sentences = [
            f"Reference energies were shifted by {shifts}; {1000 * root:.1f} meV/atom are left (root mean square)"
        ]
        if self.from_atoms:
            sentences.append(f"Isolated atoms of {', '.join(self.from_atoms)} settle what the compositions leave open")
        if self.undetermined:
            sentences.append(
                f"Only {' and '.join(self.sums)} is determined by the compositions: the single shifts of "
                f"{', '.join(self.undetermined)} are the smallest that give it, and energies of other compositions may "
                "be off; isolated atoms (data.isolated_atoms) would settle them"
            )
        if self.mixed:
            shown = ", ".join(map(str, self.mixed[:8])) + (", ..." if len(self.mixed) > 8 else "")
            sentences.append(
                f"The residual of structures {shown} is more than 1 eV/atom from that of others of their composition: "
                "likely a mix of levels of theory"
            )
        return ". ".join(sentences) + "."


def element_shift(frames: Frames, difference: Array, expected: Mapping[str, float] | None = None) -> ReferenceShift:
    """Fit one energy per element to energy differences by least squares per atom.

    Where compositions do not determine all elements, the solution closest to the shifts that are expected is taken.

    Args:
        frames: the structures.
        difference: energy of the data minus that of the potential, ``[B]`` eV; NaN where there is no label.
        expected: shifts that are expected, by symbol. What is open of the others is first fitted to what these leave,
            and is otherwise expected to be zero.
    """
    symbols = [chemical_symbols[z] for z in frames.elements]
    given = expected or {}
    every = element_counts(frames) / frames.n_atoms[:, None]
    known = np.isfinite(difference)
    fractions, target = every[known], (difference / frames.n_atoms)[known]
    free = np.array([symbol not in given for symbol in symbols], dtype=np.bool_)
    shift = np.array([given.get(symbol, 0.0) for symbol in symbols])
    shift[free] = _closest(fractions[:, free], target - fractions @ shift)
    shift += _closest(fractions, target - fractions @ shift)
    open_ = _names(symbols, free, _loose(fractions[:, free]))
    settled = _names(symbols, ~free, _loose(fractions)[~free])
    residual = difference / frames.n_atoms - every @ shift
    return ReferenceShift(
        shift={symbol: float(value) for symbol, value in zip(symbols, shift, strict=True)},
        determined=not open_,
        residual=residual,
        undetermined=open_,
        sums=_sums(frames[np.flatnonzero(known)], open_),
        from_atoms=settled,
        mixed=tuple(mixed_levels(frames, residual).tolist()),
    )


def _closest(fractions: Array, target: Array) -> Array:
    """Return the least-squares solution of ``fractions @ x = target`` closest to zero."""
    if not fractions.shape[1]:
        return np.zeros(0)
    solution: Array = np.linalg.lstsq(fractions, target, rcond=1e-8)[0]
    return solution


def _names(symbols: list[str], among: Array, chosen: Array) -> tuple[str, ...]:
    """Return the chosen ones among some of the symbols."""
    some = [symbol for symbol, is_one in zip(symbols, among, strict=True) if is_one]
    return tuple(symbol for symbol, is_chosen in zip(some, chosen, strict=True) if is_chosen)


def _loose(fractions: Array) -> Array:
    """Return for which columns the equations ``fractions @ x = target`` leave ``x`` open, ``[columns]``."""
    if not fractions.shape[1]:
        return np.zeros(0, dtype=np.bool_)
    _, singular, right = np.linalg.svd(fractions, full_matrices=True)
    rank = int((singular > 1e-8 * singular.max()).sum())
    return np.asarray(np.abs(right[rank:]).max(axis=0, initial=0.0) > 1e-6)


def _sums(frames: Frames, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sums of the given elements in the compositions there are, for instance ``2 H + O``."""
    found = []
    chosen = [chemical_symbols[z] in symbols for z in frames.elements]
    for counts in np.unique(reduced_counts(frames)[:, chosen], axis=0):
        terms = [f"{n} {s}" if n > 1 else s for s, n in zip(sorted(symbols, key=_number), counts, strict=True) if n]
        found += [" + ".join(terms)] if terms else []
    return tuple(dict.fromkeys(found))[:5]


def _number(symbol: str) -> int:
    return int(atomic_numbers[symbol])


def shift_reference(
    potential: Potential, frames: Frames, isolated_atoms: Mapping[str, float] | None = None
) -> ReferenceShift:
    """Shift the atomic reference energies of ``potential`` in place so that it meets the energies of ``frames``.

    Args:
        potential: what is shifted.
        frames: labelled structures.
        isolated_atoms: energies of isolated atoms at the data's level of theory, eV by symbol: where compositions leave
            a choice, the difference to the potential's own energy of the isolated atom is what is expected.

    Raises:
        ValueError: the frames have no energies.
    """
    if frames.energy is None:
        raise ValueError("these structures have no energies")
    predicted = potential.evaluate(frames, stress=False)
    assert predicted.energy is not None  # noqa: S101 - evaluate always gives energies
    expected = _atom_shifts(potential, frames, isolated_atoms or {})
    result = element_shift(frames, frames.energy - predicted.energy, expected)
    with torch.no_grad():
        for symbol, value in result.shift.items():
            potential.reference_energies[chemical_symbols.index(symbol)] += value
    return result


def _atom_shifts(potential: Potential, frames: Frames, isolated_atoms: Mapping[str, float]) -> dict[str, float]:
    """Return data minus potential for the isolated atoms of the elements in ``frames``, in eV."""
    present = {chemical_symbols[z] for z in frames.elements}
    symbols = [symbol for symbol in isolated_atoms if symbol in present]
    if not symbols:
        return {}
    predicted = potential.evaluate([Atoms(symbol) for symbol in symbols], stress=False)
    assert predicted.energy is not None  # noqa: S101 - evaluate always gives energies
    return {s: float(isolated_atoms[s] - e) for s, e in zip(symbols, predicted.energy, strict=True)}

"""Students behind LAMMPS' ML-IAP: the object that LAMMPS documents is emulated, a thread for each rank.

LAMMPS' KOKKOS package, by which features are exchanged, is in no wheel, so the emulation stands in for it: domains with
ghosts, both directions of pairs of atoms, one of an atom and a ghost, and exchanges that wait for all ranks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import distill
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.exporting.frames import certificate_frames
from distill.exporting.lammps.target import LammpsMliap
from distill.exporting.lammps.unified import Unified
from distill.exporting.target import Wanted
from distill.potentials.base import Architecture
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet
from distill.structures.neighbours import NeighbourSearch

ELEMENTS = (8, 14)


def untrained(architecture: type[Architecture]) -> Potential:
    """A student with random weights, energies of single atoms, and a repulsion that compressed crystals reach."""
    built = architecture.build(architecture.Settings(channels=8, layers=3, radial_features=5, cutoff=4.0), seed=1)
    built.elements = ELEMENTS
    with torch.no_grad():
        built.reference_energies[list(ELEMENTS)] = torch.tensor([-3.0, -4.5], dtype=torch.float64)
    return built.double().eval()


@dataclass
class Ranks:
    """All ranks together: where each waits for the others, and what they send."""

    count: int
    sent: dict[tuple[int, int], Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.count, timeout=60)


@dataclass
class Domain:
    """One rank's data: the attributes and methods of LAMMPS' ``MLIAPDataPy`` that are documented as read or called."""

    ranks: Ranks
    rank: int
    atoms: Array  # of the structure, that are this rank's
    ghosts: Array  # atoms of the structure that the ghosts are
    elems: Array | None
    pair_i: Array
    pair_j: Array
    rij: Array
    energy: float = 0.0
    exchanges: int = 0

    def __post_init__(self) -> None:
        self.nlistatoms, self.ntotal = len(self.atoms), len(self.atoms) + len(self.ghosts)
        self.npairs = len(self.pair_i)
        self.of_atoms = np.full(self.nlistatoms, np.nan)
        self.f = np.zeros((self.ntotal, 3))
        if not self.ntotal:
            self.elems = None  # LAMMPS has no memory there yet

    @property
    def eatoms(self) -> Array:
        """Energies of atoms; LAMMPS has no memory for them where there are none."""
        if not self.nlistatoms:
            raise ValueError("attempt to set NULL eatoms")
        return self.of_atoms

    @property
    def tags(self) -> Array:
        """The atoms of the structure that atoms and ghosts are."""
        return np.concatenate([self.atoms, self.ghosts]).astype(int)

    def shared(self, mine: Array) -> list[tuple[Array, Array]]:
        """Atoms and rows of every rank, this one's among them."""
        self.exchanges += 1
        self.ranks.sent[self.rank, 0], self.ranks.sent[self.rank, 1] = self.tags, mine
        self.ranks.barrier.wait()
        every = [(self.ranks.sent[rank, 0], self.ranks.sent[rank, 1].copy()) for rank in range(self.ranks.count)]
        self.ranks.barrier.wait()
        return every

    def forward_exchange(self, copy_from: torch.Tensor, copy_to: torch.Tensor, vec_len: int) -> None:
        """Rows of ghosts from their owners."""
        assert copy_from.shape == copy_to.shape == (self.ntotal, vec_len)
        copy_to.copy_(copy_from)
        owned = {}
        for tags, rows in self.shared(copy_from.numpy()[: self.nlistatoms]):
            owned.update(zip(tags, rows, strict=False))
        for k, tag in enumerate(self.ghosts):
            copy_to[self.nlistatoms + k] = torch.from_numpy(owned[tag])

    def reverse_exchange(self, copy_from: torch.Tensor, copy_to: torch.Tensor, vec_len: int) -> None:
        """Rows of ghosts to their owners, and zero here."""
        assert copy_from.shape == copy_to.shape == (self.ntotal, vec_len)
        copy_to.copy_(copy_from)
        copy_to[self.nlistatoms :] = 0
        padded = np.concatenate([0 * copy_from.numpy()[: self.nlistatoms], copy_from.numpy()[self.nlistatoms :]])
        where = {tag: k for k, tag in enumerate(self.atoms)}
        for tags, rows in self.shared(padded):
            for tag, row in zip(tags, rows, strict=True):
                if tag in where:
                    copy_to[where[tag]] += torch.from_numpy(row)

    def update_pair_forces(self, fij: torch.Tensor) -> None:
        """Forces on both ends of all pairs."""
        assert fij.dtype == torch.float64 and fij.shape == (self.npairs, 3) and fij.is_contiguous()
        np.add.at(self.f, self.pair_i, fij.numpy())
        np.add.at(self.f, self.pair_j, -fij.numpy())
        self.virial = self.rij.T @ fij.numpy()


def domains(atoms: Atoms, cutoff: float, elements: list[int], count: int) -> list[Domain]:
    """The structure cut into slabs of its x axis, as many as there are ranks but one, which has none."""
    i, j, shifts, vectors = NeighbourSearch(cutoff).pairs(atoms.positions, atoms.cell.array, atoms.pbc, "ijSD")
    both = [(i, j, shifts, vectors), (j, i, -shifts, -vectors)]
    i, j, shifts, vectors = (np.concatenate(one) for one in zip(*both, strict=True))
    order, filled = np.argsort(atoms.positions[:, 0]), max(1, count - 1)
    ranks, made = Ranks(count), []
    for rank, own in enumerate([*np.array_split(order, filled), np.zeros(0, int)][:count]):
        places = {(int(tag), 0, 0, 0): k for k, tag in enumerate(own)}
        mine = np.flatnonzero(np.isin(i, own))
        keys = [(int(j[e]), *map(int, shifts[e])) for e in mine]
        for key in keys:
            places.setdefault(key, len(places))
        tags = np.array([key[0] for key in places], dtype=int)
        made.append(
            Domain(
                ranks,
                rank,
                own,
                tags[len(own) :],
                np.array([elements.index(z) for z in atoms.numbers[tags]], dtype=np.int32),
                np.array([places[int(i[e]), 0, 0, 0] for e in mine], dtype=np.int32),
                np.array([places[key] for key in keys], dtype=np.int32),
                np.ascontiguousarray(vectors[mine], dtype=float).reshape(-1, 3),
            )
        )
    return made


def in_threads(work: Callable[[Domain], None], every: list[Domain]) -> None:
    """Do the same for each rank at once."""
    failures: list[BaseException] = []

    def guarded(domain: Domain) -> None:
        try:
            work(domain)
        except BaseException as error:
            domain.ranks.barrier.abort()
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(domain,)) for domain in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("architecture", [PaiNN, TensorNet])
def test_domains_say_what_the_whole_structure_does(architecture: type[Architecture], tmp_path: Path) -> None:
    """To rounding, on one, two and four ranks of which the last is empty; each loads the file, as in LAMMPS."""
    student, program, wanted = untrained(architecture), LammpsMliap(), Wanted()
    program.check(student, wanted)
    program.write(student, tmp_path, wanted)
    frames = certificate_frames(ELEMENTS, student.cutoff)
    for name in ("triclinic cell", "compressed to 0.8 of its volume"):
        atoms = frames[name]
        ours = student.evaluate([atoms])
        for count in (1, 2, 4):
            every = domains(atoms, student.cutoff, list(ELEMENTS), count)

            def compute(domain: Domain) -> None:
                torch.load(tmp_path / "model.pt", weights_only=False).compute_forces(domain)

            in_threads(compute, every)
            forces = np.zeros((len(atoms), 3))
            for domain in every:
                np.add.at(forces, domain.tags, domain.f)
            virial = sum(domain.virial for domain in every if domain.npairs)
            energies = np.concatenate([domain.of_atoms for domain in every])
            assert energies.sum() == pytest.approx(sum(domain.energy for domain in every), abs=1e-10)
            assert energies.sum() == pytest.approx(ours.energy[0], rel=1e-12)
            assert forces == pytest.approx(ours.forces, abs=1e-10)
            assert (virial + virial.T) / 2 / atoms.get_volume() == pytest.approx(ours.stress[0], abs=1e-12)
            assert len({domain.exchanges for domain in every}) == 1, "every rank takes part in each exchange"
            assert every[0].exchanges == 2 * (2 if architecture is PaiNN else 3)


def test_single_precision_is_close(tmp_path: Path) -> None:
    student = untrained(PaiNN)
    atoms = certificate_frames(ELEMENTS, student.cutoff)["triclinic cell"]
    (domain,) = domains(atoms, student.cutoff, list(ELEMENTS), 1)
    ours = student.evaluate([atoms])
    Unified(student, "single").compute_forces(domain)
    assert domain.energy == pytest.approx(ours.energy[0], abs=1e-5)
    assert domain.energy != pytest.approx(ours.energy[0], abs=1e-12)


def test_an_export_says_that_it_was_not_run(tmp_path: Path) -> None:
    save(untrained(PaiNN), tmp_path / "silica", {})
    done = distill.export(tmp_path / "silica", "lammps-mliap", out=tmp_path / "out")
    assert done.passed is None and done.certificate["verdict"].startswith("not run: it needs a GPU")
    readme = (tmp_path / "out" / "lammps-mliap" / "README.md").read_text()
    assert "was not run on a GPU" in readme and "It is a pickle" in readme
    example = (tmp_path / "out" / "lammps-mliap" / "in.example").read_text()
    assert "pair_style mliap unified model.pt 0\npair_coeff * * O Si\n" in example


def test_a_lammps_without_exchange_and_other_students_are_refused(tmp_path: Path) -> None:
    class Serial:
        """The data of LAMMPS without KOKKOS."""

    with pytest.raises(UserError, match=r"does not exchange features.*lmp -k on"):
        Unified(untrained(PaiNN)).compute_forces(Serial())  # type: ignore[arg-type]
    from ase.calculators.emt import EMT

    from distill.potentials.workers.calculator_potential import GivenCalculator

    with pytest.raises(UserError, match="PaiNN and TensorNet students alone"):
        LammpsMliap().check(GivenCalculator(EMT()), Wanted())

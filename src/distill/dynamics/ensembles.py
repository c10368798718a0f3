"""Ensembles: which of ASE's integrators samples each, and the whole state of one, so that a run goes on where it stood.

NVE is velocity Verlet. NVT is Langevin in its BAOAB form (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102, 2013),
whose averages over positions are nearly free of the error of the time step, or stochastic velocity rescaling (Bussi,
Donadio and Parrinello, J. Chem. Phys. 126, 014101, 2007), which hardly disturbs diffusion and spectra. NPT is that of
Martyna, Tobias and Klein (J. Chem. Phys. 101, 4177, 1994), of the volume alone or of the whole cell.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.dynamics.programme import Programme, checked_programme

Kind = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "bussi"]
Barostat = Literal["isotropic", "full"]

_CHAINS = ("_thermostat._eta", "_thermostat._p_eta", "_barostat._xi", "_barostat._p_xi")
HIDDEN = {
    "VelocityVerlet": (),
    "LangevinBAOAB": (),
    "Bussi": ("transferred_energy",),
    "IsotropicMTKNPT": ("_q", "_p", "_eps", "_p_eps", "_cell0", "_volume0", *_CHAINS),
    "MTKNPT": ("_q", "_p", "_h", "_p_g", *_CHAINS),
}
"""What integrators know besides the atoms and the random numbers."""


@dataclass(frozen=True)
class Ensemble:
    """What is held constant, and how.

    Attributes:
        kind: nve, nvt or npt.
        temperature: K; of NVE the temperature of the first velocities.
        thermostat: of NVT: langevin for averages of structures, bussi for diffusion and spectra.
        thermostat_fs: time in which the thermostat acts, fs; Langevin's friction is its inverse.
        pressure: of NPT, GPa.
        barostat: of NPT: isotropic for liquids, whose cell would lose its shape, full for crystals.
        barostat_fs: time in which the barostat acts, fs.
        programme: of NVT and NPT: times (ps, ascending) and temperatures (K) that follow the first one. Between two the
            temperature is a straight line, two at one time are a step, and after the last it stays. It is changed at
            every sample.
    """

    kind: Kind = "nvt"
    temperature: float = 300.0
    thermostat: Thermostat = "langevin"
    thermostat_fs: float = 100.0
    pressure: float = 0.0
    barostat: Barostat = "isotropic"
    barostat_fs: float = 1000.0
    programme: Programme = ()

    def __post_init__(self) -> None:
        for name, known in (("kind", Kind), ("thermostat", Thermostat), ("barostat", Barostat)):
            if getattr(self, name) not in get_args(known):
                raise UserError(
                    f"unknown {name} {getattr(self, name)!r}", remedy=f"One of {', '.join(get_args(known))}"
                )
        for name in ("temperature", "thermostat_fs", "barostat_fs"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise UserError(f"{name} must be positive, and is {value:g}")
        object.__setattr__(self, "programme", checked_programme(self.programme, self.kind))

    def temperature_at(self, ps: float) -> float:
        """Return the temperature at a time, K."""
        times, kelvin = zip((0.0, self.temperature), *self.programme, strict=True)
        return float(np.interp(ps, times, kelvin))

    @property
    def hottest(self) -> float:
        """The highest temperature, K."""
        return max([self.temperature, *(kelvin for _, kelvin in self.programme)])

    def as_data(self) -> dict[str, Any]:
        """Return what of it changes a run, JSON-able."""
        used = {
            "nve": ("kind", "temperature"),
            "nvt": ("kind", "temperature", "thermostat", "thermostat_fs"),
            "npt": ("kind", "temperature", "thermostat_fs", "pressure", "barostat", "barostat_fs"),
        }[self.kind]
        programme = {"programme": [list(node) for node in self.programme]} if self.programme else {}
        return {name: value for name, value in asdict(self).items() if name in used} | programme


def integrator(atoms: Atoms, ensemble: Ensemble, timestep_fs: float, rng: np.random.Generator) -> MolecularDynamics:
    """Return ASE's integrator of an ensemble for atoms with velocities and a calculator.

    Args:
        atoms: what moves.
        ensemble: what is held constant.
        timestep_fs: fs.
        rng: random stream of the thermostat.

    Raises:
        UserError: NPT of a structure that is not periodic in three directions, or with fixed atoms.
    """
    step, damping = timestep_fs * units.fs, ensemble.thermostat_fs * units.fs
    if ensemble.kind == "nve":
        return VelocityVerlet(atoms, step)
    if ensemble.kind == "nvt" and ensemble.thermostat == "langevin":
        return LangevinBAOAB(atoms, step, temperature_K=ensemble.temperature, T_tau=damping, rng=rng)
    if ensemble.kind == "nvt":
        return Bussi(atoms, step, ensemble.temperature, taut=damping, rng=rng)
    if not atoms.pbc.all():
        raise UserError("a pressure needs a structure that is periodic in three directions", remedy="Use nvt")
    if atoms.constraints:
        raise UserError("NPT moves all atoms, and some are fixed", remedy="Use nvt, or free them")
    of_cell = IsotropicMTKNPT if ensemble.barostat == "isotropic" else MTKNPT
    return of_cell(
        atoms,
        step,
        temperature_K=ensemble.temperature,
        pressure_au=ensemble.pressure * units.GPa,
        tdamp=damping,
        pdamp=ensemble.barostat_fs * units.fs,
    )


def retargeted(
    dynamics: MolecularDynamics, ensemble: Ensemble, temperature: float, timestep_fs: float, rng: np.random.Generator
) -> MolecularDynamics:
    """Return an integrator that goes on from where one is, at another temperature."""
    fresh = integrator(dynamics.atoms, replace(ensemble, temperature=temperature, programme=()), timestep_fs, rng)
    put_back_hidden(fresh, state_of(dynamics, rng))
    return fresh


def state_of(dynamics: MolecularDynamics, rng: np.random.Generator) -> dict[str, Array]:
    """Return everything that the next steps depend on, as arrays: a run that is restored goes on bit for bit."""
    atoms = dynamics.atoms
    random = json.dumps(rng.bit_generator.state).encode()
    hidden = {f"hidden.{name}": np.array(_inner(dynamics, name)) for name in HIDDEN[type(dynamics).__name__]}
    return {
        "positions": atoms.positions.copy(),
        "momenta": atoms.get_momenta(),
        "cell": atoms.cell.array.copy(),
        "random": np.frombuffer(random, dtype=np.uint8),
        **hidden,
    }


def put_back(atoms: Atoms, rng: np.random.Generator, state: dict[str, Array]) -> None:
    """Give atoms and the random stream the state that they had, before the integrator is made."""
    atoms.set_cell(state["cell"])
    atoms.positions = state["positions"]
    atoms.set_momenta(state["momenta"], apply_constraint=False)
    rng.bit_generator.state = json.loads(state["random"].tobytes())


def put_back_hidden(dynamics: MolecularDynamics, state: dict[str, Array]) -> None:
    """Give the integrator the state that it had."""
    for name in HIDDEN[type(dynamics).__name__]:
        *parts, last = name.split(".")
        owner: Any = dynamics
        for part in parts:
            owner = getattr(owner, part)
        value = state[f"hidden.{name}"]
        setattr(owner, last, float(value) if value.ndim == 0 else value.copy())


def _inner(owner: Any, name: str) -> Any:
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner

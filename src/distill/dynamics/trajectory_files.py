"""A trajectory on disk: parts that are each whole or not there, and the state that the next one begins from.

``run.json`` says what is run, ``part-00000.npz`` and so on hold the samples, ``state.npz`` all that the next step
depends on in double precision. Parts are written before the state that counts them, so that after a kill a part that no
state counts is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.files import is_whole_zip, replacing
from distill.base.sealed import DamagedError, read_sealed, write_sealed

RUN, STATE = "run.json", "state.npz"


class TrajectoryFolder:
    """The folder of one run of dynamics.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def said(self) -> dict[str, Any] | None:
        """Return what ``run.json`` says, None where there is none."""
        try:
            return read_sealed(self.path / RUN)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            raise UserError(str(error), remedy="Move the folder away and run again") from None

    def say(self, what: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_sealed(self.path / RUN, what)

    def state(self) -> dict[str, Array] | None:
        """Return what the last whole part ended with, None before the first.

        Raises:
            UserError: it, or a part that it counts, is damaged.
        """
        path = self.path / STATE
        if not path.exists():
            return None
        counted = self._arrays(path)
        for number in range(int(counted["parts"])):
            if not self._part(number).exists() or not is_whole_zip(self._part(number)):
                raise UserError("is missing or damaged", str(self._part(number)), "Move the folder away and run again")
        return counted

    def keep(self, state: Mapping[str, Array]) -> None:
        """Write the state that the next part begins from."""
        self._write(self.path / STATE, state)

    def add_part(self, number: int, samples: Mapping[str, Array]) -> None:
        """Write a part."""
        self._write(self._part(number), samples, compress=True)

    def parts(self) -> Iterator[dict[str, Array]]:
        """Yield the arrays of all parts that the state counts, in order."""
        state = self.state()
        for number in range(int(state["parts"]) if state else 0):
            yield self._arrays(self._part(number))

    def column(self, name: str) -> Array:
        """Return one quantity of all samples, as one array."""
        return np.concatenate([part[name] for part in self.parts()])

    def snapshots(self, every: int = 1) -> Iterator[Atoms]:
        """Yield every ``every``-th sample as ASE atoms, positions unwrapped; energy and time are in ``info``."""
        said, count = self.said(), 0
        if said is None:
            raise UserError("is no folder of dynamics", str(self.path), f"It has no {RUN}")
        for part in self.parts():
            for k in range(len(part["step"])):
                if count % every == 0:
                    cell = part["cell"][k] if "cell" in part else said["cell"]
                    atoms = Atoms(said["numbers"], part["positions"][k].astype(np.float64), cell=cell, pbc=said["pbc"])
                    if "velocities" in part:
                        atoms.set_velocities(part["velocities"][k].astype(np.float64))
                    atoms.info = {
                        "time_fs": float(part["step"][k]) * said["timestep_fs"],
                        "md_energy": float(part["energy"][k]),
                        "md_temperature": float(part["temperature"][k]),
                    }
                    yield atoms
                count += 1

    def _part(self, number: int) -> Path:
        return self.path / f"part-{number:05d}.npz"

    @staticmethod
    def _write(path: Path, arrays: Mapping[str, Array], compress: bool = False) -> None:
        with replacing(path) as temporary:
            (np.savez_compressed if compress else np.savez)(temporary, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def _arrays(path: Path) -> dict[str, Array]:
        if not is_whole_zip(path):
            raise UserError("is damaged", str(path), "Move the folder away and run again")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

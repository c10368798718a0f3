"""ACE by the C++ evaluator of pacemaker's package pyace, behind :mod:`distill.potentials.workers.protocol`.

An expansion is known by its basis in pacemaker's YAML: functions, radial functions, coefficients. From it come the file
that simulation codes read (``.yace``), energies with their derivatives, and, with an active set (Lysogorskiy et al.,
Phys. Rev. Mater. 7, 043801, 2023), the extrapolation grade of every atom: up to 1 inside the training data, above 1 out
of them. TensorFlow is not needed here; fitting is in :mod:`distill.potentials.workers.ace_fit`.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

if __package__:
    from distill.potentials.workers.protocol import Server, WorkerError, describe, module, serve, versions
else:  # a script: its folder is on the path, and this package may not be installed
    from protocol import Server, WorkerError, describe, module, serve, versions  # type: ignore[import-not-found,no-redef]

SKIN = 0.5
"""Å; how much further than the cutoff neighbours of a single structure are listed, to be used at its next positions."""

REPULSION_WIDTH = 0.1
"""Å; over which the repulsion of nuclei takes over from the expansion."""

SHARED = 2000
"""Atoms from which on structures are shared out to processes."""

PACKAGES = {"pyace": "python-ace", "tensorpotential": "tensorpotential", "tensorflow": "tensorflow", "numpy": "numpy"}
"""Module and distribution."""


# ---- bases ----------------------------------------------------------------------------------------------------------


def make_basis(potential: dict[str, Any], repulsion: dict[str, float], seed: int | None) -> Any:
    """Return a basis whose coefficients are zero, or, with a seed, small random numbers.

    Args:
        potential: the ``potential`` section of pacemaker's input.
        repulsion: distance, Å, at which the repulsion of nuclei begins, for each pair of elements as in ``"O Si"``.
        seed: of the coefficients.

    Raises:
        WorkerError: pacemaker does not accept it.
    """
    import numpy as np

    pyace = module("pyace", "python-ace")
    try:
        configuration = pyace.create_multispecies_basis_config(potential)
        for block in configuration.funcspecs_blocks:
            names = sorted(block.block_name.split())
            distance = repulsion.get(" ".join(names * 2 if len(names) == 1 else names))
            if distance is not None and len(names) < 3:
                block.inner_cutoff_type, block.core_rep_parameters = "zbl", (1, 1)
                block.r_in, block.delta_in, block.rho_cut, block.drho_cut = distance, REPULSION_WIDTH, 1.0, 1.0
        basis = pyace.ACEBBasisSet(configuration)
    except Exception as error:
        raise WorkerError("input", f"pacemaker cannot make the basis ({describe(error)})") from error
    if seed is not None:
        coefficients = np.array(basis.all_coeffs)
        n_radial = len(basis.crad_coeffs)
        drawn = np.random.default_rng(seed).normal(size=len(coefficients) - n_radial)
        coefficients[n_radial:] = 0.02 * drawn
        basis.all_coeffs = coefficients
    return basis


def read_basis(text: str) -> Any:
    """Return the basis of pacemaker's YAML."""
    pyace = module("pyace", "python-ace")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "basis.yaml")
        with open(path, "w") as file:
            file.write(text)
        return pyace.ACEBBasisSet(path)


def basis_text(basis: Any) -> str:
    """Return pacemaker's YAML of a basis."""
    return _saved(basis.to_BBasisConfiguration().save)


def yace_text(basis: Any, reference_energies: dict[str, float]) -> str:
    """Return the ``.yace`` file of a basis; energies of single atoms, eV, are part of it."""
    text = _saved(basis.to_ACECTildeBasisSet().save_yaml)
    energies = ", ".join(repr(float(reference_energies[name])) for name in basis.elements_name)
    lines = [f"E0: [{energies}]" if line.startswith("E0:") else line for line in text.split("\n")]
    return "\n".join(lines)


def _saved(save: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "saved")
        save(path)
        with open(path) as file:
            return file.read()


# ---- environments ---------------------------------------------------------------------------------------------------


class Neighbourhood:
    """Neighbours of the atoms of one structure as the evaluator wants them, for these positions and for close ones.

    Structures that are not periodic in all directions are put into a box of empty space there.

    Args:
        numbers: ``[N]``. positions: ``[N, 3]`` Å. cell: ``[3, 3]`` Å. pbc: ``[3]``.
        cutoff: Å.
        kinds: index of an element by its atomic number.
    """

    def __init__(self, numbers: Any, positions: Any, cell: Any, pbc: Any, cutoff: float, kinds: dict[int, int]) -> None:
        import numpy as np

        build = module("pyace.catomicenvironment", "python-ace").build_atomic_env
        self.numbers, self.cell, self.pbc, self.positions = numbers, cell, pbc, np.array(positions)
        box = periodic_box(self.positions, cell, pbc, cutoff)
        self.environment = build(self.positions, box, np.array(numbers), True, cutoff)
        self.environment.species_type = [kinds[int(z)] for z in self.environment.species_type]
        self._origins = np.array(self.environment.origins)
        self._shifts = np.array(self.environment.x) - self.positions[self._origins]

    def holds(self, numbers: Any, positions: Any, cell: Any, pbc: Any) -> bool:
        """Return whether neighbours that were listed up to a skin still contain all within the cutoff."""
        import numpy as np

        same = np.array_equal(numbers, self.numbers) and np.array_equal(pbc, self.pbc)
        if not same or not np.array_equal(cell, self.cell):
            return False
        return bool(np.square(positions - self.positions).sum(axis=1).max() < (SKIN / 2) ** 2)

    def move(self, positions: Any) -> None:
        """Put the atoms elsewhere."""
        self.environment.x = (positions[self._origins] + self._shifts).tolist()  # a list is read faster than an array


def periodic_box(positions: Any, cell: Any, pbc: Any, cutoff: float) -> Any:
    """Return a cell that repeats only where the structure does: elsewhere no image is within the cutoff."""
    import numpy as np
    from ase.geometry import complete_cell

    box = np.array(complete_cell(np.where(np.asarray(pbc)[:, None], cell, 0.0)))
    for k in range(3):
        if not pbc[k]:
            along = box[k] / np.linalg.norm(box[k])
            heights = positions @ along
            box[k] = along * (np.ptp(heights) + 2 * cutoff + 1.0)
    return box


# ---- evaluation -----------------------------------------------------------------------------------------------------


class Evaluator:
    """Energies, forces, virials and extrapolation grades of one basis.

    Args:
        basis: of pyace.
        active_set: content of pacemaker's ``.asi`` file, or None: then there are no grades.
    """

    def __init__(self, basis: Any, active_set: bytes | None = None) -> None:
        from ase.data import atomic_numbers

        evaluators = module("pyace.evaluator", "python-ace")
        self.calculators = module("pyace.calculator", "python-ace")
        self.cutoff = float(basis.cutoffmax)
        self.kinds = {atomic_numbers[name]: k for k, name in enumerate(basis.elements_name)}
        tables = basis.to_ACECTildeBasisSet()
        fast = evaluators.ACERecursiveEvaluator(tables)
        fast.set_recursive(True)
        self._kept = [basis, tables, fast]  # C++ only points to them
        self._fast, self._graded = self._calculator(fast), None
        if active_set is not None:
            slow = evaluators.ACEBEvaluator(basis)
            with tempfile.NamedTemporaryFile(suffix=".asi") as file:
                file.write(active_set)
                file.flush()
                slow.load_active_set(file.name)
            self._kept.append(slow)
            self._graded = self._calculator(slow)

    def _calculator(self, evaluator: Any) -> Any:
        calculator = self.calculators.ACECalculator()
        calculator.set_evaluator(evaluator)
        return calculator

    def neighbourhood(self, structure: tuple[Any, ...], skin: float = 0.0) -> Neighbourhood:
        """Return the neighbours of a structure given as numbers, positions, cell and pbc."""
        numbers, positions, cell, pbc = structure
        return Neighbourhood(numbers, positions, cell, pbc, self.cutoff + skin, self.kinds)

    def energy(self, near: Neighbourhood) -> tuple[float, Any, Any]:
        """Return energy eV, forces ``[N, 3]`` eV/Å and virial ``[3, 3]`` eV, which is the stress times the volume."""
        import numpy as np

        self._fast.compute(near.environment, compute_projections=False)
        xx, yy, zz, xy, xz, yz = self._fast.virial
        virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return float(self._fast.energy), np.array(self._fast.forces).reshape(-1, 3), virial

    def grades(self, near: Neighbourhood) -> Any:
        """Return the extrapolation grade of each atom ``[N]``."""
        import numpy as np

        if self._graded is None:
            raise WorkerError("input", "there is no active set")
        self._graded.compute(near.environment, compute_projections=True)
        return np.array(self._graded.gamma_grade, dtype=float)


def structures(batch: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return numbers, positions, cell and pbc of each structure of a batch."""
    import numpy as np

    ends = np.cumsum(batch["n_atoms"])
    atoms = [slice(end - n, end) for end, n in np.stack([ends, batch["n_atoms"]], axis=1)]
    return [
        (batch["numbers"][own], batch["positions"][own], batch["cells"][k], batch["pbc"][k])
        for k, own in enumerate(atoms)
    ]


_EVALUATOR: Any = None
"""What the processes of a pool evaluate with; they are forks, so that nothing has to travel."""


def _energy_of(structure: tuple[Any, ...]) -> tuple[float, Any, Any]:
    return _EVALUATOR.energy(_EVALUATOR.neighbourhood(structure))


def _grades_of(structure: tuple[Any, ...]) -> Any:
    return _EVALUATOR.grades(_EVALUATOR.neighbourhood(structure))


class ACEServer(Server):
    """Holds a basis between requests, and the neighbours of the latest structure that came alone."""

    basis: Any = None
    evaluator: Any = None
    _pool: Any = None
    _latest: Any = None
    does = ("handshake", "make", "size", "evaluate", "grades", "active_set", "yace")

    def handshake(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open a basis, unless it is to be made; ``threads`` is how many processes may evaluate at once."""
        import logging

        module("pyace", "python-ace")
        logging.getLogger().setLevel(logging.WARNING)  # pyace sets it for everybody
        self.threads = int(request["threads"])
        if request.get("basis"):
            self.basis = read_basis(request["basis"])
            self.evaluator = Evaluator(self.basis, request.get("active_set"))
        return {"versions": versions(PACKAGES)}

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the basis of pacemaker's ``potential`` section, with random coefficients where a seed is given."""
        basis = make_basis(request["potential"], request["repulsion"], request.get("seed"))
        return {"basis": basis_text(basis)}

    def size(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return how many coefficients the basis has."""
        return {"coefficients": len(self.basis.all_coeffs)}

    def evaluate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return energies ``[B]``, forces ``[N, 3]`` and virials ``[B, 3, 3]`` of a batch."""
        import numpy as np

        every = structures(request)
        results = [self._again(every[0])] if len(every) == 1 else self._map(_energy_of, every)
        return {
            "energy": np.array([energy for energy, _, _ in results]),
            "forces": np.concatenate([forces for _, forces, _ in results]),
            "virial": np.array([virial for _, _, virial in results]),
        }

    def grades(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the extrapolation grade of each atom of a batch ``[N]``."""
        import numpy as np

        return {"grades": np.concatenate(self._map(_grades_of, structures(request)))}

    def _again(self, structure: tuple[Any, ...]) -> tuple[float, Any, Any]:
        """Return what :meth:`Evaluator.energy` does, with the neighbours of the latest structure where they hold."""
        if self._latest is not None and self._latest.holds(*structure):
            self._latest.move(structure[1])
        else:
            self._latest = self.evaluator.neighbourhood(structure, SKIN)
        return self.evaluator.energy(self._latest)

    def _map(self, function: Any, every: list[tuple[Any, ...]]) -> list[Any]:
        """Return what a function gives for each structure, from several processes where that pays."""
        global _EVALUATOR
        import multiprocessing

        _EVALUATOR = self.evaluator
        if self.threads < 2 or len(every) < 2 or sum(len(one[0]) for one in every) < SHARED:
            return [function(one) for one in every]
        if self._pool is None:
            self._pool = multiprocessing.get_context("fork").Pool(self.threads)
        return self._pool.map(function, every, chunksize=max(1, len(every) // (4 * self.threads)))

    def active_set(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the ``.asi`` file of the structures, and for each element its atoms and functions.

        The file is empty where an element has fewer atoms than functions.
        """
        import numpy as np

        learning = module("pyace.activelearning", "python-ace")
        environments = [self.evaluator.neighbourhood(one).environment for one in structures(request)]
        atoms = learning.count_number_total_atoms_per_species_type(environments)
        names = list(self.basis.elements_name)
        functions = learning.compute_number_of_functions(self.basis)
        counts = {name: [int(atoms.get(k, 0)), int(functions[k])] for k, name in enumerate(names)}
        if any(n_atoms < n_functions for n_atoms, n_functions in counts.values()):
            return {"active_set": b"", "counts": counts}
        values = sum(n_atoms * n_functions for n_atoms, n_functions in counts.values())
        batches = min(len(environments), 1 + values * 8 // 500_000_000)
        if batches > 1:
            _, chosen = learning.compute_active_set_by_batches(self.basis, environments, n_batches=batches)
        else:
            projections = learning.compute_B_projections(self.basis, environments)
            projections = projections[0] if isinstance(projections, tuple) else projections
            chosen = learning.compute_active_set(projections)
        inverse = learning.compute_A_active_inverse(chosen)
        with tempfile.NamedTemporaryFile(suffix=".asi") as file:
            np.savez(file, **{names[k]: matrix for k, matrix in inverse.items()})
            file.flush()
            file.seek(0)
            return {"active_set": file.read(), "counts": counts}

    def yace(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the ``.yace`` file; ``reference_energies`` are energies of single atoms by element, eV."""
        return {"yace": yace_text(self.basis, request["reference_energies"])}


if __name__ == "__main__":
    serve(ACEServer())

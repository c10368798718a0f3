"""Loss and gradient of ACE by tensorpotential, pacemaker's engine, behind :mod:`distill.potentials.workers.protocol`.

TensorFlow lives in this process alone. The loss is pacemaker's (Bochkarev et al., Phys. Rev. Mater. 6, 013804, 2022),

    (1 - kappa) sum_s w_s ((E_s - E_s^ref) / N_s)^2 + kappa sum_i w_i |F_i - F_i^ref|^2,

with weights of the structures and of the atoms in a batch that sum up to one where all are alike. kappa is part of the
weights that are handed to TensorFlow, so that one compiled function serves every phase of a fit.
"""

from __future__ import annotations

import os
from typing import Any

if __package__:
    from distill.potentials.workers.ace import PACKAGES, Evaluator, basis_text, periodic_box, read_basis, structures
    from distill.potentials.workers.protocol import Server, WorkerError, describe, module, serve, versions
else:  # a script: its folder is on the path, and this package may not be installed
    from ace import (  # type: ignore[import-not-found,no-redef]
        PACKAGES,
        Evaluator,
        basis_text,
        periodic_box,
        read_basis,
        structures,
    )
    from protocol import Server, WorkerError, describe, module, serve, versions  # type: ignore[import-not-found,no-redef]

ENGINE = "tensorpotential.compat.pace"


def start_tensorflow(device: str, threads: int) -> Any:
    """Import TensorFlow for one device, with its own words kept down, and return it."""
    kind, _, index = device.partition(":")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = (index or "0") if kind == "cuda" else "-1"
    module("tensorpotential", "tensorpotential")  # first: it chooses Keras
    tensorflow = module("tensorflow", "tensorflow")
    tensorflow.get_logger().setLevel("ERROR")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    if kind == "cuda" and not tensorflow.config.list_physical_devices("GPU"):
        raise WorkerError("input", "TensorFlow finds no GPU", "Install tensorflow[and-cuda], or run with --device cpu")
    return tensorflow


def pairs_of(structure: tuple[Any, ...], cutoff: float) -> dict[str, Any] | None:
    """Return a structure as tensorpotential wants it, None where an atom has no neighbour."""
    import numpy as np

    search = module("pyace.catomicenvironment", "python-ace").get_nghbrs_tp_atoms
    numbers, positions, cell, pbc = structure
    box = periodic_box(positions, cell, pbc, cutoff)
    found = search(np.array(positions), box, np.array(numbers), True, cutoff)
    if found[5] is not True:
        return None
    return {
        "_ind_i": found[0],
        "_ind_j": found[1],
        "_mu_i": found[2],
        "_mu_j": found[3],
        "_offsets": found[4].astype(np.float64),
        "_positions": found[6].astype(np.float64),
        "_cell": box[None],
    }


class ACEFitServer(Server):
    """Holds structures with their labels, and an expansion whose coefficients come with each request.

    Requests name structures by their numbers in the opening; those that cannot be fitted, because an atom has no
    neighbour, are not among ``usable``.
    """

    _loss: Any = None
    does = ("handshake", "gradient", "errors", "basis", "pacemaker")

    def handshake(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open basis and data: arrays of structures, ``energy`` [B] eV without those of single atoms, ``forces``.

        ``energy_weights`` [B] and ``force_weights`` [N] say how much structures and atoms count: not at all where they
        have no label.
        """
        import logging

        import numpy as np

        self.tensorflow = start_tensorflow(request["device"], int(request["threads"]))
        module("pyace", "python-ace")
        logging.getLogger().setLevel(logging.ERROR)
        self.target = read_basis(request["basis"])
        self.n_atoms = np.array(request["n_atoms"])
        self.first = np.cumsum(self.n_atoms) - self.n_atoms
        self.energy, self.forces = np.array(request["energy"]), np.array(request["forces"])
        self.energy_weights, self.force_weights = request["energy_weights"], request["force_weights"]
        self.every = structures(request)
        self.data = [pairs_of(one, float(self.target.cutoffmax)) for one in self.every]
        evaluator = Evaluator(self.target)
        self.near = [evaluator.neighbourhood(one) for one in self.every]
        for k, entry in enumerate(self.data):
            if entry is not None:
                entry["_energy"] = self.energy[k].reshape(1, 1)
                entry["_forces"] = self.forces[self._atoms(k)]
        coefficients = np.array(self.target.all_coeffs)
        return {
            "versions": versions(PACKAGES),
            "coefficients": coefficients,
            "radial": len(self.target.crad_coeffs),
            "usable": np.array([k for k, entry in enumerate(self.data) if entry is not None], dtype=np.int64),
        }

    def _atoms(self, k: int) -> slice:
        return slice(self.first[k], self.first[k] + self.n_atoms[k])

    def gradient(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return loss and gradient of ``structures``, which together are one batch, at ``coefficients``.

        ``kappa`` is the share of the forces. Memory is that of ``at_once`` structures. Energies, eV [S], and forces,
        eV/Å, that TensorFlow finds come along.
        """
        import numpy as np

        chosen, kappa = request["structures"], float(request["kappa"])
        n_atoms = max(1, sum(np.count_nonzero(self.force_weights[self._atoms(k)]) for k in chosen))
        loss, gradient = 0.0, np.zeros(len(request["coefficients"]))
        energies, forces = [], []
        for start in range(0, len(chosen), int(request["at_once"])):
            part = chosen[start : start + int(request["at_once"])]
            for k in part:
                energy = (1 - kappa) * self.energy_weights[k] / len(chosen)
                self.data[k]["_eweights"] = np.full((1, 1), energy)
                self.data[k]["_fweights"] = kappa * self.force_weights[self._atoms(k)][:, None] / n_atoms
            found = self._of_batch(request["coefficients"], [self.data[k] for k in part])
            value, derivative, energy, force = (tensor.numpy() for tensor in found)
            loss, gradient = loss + float(value), gradient + derivative
            energies.append(energy[:, 0])
            forces.append(force)
        return {
            "loss": loss,
            "gradient": gradient,
            "energy": np.concatenate(energies),
            "forces": np.concatenate(forces),
        }

    def _of_batch(self, coefficients: Any, entries: list[dict[str, Any]]) -> Any:
        """Return loss, gradient, energies and forces of structures whose weights are set."""
        import numpy as np

        if self._loss is None:
            self._loss = self._compile()
        batch = module(f"{ENGINE}.utils.utilities", "tensorpotential").supply_batch(entries)
        try:
            return self._loss.external_fit(np.array(coefficients), batch)
        except self.tensorflow.errors.ResourceExhaustedError as error:
            raise WorkerError("memory", describe(error)) from error

    def _compile(self) -> Any:
        """Return tensorpotential's function of this basis; it is traced when it is first called.

        None of its Python depends on the values of tensors. AutoGraph, which would translate such Python, and to that
        end goes through every line, only takes time.
        """
        keys = module(f"{ENGINE}.constants", "tensorpotential")
        potential = module(f"{ENGINE}.potentials.ace", "tensorpotential").ACE(self.target.to_BBasisConfiguration())
        specification = {
            keys.LOSS_TYPE: "per-atom",
            keys.LOSS_ENERGY_FACTOR: 1.0,
            keys.LOSS_FORCE_FACTOR: 1.0,
            keys.L1_REG: 0.0,
            keys.L2_REG: 0.0,
        }
        untranslated = self.tensorflow.autograph.experimental.do_not_convert

        class Potential(module(f"{ENGINE}.tensorpot", "tensorpotential").TensorPotential):  # type: ignore[misc]
            def decorate_evaluate_loss(self) -> None:
                self._evaluate_loss: Any = untranslated(super()._evaluate_loss)
                super().decorate_evaluate_loss()

        return Potential(potential, loss_specs=specification)

    def errors(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return for each of ``structures`` the error of its energy, eV/atom [S], and of its forces, eV/Å [atoms, 3].

        They come from the C++ evaluator, whatever neighbours the atoms have.
        """
        import numpy as np

        self.target.all_coeffs = np.array(request["coefficients"])
        evaluator = Evaluator(self.target)
        energy, forces = [], []
        for k in request["structures"]:
            total, found, _ = evaluator.energy(self.near[k])
            energy.append((total - self.energy[k]) / self.n_atoms[k])
            forces.append(found - self.forces[self._atoms(k)])
        return {"energy": np.array(energy), "forces": np.concatenate(forces)}

    def basis(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the basis with ``coefficients`` as pacemaker's YAML."""
        import numpy as np

        self.target.all_coeffs = np.array(request["coefficients"])
        return {"basis": basis_text(self.target)}

    def pacemaker(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let pacemaker fit ``structures`` by its ``fit`` and ``backend`` sections, from ``coefficients`` on.

        Every iteration is reported, with its coefficients and the errors of ``judged`` where the basis is the whole
        one. Returns the last coefficients.
        """
        import numpy as np

        general = module("pyace.generalfit", "python-ace")
        self.target.all_coeffs = np.array(request["coefficients"])
        whole = len(request["coefficients"])

        def tell(basis_config: Any, **facts: Any) -> None:
            coefficients = np.array(basis_config.get_all_coeffs())
            loss = float(fit.fit_backend.fitter.last_fit_metric_data["loss"])
            progress: dict[str, Any] = {"loss": loss, "n_coefficients": len(coefficients)}
            if len(coefficients) == whole:
                progress["coefficients"] = coefficients
                progress["errors"] = self.errors({"coefficients": coefficients, "structures": request["judged"]})
            self.report(progress)

        os.chdir(request["folder"])  # pacemaker writes beside itself
        fit = general.GeneralACEFit(
            self.target.to_BBasisConfiguration(),
            dict(request["fit"]),
            self._frame(request["structures"], request["fit"].get("weighting")),
            {"evaluator": "tensorpot", **request["backend"]},
            callbacks=[tell],
        )
        basis = module("pyace.basis", "python-ace").ACEBBasisSet(fit.fit())
        return {"coefficients": np.array(basis.all_coeffs)}

    def _frame(self, chosen: Any, weighting: Any) -> Any:
        """Return the data frame that pacemaker fits, with weights by its policy where one is asked for."""
        import numpy as np
        import pandas
        from ase import Atoms

        prepare = module("pyace.preparedata", "python-ace")
        rows = []
        for k in chosen:
            entry, n = self.data[k], int(self.n_atoms[k])
            numbers, positions, cell, pbc = self.every[k]
            rows.append(
                {
                    "ase_atoms": Atoms(numbers, positions=positions, cell=cell, pbc=pbc),
                    "pbc": bool(pbc.all()),
                    "tp_atoms": entry,
                    "forces": self.forces[self._atoms(k)],
                    "energy_corrected": float(self.energy[k]),
                    "energy_corrected_per_atom": float(self.energy[k]) / n,
                    "NUMBER_OF_ATOMS": n,
                    "w_energy": float(self.energy_weights[k]),
                    "w_forces": np.array(self.force_weights[self._atoms(k)]),
                }
            )
        frame = pandas.DataFrame(rows)
        if weighting is not None:
            frame = prepare.apply_weights(frame, weighting)
        prepare.normalize_energy_forces_weights(frame)
        return frame


if __name__ == "__main__":
    serve(ACEFitServer())

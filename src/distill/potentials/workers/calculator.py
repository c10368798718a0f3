"""An ASE calculator behind the workers' protocol: structures in, energies, forces and stresses out.

This file is also the script that another interpreter runs. Calculators in this process are opened and asked by the same
functions.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

if __package__:
    from distill.potentials.workers.protocol import (
        Server,
        WorkerError,
        describe,
        module,
        see,
        serve,
        structure,
        versions,
    )
else:  # a script: its folder is on the path, and this package may not be installed
    from protocol import (  # type: ignore[import-not-found,no-redef]
        Server,
        WorkerError,
        describe,
        module,
        see,
        serve,
        structure,
        versions,
    )

# ---- calculators ----------------------------------------------------------------------------------------------------


def open_calculator(model: str, file: str | None, function: str, device: str) -> Any:
    """Return the ASE calculator of a model.

    Args:
        model: its name, as in a recipe.
        file: of weights or of Python code, if any.
        function: for ``ase``: ``module:function``, or the function alone where ``file`` is a Python file.
        device: as torch names it; what calls a function has no use for it.

    Raises:
        WorkerError: there is no such model or function, or a package is missing.
    """
    family = family_of(model)
    if family is None:
        raise WorkerError("input", f"{model} cannot run in an environment of its own", f"Known: {', '.join(FAMILIES)}")
    return FAMILIES[family](model, file, function, device)


def family_of(model: str) -> str | None:
    """Return the key of :data:`FAMILIES` that a model belongs to."""
    return next((name for name in FAMILIES if model == name or model.startswith(f"{name}-")), None)


def on_device(device: str) -> str:
    """Return the device once this interpreter's torch is known to have it."""
    if device.startswith("cuda") and not module("torch", "torch").cuda.is_available():
        remedy = "Install a CUDA build of torch there, or run with --device cpu"
        raise WorkerError("input", f"its torch cannot use the device {device}", remedy)
    return device


def call_function(model: str, file: str | None, function: str, device: str) -> Any:
    """Return what the user's function returns, if that is a calculator."""
    name = function if file else function.partition(":")[2]
    source = load_file(file) if file else load_module(function)
    maker = getattr(source, name, None)
    place = file or function.partition(":")[0]
    if maker is None:
        raise WorkerError("input", f"{place} has no function {name!r}", "Write ase:<module or file.py>:<function>")
    if not callable(maker):
        remedy = "It has to be a function without arguments that returns an ASE calculator"
        raise WorkerError(
            "input", f"{name!r} in {place} cannot be called, it is of type {type(maker).__name__}", remedy
        )
    try:
        calculator = maker()
    except Exception as error:
        remedy = "It is called without arguments and has to return an ASE calculator"
        raise WorkerError("input", f"{name}() in {place} failed ({describe(error)})", remedy) from error
    if not hasattr(calculator, "get_potential_energy") or hasattr(calculator, "get_positions"):
        what = f"{name}() in {place} returned no ASE calculator, but an object of type {type(calculator).__name__}"
        raise WorkerError("input", what, "Return the calculator itself, for instance ase.calculators.emt.EMT()")
    return calculator


def load_file(file: str) -> Any:
    """Run a Python file and return it as a module; like a script, it can import its neighbours."""
    path = os.path.abspath(file)
    if not os.path.isfile(path):
        raise WorkerError("input", f"there is no file {file}", "Write ase:<file.py>:<function>")
    name = f"calculator_file_{os.path.basename(path)[:-3]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise WorkerError("input", f"{file} is not a Python file", "Write ase:<file.py>:<function>")
    see(os.path.dirname(path))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        raise WorkerError("input", f"running {file} failed ({describe(error)})") from error
    return loaded


def load_module(function: str) -> Any:
    """Import the module of ``module:function`` from the Python path, or from the current folder."""
    name, _, inside = function.partition(":")
    if not inside:
        raise WorkerError("input", f"{function!r} names no function", "Write ase:<module or file.py>:<function>")
    see(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            remedy = "Write ase:<file.py>:<function>, or put its folder on PYTHONPATH"
            raise WorkerError("input", f"there is no module {name!r}", remedy) from error
        raise WorkerError("input", f"importing {name} failed ({describe(error)})") from error
    except Exception as error:
        raise WorkerError("input", f"importing {name} failed ({describe(error)})") from error


def uma(model: str, file: str | None, function: str, device: str) -> Any:
    """UMA; the name ends in the task (level of theory), inorganic materials if it does not."""
    fairchem = module("fairchem.core", "fairchem-core")
    tasks = [task for task in ("omol", "omc", "oc20", "odac") if model.endswith(f"-{task}")]
    name = model[: -len(tasks[0]) - 1] if tasks else model
    unit = fairchem.pretrained_mlip.get_predict_unit(name, device=on_device(device).partition(":")[0])
    return fairchem.FAIRChemCalculator(unit, task_name=tasks[0] if tasks else "omat")


def chgnet(model: str, file: str | None, function: str, device: str) -> Any:
    """CHGNet, by the package that publishes it."""
    package = module("chgnet.model", "chgnet")
    dynamics = module("chgnet.model.dynamics", "chgnet")
    version = {"chgnet-0.3": "0.3.0"}.get(model, model.partition("-")[2])
    network = package.CHGNet.load(model_name=version, use_device=on_device(device), verbose=False)
    return dynamics.CHGNetCalculator(network, use_device=device)


FAMILIES: dict[str, Any] = {
    "ase": call_function,
    "uma": uma,
    "chgnet": chgnet,
}
"""What makes the calculator of each family of models; a model is its family's name, or begins with it and a hyphen."""


# ---- evaluation -----------------------------------------------------------------------------------------------------


def evaluate(calculator: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Return energies ``[B]`` eV, forces ``[N, 3]`` eV/Å and stresses ``[B, 3, 3]`` eV/Å³ in double precision.

    Args:
        calculator: of ASE.
        batch: arrays ``n_atoms [B]``, ``numbers [N]``, ``positions [N, 3]``, ``cells [B, 3, 3]``, ``pbc [B, 3]``, and
            ``stress``: whether it is wanted. It is NaN where the calculator has none, and where the structure is not
            periodic in three directions.

    Raises:
        WorkerError: the calculator failed on a structure, or gave something that is not finite, not real, or not one
            energy and a force for each atom.
    """
    import numpy as np

    ends = np.cumsum(batch["n_atoms"])
    energy, forces = np.zeros(len(ends)), np.zeros((len(batch["numbers"]), 3))
    stress = np.full((len(ends), 3, 3), np.nan)
    for k, end in enumerate(ends):
        begin = end - batch["n_atoms"][k]
        atoms = structure(batch, k, begin, end)
        atoms.calc = calculator
        try:
            if batch["stress"] and atoms.pbc.all() and atoms.cell.rank == 3:
                stress[k] = real(stress_of(atoms), (3, 3), "stress", k)
            forces[begin:end] = real(atoms.get_forces(), (len(atoms), 3), "forces", k)
            energy[k] = real(atoms.get_potential_energy(), (), "energy", k)
        except WorkerError:
            raise
        except Exception as error:
            raise WorkerError("structure", f"the calculator failed ({describe(error)})", structure=k) from error
        infinite = [
            name
            for name, value in (("energy", energy[k]), ("force on an atom", forces[begin:end]), ("stress", stress[k]))
            if not (np.isfinite(value).all() or (name == "stress" and np.isnan(value).all()))
        ]
        if infinite:
            raise WorkerError("result", f"the {infinite[0]} that the calculator gave is not finite", structure=k)
    return {"energy": energy, "forces": forces, "stress": stress}


def real(value: Any, shape: tuple[int, ...], name: str, k: int) -> Any:
    """Return a result of structure ``k`` as real numbers of a shape, as which no other shape passes.

    Raises:
        WorkerError: it is none.
    """
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        kind = "complex numbers" if array.dtype.kind == "c" else f"of type {array.dtype}"
        raise WorkerError("result", f"the {name} that the calculator gave are {kind}, not real ones", structure=k)
    if array.shape != shape and not (array.size == 1 and shape == ()):
        what = f"the {name} that the calculator gave have shape {array.shape}, not {shape}"
        raise WorkerError("result", what, structure=k)
    return array.astype(np.float64).reshape(shape)


def stress_of(atoms: Any) -> Any:
    """Return the stress ``[3, 3]``, NaN where the calculator has none."""
    import numpy as np
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return atoms.get_stress(voigt=False)
    except (PropertyNotImplementedError, NotImplementedError):
        return np.full((3, 3), np.nan)


def has_stress(calculator: Any) -> bool:
    """Return whether the calculator says that it knows the stress; one that says nothing is asked each time."""
    return "stress" in getattr(calculator, "implemented_properties", ["stress"])


def facts(calculator: Any) -> dict[str, Any]:
    """Return the versions of the packages that a calculator may be made of, and whether it has a stress."""
    return {"versions": versions(PACKAGES), "stress": has_stress(calculator)}


# ---- the process ----------------------------------------------------------------------------------------------------


class CalculatorServer(Server):
    """Holds the calculator between requests."""

    does = ("handshake", "evaluate")

    def handshake(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open the calculator and say what it is made of."""
        self.calculator = open_calculator(request["model"], request["file"], request["function"], request["device"])
        return facts(self.calculator)

    def evaluate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what :func:`evaluate` does."""
        return evaluate(self.calculator, request)


PACKAGES = {
    "ase": "ase",
    "numpy": "numpy",
    "torch": "torch",
    "e3nn": "e3nn",
    "sevenn": "sevenn",
    "fairchem": "fairchem-core",
    "chgnet": "chgnet",
    "mace": "mace-torch",
}
"""Module and distribution."""


if __name__ == "__main__":
    serve(CalculatorServer())

"""Runs an ASE calculator for another process: batches of structures come in, energies, forces and stresses go out.

This file is also the script that another interpreter runs, where this package is not installed: it imports the standard
library, numpy, ase, msgpack and the model's own package, all but the first inside functions, and keeps to Python 3.9.

A message is eight bytes of length and a msgpack map; arrays travel as their bytes. The pipes are moved away from
descriptors 0 and 1 before anything is imported, so that nothing a package prints gets between. When the incoming pipe
closes, whoever started this is gone, and it ends at once with all processes that it started.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from typing import Any

READY = b"\0distill worker 1\n"
"""Written once everything but the model is there; what an interpreter prints before is skipped."""

MISSING = 3
"""Exit status where a package is missing that is needed to answer at all; its name is the last thing said."""

NEEDED = ("msgpack", "numpy", "ase")
LENGTH = struct.Struct(">Q")


class Refusal(Exception):
    """Why there is no answer.

    Args:
        kind: ``"input"`` (what was asked for is wrong), ``"missing"`` (``what`` is the package that is not installed),
            ``"structure"`` (the calculator failed on one structure) or ``"work"`` (anything else).
        what: what is wrong, one clause.
        remedy: what can be done about it.
        structure: which structure of the batch.
    """

    def __init__(self, kind: str, what: str, remedy: str = "", structure: int = 0) -> None:
        super().__init__(what)
        self.kind, self.what, self.remedy, self.structure = kind, what, remedy, structure

    def as_data(self) -> dict[str, Any]:
        """Return what travels, the traceback included."""
        trace = "".join(traceback.format_exception(type(self), self, self.__traceback__))
        return {
            "kind": self.kind,
            "what": self.what,
            "remedy": self.remedy,
            "structure": self.structure,
            "trace": trace,
        }


def describe(error: BaseException) -> str:
    """Return an exception as one line."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first}"


# ---- calculators ----------------------------------------------------------------------------------------------------


def open_calculator(model: str, file: str | None, function: str, device: str) -> Any:
    """Return the ASE calculator of a model.

    Args:
        model: its name, as in a recipe.
        file: of weights or of Python code, if any.
        function: for ``ase``: ``module:function``, or the function alone where ``file`` is a Python file.
        device: as torch names it; what calls a function has no use for it.

    Raises:
        Refusal: there is no such model or function, or a package is missing.
    """
    family = family_of(model)
    if family is None:
        raise Refusal("input", f"{model} cannot run in an environment of its own", f"Known: {', '.join(FAMILIES)}")
    return FAMILIES[family](model, file, function, device)


def family_of(model: str) -> str | None:
    """Return the key of :data:`FAMILIES` that a model belongs to."""
    return next((name for name in FAMILIES if model == name or model.startswith(f"{name}-")), None)


def module(name: str, distribution: str) -> Any:
    """Import a module of a model's package; a package that is not there is named as pip knows it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0]:
            raise Refusal("missing", distribution) from error
        raise


def on_device(device: str) -> str:
    """Return the device once this interpreter's torch is known to have it."""
    if device.startswith("cuda") and not module("torch", "torch").cuda.is_available():
        remedy = "Install a CUDA build of torch there, or run with --device cpu"
        raise Refusal("input", f"its torch cannot use the device {device}", remedy)
    return device


def call_function(model: str, file: str | None, function: str, device: str) -> Any:
    """Return what the user's function returns, if that is a calculator."""
    name = function if file else function.partition(":")[2]
    source = load_file(file) if file else load_module(function)
    maker = getattr(source, name, None)
    place = file or function.partition(":")[0]
    if maker is None:
        raise Refusal("input", f"{place} has no function {name!r}", "Write ase:<module or file.py>:<function>")
    if not callable(maker):
        remedy = "It has to be a function without arguments that returns an ASE calculator"
        raise Refusal("input", f"{name!r} in {place} cannot be called, it is of type {type(maker).__name__}", remedy)
    try:
        calculator = maker()
    except Exception as error:
        remedy = "It is called without arguments and has to return an ASE calculator"
        raise Refusal("input", f"{name}() in {place} failed ({describe(error)})", remedy) from error
    if not hasattr(calculator, "get_potential_energy") or hasattr(calculator, "get_positions"):
        what = f"{name}() in {place} returned no ASE calculator, but an object of type {type(calculator).__name__}"
        raise Refusal("input", what, "Return the calculator itself, for instance ase.calculators.emt.EMT()")
    return calculator


def load_file(file: str) -> Any:
    """Run a Python file and return it as a module; like a script, it can import its neighbours."""
    path = os.path.abspath(file)
    if not os.path.isfile(path):
        raise Refusal("input", f"there is no file {file}", "Write ase:<file.py>:<function>")
    name = f"calculator_file_{os.path.basename(path)[:-3]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Refusal("input", f"{file} is no Python file", "Write ase:<file.py>:<function>")
    see(os.path.dirname(path))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        raise Refusal("input", f"running {file} failed ({describe(error)})") from error
    return loaded


def load_module(function: str) -> Any:
    """Import the module of ``module:function`` from the Python path, or from the current folder."""
    name, _, inside = function.partition(":")
    if not inside:
        raise Refusal("input", f"{function!r} names no function", "Write ase:<module or file.py>:<function>")
    see(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            remedy = "Write ase:<file.py>:<function>, or put its folder on PYTHONPATH"
            raise Refusal("input", f"there is no module {name!r}", remedy) from error
        raise Refusal("input", f"importing {name} failed ({describe(error)})") from error
    except Exception as error:
        raise Refusal("input", f"importing {name} failed ({describe(error)})") from error


def see(folder: str) -> None:
    """Let modules be imported from a folder, after everything else."""
    if folder not in sys.path:
        sys.path.append(folder)


def sevennet(model: str, file: str | None, function: str, device: str) -> Any:
    """SevenNet; of the multi-fidelity network, the name ends in the level of theory."""
    package = module("sevenn.calculator", "sevenn")
    head = "sevennet-mf-0-"
    name, level = (head[:-1], model[len(head) :].upper()) if model.startswith(head) else (model, None)
    return package.SevenNetCalculator(name, device=on_device(device), modal=level)


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


def mace(model: str, file: str | None, function: str, device: str) -> Any:
    """MACE from a file that its package wrote, in the precision that the file is in."""
    package = module("mace.calculators", "mace-torch")
    return package.MACECalculator(model_paths=file, device=on_device(device))


FAMILIES: dict[str, Any] = {
    "ase": call_function,
    "sevennet": sevennet,
    "uma": uma,
    "chgnet": chgnet,
    "mace": mace,
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
        Refusal: the calculator failed on a structure, or gave something that is not finite.
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
                stress[k] = stress_of(atoms)
            forces[begin:end] = atoms.get_forces()
            energy[k] = atoms.get_potential_energy()
        except Exception as error:
            raise Refusal("structure", f"the calculator failed ({describe(error)})", structure=k) from error
        infinite = [
            name
            for name, value in (("energy", energy[k]), ("force on an atom", forces[begin:end]), ("stress", stress[k]))
            if not (np.isfinite(value).all() or (name == "stress" and np.isnan(value).all()))
        ]
        if infinite:
            raise Refusal("structure", f"the {infinite[0]} that the calculator gave is not finite", structure=k)
    return {"energy": energy, "forces": forces, "stress": stress}


def structure(batch: dict[str, Any], k: int, begin: int, end: int) -> Any:
    """Return structure ``k`` of a batch as ASE knows it."""
    from ase import Atoms

    return Atoms(
        batch["numbers"][begin:end],
        positions=batch["positions"][begin:end],
        cell=batch["cells"][k],
        pbc=batch["pbc"][k],
    )


def stress_of(atoms: Any) -> Any:
    """Return the stress ``[3, 3]``, or NaN where the calculator has none."""
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return atoms.get_stress(voigt=False)
    except (PropertyNotImplementedError, NotImplementedError):
        return float("nan")


def has_stress(calculator: Any) -> bool:
    """Return whether the calculator says that it knows the stress; one that says nothing is asked each time."""
    return "stress" in getattr(calculator, "implemented_properties", ["stress"])


# ---- messages -------------------------------------------------------------------------------------------------------


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as it travels."""
    import msgpack

    body = msgpack.packb(message, default=_array_as_map)
    return LENGTH.pack(len(body)) + body


def receive(pipe: Any) -> dict[str, Any] | None:
    """Return the next message of a pipe that is read in blocks; None where it has closed."""
    import msgpack

    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = pipe.read(size)
    if len(body) < size:
        return None
    message: dict[str, Any] = msgpack.unpackb(body, object_hook=_map_as_array)
    return message


def _array_as_map(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def _map_as_array(found: dict[str, Any]) -> Any:
    import numpy as np

    if found.keys() != {"dtype", "shape", "data"}:
        return found
    return np.frombuffer(found["data"], dtype=found["dtype"]).reshape(found["shape"])


# ---- the process ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Answer requests until the incoming pipe closes."""
    sys.path[:] = [folder for folder in sys.path if folder != os.path.dirname(os.path.abspath(__file__))]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the keyboard is the starter's business
    requests, answers = take_pipes()
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            traceback.print_exc()
            print(error.name or name, file=sys.stderr)
            sys.exit(MISSING)
    answers.write(READY)
    answers.flush()
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=listen, args=(requests, waiting), daemon=True).start()
    server = Server()
    while True:
        answers.write(pack(server.answer(waiting.get())))
        answers.flush()


def take_pipes() -> tuple[Any, Any]:
    """Return the pipes of the messages on fresh descriptors; 0 becomes empty and 1 goes where 2 goes."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def listen(requests: Any, waiting: queue.Queue[dict[str, Any]]) -> None:
    """Pass requests on; end the process, and all that it started, when there are no more."""
    while (message := receive(requests)) is not None:
        waiting.put(message)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


class Server:
    """Holds the calculator between requests."""

    def __init__(self) -> None:
        self.calculator: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request, or the error that it met."""
        try:
            return self.hello(request) if request["do"] == "hello" else evaluate(self.calculator, request)
        except Refusal as refusal:
            return {"error": refusal.as_data()}
        except Exception as error:
            unforeseen = Refusal("work", describe(error))
            unforeseen.__cause__ = error
            return {"error": unforeseen.as_data()}

    def hello(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open the calculator and say what it is made of."""
        self.calculator = open_calculator(request["model"], request["file"], request["function"], request["device"])
        return {"versions": versions(), "stress": has_stress(self.calculator)}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a calculator may be made of, where they are loaded."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name, distribution in PACKAGES.items():
        if name in sys.modules:
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:
                continue
    return found


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
    main()

"""Teachers that are ASE calculators: the user's own, and foundation models that run in an interpreter of their own.

They label and generate, which needs energies, forces and stresses, but have no gradients that a fit could use. Packages
that conflict with ours (SevenNet and fairchem want another e3nn than MACE) live in a virtual environment that
:func:`commands` says how to make; what runs there is :mod:`distill.potentials.workers.calculator`.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials import POTENTIALS
from distill.potentials.base import MATERIALS_PROJECT, Architecture, PotentialSettings, Source
from distill.potentials.teachers.weights import Weights
from distill.potentials.workers.calculator import FAMILIES, family_of

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
UMA_ACCESS = "accept it at huggingface.co/facebook/UMA, then log in: hf auth login"


class ExternalSettings(PotentialSettings):
    """Where the calculator is."""

    model: str = ""
    """Name of the model, as in a recipe; that of the row if empty."""
    file: str | None = None
    """File of weights or of Python code."""
    sha256: str = ""
    """Of that file."""
    function: str = ""
    """``module:function`` that returns the calculator, or the function alone where the file is a Python file."""
    environment: str | None = None
    """Python interpreter that it runs in; this one if null."""


class External(Architecture):
    """Any ASE calculator, here or in another interpreter: ``ase:<module:function>`` or ``ase:<file.py:function>``.

    The function takes no arguments. Modules are looked for on the Python path and in the current folder.

    Class attributes:
        packages: what to install into an interpreter of its own, besides what the worker needs.
        folder: the name of the folder that :func:`commands` makes the interpreter in.
        same_torch: whether it works with the version of torch that is installed here; others choose their own.
    """

    name = "ase"
    role = "teacher"
    reference = "A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)"
    licence = "of the calculator"
    level_of_theory = "of the calculator"
    argument = "function"
    trains = False
    Settings = ExternalSettings
    packages: ClassVar[tuple[str, ...]] = ()
    folder: ClassVar[str] = ""
    same_torch: ClassVar[bool] = True

    @classmethod
    def network(cls, settings: Any) -> Potential:
        """Return the potential; its calculator is opened when it is first needed."""
        from distill.potentials.networks.external import ExternalPotential

        name = settings.model or cls.name
        row = POTENTIALS[name]
        return ExternalPotential(
            name,
            settings,
            elements=row.elements,
            weights=row.weights if isinstance(row.weights, Weights) else None,
            install=remedy(row, settings.environment),
            origin={"licence": row.licence, "level_of_theory": row.level_of_theory},
        )

    @classmethod
    def open(cls, source: Source, seed: int) -> Potential:
        """Return the potential that a recipe names; what can be wrong with its interpreter or file is looked at.

        Raises:
            UserError: the model cannot run in another interpreter, or interpreter or file is not there.
        """
        row = POTENTIALS[source.model]
        owner = row if issubclass(row, External) else External
        if family_of(source.model) is None:
            known = ", ".join(FAMILIES)
            what = f"{source.model} cannot run in an environment of its own"
            raise UserError(what, "teacher.environment", f"Leave it out; it can be given for: {known}")
        file = str(Path(source.file).absolute()) if source.file else None
        if file and not Path(file).is_file():
            raise UserError("there is no such file", where=str(source.file), remedy="Correct teacher.model")
        settings = ExternalSettings(
            model=source.model,
            file=file,
            sha256=hash_file(Path(file)) if file else "",
            function=source.function,
            environment=interpreter(source.environment, row) if source.environment else None,
        )
        return owner.create(settings, seed)


class SevenNet0(External):
    """SevenNet-0, whose weights come with its package."""

    name = "sevennet-0"
    reference = "Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024)"
    licence = "MIT (package sevenn 0.13)"
    level_of_theory = "PBE and PBE+U (Materials Project)"
    elements = MATERIALS_PROJECT
    parameters = 842_623
    argument = ""
    own_environment = True
    packages = ("sevenn",)
    folder = "sevennet"


class SevenNetL3I5(SevenNet0):
    """SevenNet-l3i5: spherical harmonics up to degree 3, five rounds; slower and more accurate than SevenNet-0."""

    name = "sevennet-l3i5"
    parameters = 1_171_327


class SevenNetMF0PBE(SevenNet0):
    """SevenNet-MF-0, fitted to two levels of theory at once; this is its PBE."""

    name = "sevennet-mf-0-pbe"
    reference = "J. Kim et al., J. Am. Chem. Soc. 147, 1042 (2025)"
    parameters = 846_168


class SevenNetMF0R2SCAN(SevenNetMF0PBE):
    """SevenNet-MF-0, fitted to two levels of theory at once; this is its r²SCAN."""

    name = "sevennet-mf-0-r2scan"
    level_of_theory = "r2SCAN (Materials Project)"


class UMA(External):
    """UMA (small, 1.1) for inorganic materials; its weights are given out after a login and a licence."""

    name = "uma-s-1p1"
    reference = "B. M. Wood et al., arXiv:2506.23971 (2025)"
    licence = f"FAIR Chemistry v1 ({UMA_ACCESS})"
    level_of_theory = "PBE and PBE+U (OMat24)"
    argument = ""
    own_environment = True
    packages = ("fairchem-core",)
    folder = "fairchem"
    same_torch = False


class UMAMolecularCrystals(UMA):
    """UMA (small, 1.1) for molecular crystals."""

    name = "uma-s-1p1-omc"
    level_of_theory = "PBE-D3 (OMC25)"


class UMAMolecules(UMA):
    """UMA (small, 1.1) for molecules, taken for neutral and without unpaired electrons; no stress."""

    name = "uma-s-1p1-omol"
    level_of_theory = "ωB97M-V/def2-TZVPD (OMol25)"


# ---- environments ---------------------------------------------------------------------------------------------------


def environments() -> dict[str, Any]:
    """Return the first row of those that share an interpreter of their own, by the name of its folder."""
    return {row.folder: row for row in reversed(list(POTENTIALS.values())) if row.own_environment}


def environment_folder(row: Any) -> Path:
    """Return where :func:`commands` makes the environment of a row."""
    return Path("~", ".distill", "envs", row.folder if issubclass(row, External) and row.folder else row.name)


def commands(row: Any, python: str | None = None) -> tuple[str, str]:
    """Return the two commands that make the environment of a row and install what it needs.

    The build of torch is the one that is installed here: where that is the one without CUDA, so is the other, which
    spares gigabytes.

    Args:
        row: of the table of potentials.
        python: an interpreter that exists, instead of the one that the first command makes.
    """
    folder = environment_folder(row)
    own = row.packages if issubclass(row, External) else row.requires
    packages, index = [*own, "ase", "msgpack"], ""
    if own and (torch := _torch()):
        on_cpu = torch.endswith("+cpu")
        if getattr(row, "same_torch", True):
            packages.insert(0, f"torch=={torch if on_cpu else torch.partition('+')[0]}")
        index = f"--extra-index-url {CPU_INDEX} " if on_cpu else ""
    install = f"{python or folder / 'bin' / 'python'} -m pip install {index}{' '.join(packages)}"
    return f"python3 -m venv {folder}", install


def _torch() -> str:
    """Return the version of torch here, with its build after a plus sign; nothing where it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def remedy(row: Any, python: str | None) -> str:
    """Return what to do where an interpreter, or a package in it, is missing."""
    if python and Path(python).is_file():
        return f"Run: {commands(row, python)[1]}"
    return f"Run: {' && '.join(commands(row))}"


def interpreter(environment: str, row: Any) -> str:
    """Return the path of the interpreter that a recipe names; a virtual environment's folder stands for its own.

    A link is not followed: a virtual environment's interpreter is one, and is found by its place.

    Raises:
        UserError: there is none.
    """
    path = Path(os.path.abspath(Path(environment).expanduser()))
    if path.is_dir():
        path = path / "bin" / "python"
    if not os.access(path, os.X_OK):
        what = "there is no Python interpreter" if not path.exists() else "it cannot be executed"
        raise UserError(f"{what} at {path}", where="teacher.environment", remedy=remedy(row, None))
    return str(path)

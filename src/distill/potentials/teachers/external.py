"""Teachers of other packages: ASE calculators of the user's, and models that run in an interpreter of their own.

Calculators label and generate, but have no gradients that a fit could use. Packages that conflict with ours (SevenNet
and fairchem want another e3nn than MACE) live in a virtual environment that ``distill doctor`` makes. What runs there
is :mod:`distill.potentials.workers.networks` for families that have an adapter, which are fine-tuned like any teacher,
and :mod:`distill.potentials.workers.calculator` for all else.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.consent import Consent, refused
from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials import POTENTIALS
from distill.potentials.base import MATERIALS_PROJECT, Architecture, TeacherSource
from distill.potentials.settings import PotentialSettings
from distill.potentials.settings.external import ExternalSettings
from distill.potentials.teachers.weights import Weights, fetch
from distill.potentials.workers import networks
from distill.potentials.workers.calculator import FAMILIES, family_of
from distill.potentials.workers.environments import allowed, interpreter, remedy
from distill.potentials.workers.places import Place

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

UMA_ACCESS = "accept it at huggingface.co/facebook/UMA, then log in: hf auth login"


class External(Architecture):
    """Any ASE calculator, here or in another interpreter: ``ase:<module:function>`` or ``ase:<file.py:function>``.

    The function takes no arguments. Modules are looked for on the Python path and in the current folder.
    """

    name = "ase"
    role = "teacher"
    reference = "A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)"
    licence = "of the calculator"
    level_of_theory = "of the calculator"
    argument = "function"
    trains = False
    Settings = ExternalSettings

    @classmethod
    def network(cls, settings: Any) -> Potential:
        """Return the potential; its calculator or its network is opened when it is first needed."""
        place = place_of(cls, settings)
        row = POTENTIALS[place.name]
        origin = {"licence": row.licence, "level_of_theory": row.level_of_theory}
        if settings.network is not None:
            from distill.potentials.workers.remote_potential import RemotePotential

            return RemotePotential(place, settings.network, origin)
        from distill.potentials.workers.calculator_potential import ExternalPotential

        return ExternalPotential(place, elements=row.elements, origin=origin)

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the potential that a recipe names; what can be wrong with its interpreter or file is looked at.

        Raises:
            UserError: the model cannot run in another interpreter, or interpreter or file is not there.
        """
        row = POTENTIALS[source.model]
        owner = row if issubclass(row, External) else External
        if not (row.fits_elsewhere or family_of(source.model)):
            known = ", ".join(sorted({*FAMILIES, *networks.FAMILIES}))
            what = f"{source.model} cannot run in an environment of its own"
            raise UserError(what, "teacher.environment", f"Leave it out; it can be given for: {known}")
        file = source.existing_file().absolute() if source.file else None
        settings = ExternalSettings(
            model=source.model,
            file=str(file) if file else None,
            sha256=hash_file(file) if file else "",
            function=source.function,
            environment=interpreter(source.environment, row) if source.environment else None,
        )
        if settings.environment and row.fits_elsewhere:
            return published_network(owner, settings)
        return owner.create(settings, seed)

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path, consent: Consent) -> Potential:
        """Return the potential that was saved in ``folder``, with the function, the file and the interpreter allowed.

        Raises:
            UserError: nobody but the folder names the function or the file, or nobody names the interpreter.
        """
        if not isinstance(settings, ExternalSettings):
            raise TypeError(f"these are no settings of {cls.name}")
        row = POTENTIALS[settings.model or cls.name]
        file = allowed_file(settings, row.name, folder, consent)
        environment = allowed(consent, row, settings.environment)
        if (row.own_environment or settings.network is not None) and environment is None:
            what = f"{row.name} runs in an interpreter of its own, and one that the folder names is not started"
            raise UserError(what, str(folder), "Give it: environment=..., or --environment on the command line")
        return cls.create(settings.model_copy(update={"file": file, "environment": environment}))


def published_network(owner: type[External], settings: ExternalSettings) -> Potential:
    """Return the network that a package has published, with its weights, as a potential that can be fitted.

    Raises:
        UserError: file, interpreter or package is missing.
        WorkError: the network cannot be opened.
    """
    from distill.potentials.interface.gradient_free import failure_as_error
    from distill.potentials.workers.network_worker import NetworkWorker
    from distill.potentials.workers.protocol import WorkerError
    from distill.potentials.workers.remote_potential import RemotePotential

    place = place_of(owner, settings)
    worker = NetworkWorker(place, "cpu")
    try:
        potential = owner.create(settings.model_copy(update={"network": worker.settings()}))
        if isinstance(potential, RemotePotential):
            potential.start_from(worker)
    except WorkerError as failure:
        raise failure_as_error(failure, place.where) from failure
    return potential


def place_of(owner: type[Architecture], settings: ExternalSettings) -> Place:
    """Return which model the settings of a row mean, and where it is."""
    name = settings.model or owner.name
    row = POTENTIALS[name]
    published = partial(fetch, row.weights) if isinstance(row.weights, Weights) else None
    return Place(name, settings, published, remedy(row, settings.environment))


def allowed_file(settings: ExternalSettings, model: str, folder: Path, consent: Consent) -> str | None:
    """Return the file of code or weights to read, if any; raises :class:`UserError` unless it may be, and the function.

    A function of the user's runs code, and so do a Python file and a file of weights, which is a pickle.
    """
    function, file = settings.function, settings.file
    if consent.trust_code or not (function or file or POTENTIALS[model].argument == "function"):
        return file
    if file is None:
        if not consent.names(model, function):
            raise refused(f"the function {function}", folder)
        return None
    named = consent.named_file(model, function, settings.sha256)
    if named is None:
        raise refused(f"the file {file}", folder)
    return str(named)


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
    trains = fits_elsewhere = True
    packages = ("sevenn==0.13.0",)
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

"""A user's own network as a student: ``arch: module:Class`` names a graph-pes model, nothing here needs to change.

The module is the user's code, and a recipe that names it runs it. It is looked for on the Python path and in the
current folder. What is saved says the name of the class; whoever loads it needs the module too, and has to trust it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.consent import Consent, refused
from distill.base.errors import UserError
from distill.potentials.base import Architecture
from distill.potentials.settings import PotentialSettings
from distill.potentials.workers.protocol import see

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


class CustomSettings(PotentialSettings):
    """Which class it is, and what its constructor is given."""

    renamed: ClassVar[Mapping[str, str]] = {"core": "short_range_repulsion"}

    model: str = ""
    """``module:Class``; what the recipe's ``arch`` says if empty."""
    parameters: dict[str, Any] = {}
    """Arguments of the class; ``elements`` is added where it takes them and they are not given."""
    short_range_repulsion: bool = True
    """Whether nuclei repel each other at very short distances (the potential of Ziegler, Biersack and Littmark)."""


class Custom(Architecture):
    """Any class of graph-pes models (``graph_pes.GraphPESModel`` with ``local_energies``): ``arch: module:Class``."""

    name = "custom"
    role = "student"
    arch = "module:Class"
    reference = "J. L. A. Gardner, graph-pes, https://github.com/jla-gardner/graph-pes"
    licence = "of the class"
    requires = ("graph-pes",)
    install = "pip install graph-pes"
    argument = "class"
    Settings = CustomSettings

    @classmethod
    def for_data(cls, settings: CustomSettings, arch: str, symbols: list[str]) -> CustomSettings:
        """Return the settings with the name of the class, and the elements where its constructor takes them."""
        model = settings.model or arch
        parameters = dict(settings.parameters)
        if "elements" in inspect.signature(network_class(model)).parameters:
            parameters.setdefault("elements", symbols)
        return CustomSettings(model=model, parameters=parameters, short_range_repulsion=settings.short_range_repulsion)

    @classmethod
    def network(cls, settings: CustomSettings) -> Potential:
        """Return the untrained network.

        Raises:
            UserError: there is no such class, it does not take these arguments, or it is not a graph-pes model.
        """
        from distill.potentials.networks.graph_pes import GraphPESPotential

        made = network_class(settings.model)
        try:
            model = made(**settings.parameters)
        except (TypeError, ValueError) as error:  # the latter where it gives no energies of atoms
            raise UserError(f"it cannot be made ({error})", settings.model, "Correct parameters") from error
        return GraphPESPotential(model, settings.short_range_repulsion)

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path, consent: Consent) -> Potential:
        """Return the untrained network, where the caller or the recipe names its class too."""
        model = getattr(settings, "model", "")
        if not (consent.trust_code or consent.names(cls.name, model)):
            raise refused(f"the class {model}", folder)
        return super().restore(settings, folder, consent)


def check_module(reference: str) -> None:
    """Raise :class:`UserError` where ``module:Class`` names no module; nothing of it is run."""
    module, _, name = reference.partition(":")
    see(os.getcwd())
    if not name or not module or find_spec(module.partition(".")[0]) is None:
        what = f"there is no module {module!r}" if name else f"{reference!r} names no class"
        raise UserError(what, remedy="Write module:Class, and put the module's folder on PYTHONPATH")


def named_class(reference: str) -> Any:
    """Return what ``module:Class`` names; raises :class:`UserError` where there is nothing of that name."""
    check_module(reference)
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"there is no class {name!r} in {module} ({error})", remedy="Write module:Class") from error


def network_class(reference: str) -> Any:
    """Return the class of graph-pes models that ``module:Class`` names; nothing else is ever called.

    Raises:
        UserError: there is no such class, or it is something else.
    """
    from graph_pes.graph_pes_model import GraphPESModel

    found = named_class(reference)
    if not (inspect.isclass(found) and issubclass(found, GraphPESModel)):
        what = "this is not a class of graph-pes models"
        raise UserError(what, reference, "Derive it from graph_pes.GraphPESModel")
    return found

"""The recipe's ``observe`` section, which several stages read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from distill.base.artifact import Labels
from distill.base.errors import UserError
from distill.base.settings import Settings, compose, refuse_name
from distill.observables import OBSERVABLES
from distill.stages.base import StageSettings

if TYPE_CHECKING:
    from distill.observables.base import Observable

MOST = 1000
"""Observables of a recipe that anybody could look at."""


def observables_of(raw: Any) -> type[Settings]:
    """Return a model with one field an observable, typed by its kind; ``raw`` is the section as the recipe has it."""
    fields: dict[str, Any] = {}
    for name, entry in (raw if isinstance(raw, Mapping) else {}).items():
        refuse_name(name, "observable", "observe")
        fields[name] = kind_of(name, entry)
    if len(fields) > MOST:
        raise UserError(f"{len(fields)} observables", "observe", f"Give at most {MOST}")
    return compose("Observe", StageSettings, **fields)


def kind_of(name: str, entry: Any) -> type[Settings]:
    """Return the settings class of an observable as a recipe has it."""
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    where = f"observe.{name}.kind"
    if not isinstance(kind, str):
        raise UserError("the kind is missing", where, f"One of {', '.join(OBSERVABLES)}")
    try:
        found: type[Settings] = OBSERVABLES[kind]
    except UserError as error:
        raise UserError(error.what, where, error.remedy) from None
    return found


def of_run(section: BaseModel, labels: Labels) -> dict[str, Observable]:
    """Return the observables that are taken from the labelled run."""
    every = {name: getattr(section, name) for name in type(section).model_fields}
    return {name: one for name, one in every.items() if one.run == labels["run"]}

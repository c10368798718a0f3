"""A recipe: one YAML file, validated against the settings of every stage.

The recipe has no schema of its own. Its sections are those that the stages declare; stages that share a section each
contribute their fields, and a section that belongs to no stage may be read by several. An unknown key, a wrong type or
a missing value is refused with its line and dotted key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from distill.base.artifact import Labels
from distill.base.errors import UserError
from distill.base.files import user_path
from distill.base.registry import Registry
from distill.base.settings import Settings, compose, refuse_name
from distill.stages import STAGES
from distill.stages.base import Stage
from distill.workflow.executors import EXECUTORS
from distill.workflow.former_names import note, with_present_names
from distill.workflow.overrides import Overrides, Values, as_values, name_of_run, replaced
from distill.workflow.problems import Problem, problems
from distill.workflow.search_settings import SearchSettings
from distill.workflow.sweep_settings import SweepSettings
from distill.workflow.yaml_text import Place, read_document


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", name):
        raise ValueError("it names a folder, so begin with a letter or digit and use only letters, digits and ._+-")
    return name


class Head(Settings):
    """What a recipe says of the run itself."""

    name: Annotated[str, AfterValidator(_folder_name)]
    """The name of the run, and of its folder."""
    seed: int = Field(0, ge=0, lt=2**63)
    """The seed that every random stream derives from."""
    sweep: SweepSettings | None = None
    """Values that are varied: the recipe is then many."""
    search: SearchSettings | None = None
    """Values that are searched for: those that make a student's error small."""


STUDIES = ("sweep", "search")
"""Sections of which each makes many recipes of the one."""


@dataclass(frozen=True)
class Recipe:
    """A validated recipe.

    Attributes:
        path: the file, absolute; relative file names in the recipe are meant from its folder.
        raw: the recipe as read, overrides included.
        settings: the validated recipe: ``name``, ``seed``, ``executor`` and the sections as attributes.
        stages: the table of stages that it was validated against.
        notes: what the user should know of it: keys that were given by former names.
        origins: where each key was given, e.g. ``water.yaml:12``.
        base: the name of the recipe of which values were replaced; its own where none were.
    """

    path: Path
    raw: dict[str, Any]
    settings: Any
    stages: Registry
    notes: list[str] = field(default_factory=list)
    origins: Mapping[Place, str] = field(default_factory=dict, repr=False)
    base: str = ""

    def __repr__(self) -> str:
        return f"Recipe({self.name!r}, {str(self.path)!r})"

    def override(self, values: Overrides, name: str | None = None, where: str = "") -> Recipe:
        """Return a recipe in which values are replaced; this one stays as it is.

        Args:
            values: dotted keys and their values, as in ``{"students.painn.cutoff": 4.5}``, or ``KEY=VALUE`` texts.
            name: of its run, and so of its folder; if None, it is called by what was replaced.
            where: what messages call the values; each by its own key if empty.

        Raises:
            UserError: a key or a value is wrong.
        """
        given = as_values(values) | ({"name": name} if name else {})
        return _override(self.raw, given, self.path, self.stages, self.origins, where=where)

    def without_studies(self) -> Recipe:
        """Return the recipe without the sections that make many recipes of it."""
        raw = {key: value for key, value in self.raw.items() if key not in STUDIES}
        return self if len(raw) == len(self.raw) else build_recipe(raw, self.path, self.stages, "", self.origins)

    @property
    def name(self) -> str:
        """The name of the run, and of its folder."""
        return str(self.settings.name)

    @property
    def seed(self) -> int:
        """The seed that every random stream derives from."""
        return int(self.settings.seed)

    @property
    def executor(self) -> Any:
        """Settings of the executor."""
        return self.settings.executor

    @cached_property
    def sections(self) -> dict[str, Any]:
        """The validated sections by name; where the recipe gives several of one, all of them as one."""
        return {name: getattr(self.settings, self.key_of(name)) for name in section_names(self.stages)}

    @cached_property
    def _plurals(self) -> dict[str, str]:
        return plurals(self.stages)

    def key_of(self, section: str) -> str:
        """Return the key under which the recipe has a section: its name, or the one for several of them."""
        plural = self._plurals.get(section, "")
        return plural if plural in type(self.settings).model_fields else section

    def place(self, key: str, labels: Labels) -> str:
        """Return where the recipe has what stages know by the dotted ``key``, or by the name of a section.

        Of several sections it is in that of the label, else in the first.
        """
        section, *rest = key.split(".")
        if (plural := self.key_of(section)) == section:
            return key
        return ".".join([plural, str(labels.get(section, self.keys_at(plural)[0])), *rest])

    def value(self, key: str) -> Any:
        """Return the validated value at a dotted key; None inside an optional part that is absent.

        Raises:
            KeyError: the schema has no such key.
        """
        value: Any = self.settings
        for part in key.split("."):
            if value is None:
                return None
            value = _step(value, part)
        return value

    def keys_at(self, key: str) -> list[str]:
        """Return the keys of the mapping at a dotted key; none where there is no mapping."""
        try:
            value = self.value(key)
        except KeyError:
            return []
        return list(type(value).model_fields if isinstance(value, BaseModel) else ())

    def file(self, key: str) -> Path | None:
        """Return the existing file that the recipe names at a dotted key, absolute; None where it names none."""
        value = self.value(key)
        if value is None:
            return None
        path = (self.path.parent / user_path(str(value), f"{self.path}: {key}")).resolve()
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise UserError(f"{key}: {path} {what}", where=str(self.path))
        return path

    def resolved(self) -> dict[str, Any]:
        """Return the whole recipe with all defaults, JSON-able."""
        return dict(self.settings.model_dump(mode="json"))


def _step(value: object, part: str) -> Any:
    if isinstance(value, BaseModel):
        if part not in type(value).model_fields:
            raise KeyError(part)
        return getattr(value, part)
    if isinstance(value, Mapping):
        return value[part]
    if isinstance(value, list | tuple) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    raise KeyError(part)


def load_recipe(path: str | Path, overrides: Overrides = (), stages: Registry = STAGES) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: the YAML file.
        overrides: values that are replaced: ``"dotted.key=value"`` texts (the value is YAML, list entries are numbers,
            ``*`` is every name at its place) or a mapping of dotted keys to values. The run of a recipe so changed has
            a name, and so a folder, of its own.
        stages: the table of stages.

    Raises:
        UserError: the file, a key or a value is wrong; names the line, the dotted key and the nearest known key.
    """
    path = Path(path)
    document = read_document(path)
    if not isinstance(document.value, dict):
        raise UserError("is not a recipe", where=str(path), remedy="A recipe is a YAML mapping with name, data, ...")
    origins = {place: f"{path}:{line}" for place, line in document.lines.items()}
    return _override(document.value, as_values(overrides), path.resolve(), stages, origins, str(path))


def _override(
    raw: dict[str, Any],
    values: Values,
    path: Path,
    stages: Registry,
    origins: Mapping[Place, str],
    shown: str = "",
    where: str = "",
) -> Recipe:
    """Validate a recipe with other values than those that were read."""
    changed, given = replaced(raw, values, where)
    base = str(raw.get("name", ""))
    if values and isinstance(raw.get("name"), str):
        changed["name"] = name_of_run(base, values)
    known = {place: where for place, where in origins.items() if not any(place[: len(one)] == one for one in given)}
    return replace(build_recipe(changed, path, stages, shown, known | given), base=base)


def build_recipe(
    raw: dict[str, Any], path: Path, stages: Registry, shown: str = "", origins: Mapping[Place, str] | None = None
) -> Recipe:
    """Validate a recipe that is already a mapping.

    Args:
        raw: the mapping.
        path: the file it came from, absolute.
        stages: the table of stages.
        shown: how to call the file in messages.
        origins: where each key was given, e.g. ``water.yaml:12``.
    """
    origins, shown = dict(origins or {}), shown or str(path)
    try:
        schema = recipe_schema(raw, stages)
        filled, former = with_present_names(schema, _with_absent_sections(raw, schema, stages))
        origins |= {(*place[:-1], name): origins[place] for place, name in former.items() if place in origins}
        settings = schema.model_validate_json(json.dumps(filled))
    except UserError as error:
        place = tuple(error.where.split(".")) if error.where else ()
        origin = _origin(place, origins, shown)
        raise UserError(
            error.what, where=f"{origin}: {error.where}" if place else origin, remedy=error.remedy
        ) from None
    except ValidationError as error:
        raise _refusal(problems(error, schema, filled), origins, shown) from None
    notes = [note(place, name) for place, name in former.items()]
    return Recipe(path, raw, settings, stages, notes, origins, str(raw["name"]))


def section_names(stages: Registry) -> list[str]:
    """Return the names of the sections that the stages declare, in the order of the pipeline, shared ones at last."""
    every: list[type[Stage]] = list(stages.values())
    own = [stage.section for stage in every if stage.section]
    return list(dict.fromkeys(own + [name for stage in every for name in stage.shared]))


def plurals(stages: Registry) -> dict[str, str]:
    """Return the sections of which a recipe may give several, and the key under which it maps names to them."""
    every: list[type[Stage]] = list(stages.values())
    return {stage.section: stage.plural for stage in every if stage.plural}


def recipe_schema(raw: Mapping[str, Any], stages: Registry) -> type[Settings]:
    """Return the model that validates the whole recipe: each section is composed from the stages that share it."""
    executor = raw.get("executor")
    kind = executor.get("kind", "local") if isinstance(executor, Mapping) else "local"
    try:
        executor_type = EXECUTORS[kind if isinstance(kind, str) else "local"].Settings
    except UserError as error:
        raise UserError(error.what, where="executor.kind", remedy=error.remedy) from None
    fields: dict[str, Any] = {"executor": executor_type}
    every: list[type[Stage]] = list(stages.values())
    several = plurals(stages)
    for section in section_names(stages):
        own = [stage for stage in every if stage.section == section]
        shared = [stage.shared[section] for stage in every if section in stage.shared]

        def one(given: Any, name: str = section, own: list[type[Stage]] = own, shared: list[Any] = shared) -> Any:
            return _compose(name, [*[stage.section_type(given) for stage in own], *shared])

        plural = several.get(section)
        if plural is not None and plural in raw:
            fields[plural] = _by_name(section, plural, raw, one)
        else:
            fields[section] = one(raw.get(section))
    return compose("Recipe", Head, **fields)


def _by_name(section: str, plural: str, raw: Mapping[str, Any], one: Callable[[Any], Any]) -> type[Settings]:
    """Return the type of several sections by name; ``one`` returns that of a single one."""
    given = raw[plural]
    if section in raw:
        what = f"a recipe has {section} or {plural}, not both"
        raise UserError(what, where=section, remedy=f"Move it into {plural}, under a name")
    if not isinstance(given, Mapping) or not given:
        what = f"{plural} must map at least one name to its settings"
        raise UserError(what, where=plural, remedy=f"For one without a name, write {section}")
    fields = {}
    for name, entry in given.items():
        refuse_name(name, section, plural)
        try:
            fields[name] = one(entry)
        except UserError as error:
            where = (error.where or section).replace(section, f"{plural}.{name}", 1)
            raise UserError(error.what, where=where, remedy=error.remedy) from None
    return compose(plural.capitalize(), Settings, **fields)


def _compose(section: str, types: list[Any]) -> Any:
    """Return one type for a section: the only one there is, or a model with the fields of all."""
    unique = list(dict.fromkeys(types))
    parts = [t for t in unique if not any(t is not other and _is_subclass(other, t) for other in unique)]
    if len(parts) == 1:
        return parts[0]
    return compose(section.capitalize(), *parts)


def _is_subclass(one: object, other: object) -> bool:
    return isinstance(one, type) and isinstance(other, type) and issubclass(one, other)


def _with_absent_sections(raw: Mapping[str, Any], schema: type[Settings], stages: Registry) -> dict[str, Any]:
    """Return ``raw`` with every absent or empty section present, so that its defaults apply and its gaps are named."""
    filled = {"executor": {}, **raw}
    for section in section_names(stages):
        if section not in schema.model_fields:  # there are several of it
            continue
        if filled.get(section) is None:
            filled[section] = [] if get_origin(schema.model_fields[section].annotation) in (list, tuple) else {}
    return filled


def _refusal(found: list[Problem], origins: Mapping[Place, str], shown: str) -> UserError:
    if len(found) == 1:
        return UserError(found[0].what, where=_origin(found[0].place, origins, shown), remedy=found[0].remedy)
    lines = [str(UserError(p.what, where=_origin(p.place, origins, shown), remedy=p.remedy)) for p in found]
    return UserError("\n  ".join([f"{len(found)} problems", *lines]), where=shown)


def _origin(place: Place, origins: Mapping[Place, str], shown: str) -> str:
    """Return where the key was given, or else something inside it, or the nearest key around it."""
    for length in range(len(place), 0, -1):
        part = place[:length]
        if part in origins:
            return origins[part]
        inside = next((where for known, where in origins.items() if known[:length] == part), None)
        if inside is not None:
            return inside
    return shown

"""Which studies the page of a sweep shows: for each swept key the one that fits, and those that always apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from distill.base.errors import UserError
from distill.studies.ace import EMBEDDING, FUNCTIONS, ace_basis
from distill.studies.architectures import architecture
from distill.studies.cutoffs import cutoff
from distill.studies.errors import Errors, Tables
from distill.studies.generations import generation
from distill.studies.growth import grown
from distill.studies.keys import Key
from distill.studies.learning_curves import STRUCTURES, learning_curve
from distill.studies.losses import is_weight, loss_weights
from distill.studies.noise import noise_components
from distill.studies.scaling import scaling_law
from distill.studies.shots import n_shot
from distill.studies.study import Study
from distill.studies.surrogates import SURROGATE, surrogate
from distill.studies.swept import over, varies
from distill.studies.teachers import teacher
from distill.studies.variants import distilled_or_direct

Ask = Callable[[Tables], Study]


@dataclass(frozen=True)
class Section:
    """A heading of the page and what is below it.

    Attributes:
        heading: what was asked.
        studies: the answers.
        missing: why there is no answer, a sentence each.
    """

    heading: str
    studies: tuple[Study, ...]
    missing: tuple[str, ...] = ()


def sections(tables: Tables, errors: Errors, folder: Path) -> list[Section]:
    """Return the sections of a sweep's page, the swept keys first; no study has the name of another."""
    found: list[Section] = []
    names: set[str] = set()
    for heading, asks in (*_of_keys(errors, folder), *_of_all(errors)):
        studies, missing = [], []
        for ask in asks:
            try:
                study = ask(tables)
            except UserError as error:
                missing.append(str(error))
                continue
            name = study.name if study.name not in names else f"{study.name}-{len(names)}"
            names.add(name)
            studies.append(replace(study, name=name))
        found.append(Section(heading, tuple(studies), tuple(missing)))
    return found


def _of_keys(errors: Errors, folder: Path) -> Iterator[tuple[str, list[Ask]]]:
    """Yield heading and studies of each swept key; keys that one figure shows together have one."""
    shown: set[Ask] = set()
    for key in errors.keys:
        asks = [ask for ask in _fitting(key, errors, folder) if ask not in shown] if varies(errors, key) else []
        shown |= set(asks)
        if asks:
            yield f"{key.words[0].upper()}{key.words[1:]}", asks


def _fitting(key: Key, errors: Errors, folder: Path) -> Sequence[Ask]:
    """Return the studies of one key."""
    if key.path in STRUCTURES:
        return [partial(learning_curve, key=key.path), partial(scaling_law, key=key.path)]
    if key.path in (FUNCTIONS, EMBEDDING):
        return [ace_basis]
    if key.path.startswith(SURROGATE):
        return [surrogate]
    if key.path.startswith("synthetic."):
        return [partial(generation, key=key.path, growth=grown(folder))]
    if is_weight(key.path):
        return [partial(loss_weights, key=key.path)]
    if errors.teachers[key.name].nunique() > 1:
        return [n_shot if key.path == "data.n_train" else partial(over, key=key.path), teacher]
    return [cutoff if key.path == "students.*.cutoff" else partial(over, key=key.path)]


def _of_all(errors: Errors) -> Iterator[tuple[str, list[Ask]]]:
    """Yield heading and studies that no key has to be swept for."""
    students = errors.students
    variants = set(students["variant"])
    if "direct" in variants and len(variants) > 1:
        yield "Distilled or direct", [distilled_or_direct]
    if students["parameters"].nunique() > 1:
        yield "Architecture and capacity", [architecture]
    if students["repeat"].nunique() > 1:
        yield "Where the scatter comes from", [noise_components]

"""Static physics in the report: one table of all quantities beside the teacher's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from distill.analysis.phonons import density_difference, frequency_difference
from distill.analysis.quantities import Quantity, StaticResult
from distill.base.tolerances import absolute
from distill.reporting.data import Static, in_order, name_with_seed
from distill.reporting.models import Model
from distill.reporting.tables import Entry, Table

TEACHER = Model("teacher", "finetuned")

ROUND = 6
"""Digits after the point beyond which nothing is shown: a difference of 1e-14 eV is none."""


def static_table(statics: Sequence[Static]) -> Table | None:
    """Return the quantities of static physics, one a row, and the models, of several seeds each, as columns."""
    names = list(dict.fromkeys(one.name for static in statics for one in static.result.quantities))
    if not names:
        return None
    columns = [(of, seed) for of in in_order([one.of for one in statics]) for seed in _seeds(statics, of)]
    values = {column: _quantities(statics, *column) for column in columns}
    labels = [next(name_with_seed(one, statics) for one in statics if (one.of, one.seed) == c) for c in columns]
    teacher = values.get((TEACHER, 0), {})
    rows = []
    for name in names:
        head = _head(next(found[name] for found in values.values() if name in found))
        rows.append((head, *[_entry(values[one].get(name), teacher.get(name), one[0]) for one in columns]))
    rows = _said_once(rows) + _spectra(statics, columns)
    return Table("Static physics, and how far from the teacher's", ("quantity", *labels), tuple(rows))


def _said_once(rows: Sequence[tuple[Entry, ...]]) -> list[tuple[Entry, ...]]:
    """Return rows in which the reason why there is no number is not said again right below."""
    said = list(rows[:1])
    for above, row in itertools.pairwise(rows):
        repeated = [one == before and one.main == "–" and one.aside for before, one in zip(above, row, strict=True)]
        said.append(tuple(Entry("–", "as above") if again else one for again, one in zip(repeated, row, strict=True)))
    return said


def _spectra(statics: Sequence[Static], columns: Sequence[tuple[Model, int]]) -> list[tuple[Entry, ...]]:
    """Return for each crystal with phonons how far all frequencies are from the teacher's."""
    of = {(one.of, one.seed, one.result.structure): one.result for one in statics if one.result.kind == "phonons"}
    rows = []
    for name in dict.fromkeys(structure for _, _, structure in of):
        teacher = of.get((TEACHER, 0, name))
        if teacher is None or "frequencies" not in teacher.arrays:
            continue
        cells = [_spectrum(of.get((model, seed, name)), teacher, model) for model, seed in columns]
        head = Entry(f"all frequencies of {name} (THz)", "root mean square difference, and modes elsewhere")
        rows.append((head, *cells))
    return rows


def _spectrum(result: StaticResult | None, teacher: StaticResult, of: Model) -> Entry:
    if of == TEACHER or result is None or "frequencies" not in result.arrays:
        return Entry("–")
    difference = frequency_difference(result.arrays, teacher.arrays)
    elsewhere = f"{100 * density_difference(result.arrays, teacher.arrays):.0f} % of the density of states"
    return Entry("–", "other wave vectors") if difference is None else Entry(f"{difference:.3f}", elsewhere)


def _seeds(statics: Sequence[Static], of: Model) -> list[int]:
    return sorted({one.seed for one in statics if one.of == of})


def _quantities(statics: Sequence[Static], of: Model, seed: int) -> dict[str, Quantity]:
    own = [one for one in statics if (one.of, one.seed) == (of, seed)]
    return {one.name: one for static in own for one in static.result.quantities}


def _head(quantity: Quantity) -> Entry:
    unit = f" ({quantity.unit})" if quantity.unit else ""
    allowed = quantity.tolerance if isinstance(quantity.tolerance, str) else f"{quantity.tolerance:g} {quantity.unit}"
    return Entry(f"{quantity.name}{unit}", f"tolerance {allowed.strip()}")


def _entry(quantity: Quantity | None, teacher: Quantity | None, of: Model) -> Entry:
    """Return a value, and beside it how far it is from the teacher's and whether that is beyond the tolerance."""
    if quantity is None:
        return Entry("–")
    if quantity.value is None:
        return Entry("–", quantity.why)
    main = _signed(f"{round(quantity.value, ROUND):.4g}")
    if of == TEACHER or teacher is None or teacher.value is None:
        return Entry(main)
    difference = quantity.value - teacher.value
    beyond = abs(difference) > absolute(quantity.tolerance, teacher.value)
    share = isinstance(quantity.tolerance, str) and teacher.value != 0
    said = f"{100 * difference / abs(teacher.value):+.1f} %" if share else f"{round(difference, ROUND):+.3g}"
    return Entry(main, _signed(said) + (", beyond" if beyond else ""))


def _signed(number: str) -> str:
    return number.replace("-", "−")

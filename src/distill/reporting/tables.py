"""The numbers of ``metrics.csv`` as tables: selected, gathered over seeds, written with units for people.

Several seeds of one student are one cell: the mean, and in brackets the smallest and largest of the seeds. A single
seed shows its bootstrap interval instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.reporting.data import Model, in_order


@dataclass(frozen=True)
class Quantity:
    """How a quantity is shown: its title, its unit, and what its eV and Å are multiplied with for that."""

    title: str
    unit: str
    factor: float


QUANTITIES = {
    "energy_per_atom": Quantity("energy", "meV/atom", 1000.0),
    "forces": Quantity("forces", "meV/Å", 1000.0),
    "stress": Quantity("stress", "GPa", EV_PER_A3_IN_GPA),
}
STATISTICS = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "max": "maximum"}


@dataclass(frozen=True)
class Metric:
    """One row of ``metrics.csv``; see there for the columns."""

    of: Model
    seed: str
    split: str
    reference: str
    config_type: str
    quantity: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Metric:
        """Read one row, whose numbers may be text; None, an empty text and NaN mean that there is no number."""
        return cls(
            of=Model(str(row["model"]), str(row["variant"])),
            seed=str(row["seed"]),
            split=str(row["split"]),
            reference=str(row["reference"]),
            config_type=str(row["config_type"]),
            quantity=str(row["quantity"]),
            statistic=str(row["statistic"]),
            value=_number(row["value"]),
            low=_number(row["low"]),
            high=_number(row["high"]),
            n=int(row["n"]),
        )


@dataclass(frozen=True)
class Cell:
    """A number with its uncertainty, in the metric's own units.

    Attributes:
        value: the number, the mean over seeds, or None where it is undefined.
        low: lower end of the bootstrap interval (one seed) or smallest seed (several), or None.
        high: upper end or largest seed.
        seeds: how many seeds it stands for.
        n: structures that it rests on.
        each: the value of every seed.
    """

    value: float | None
    low: float | None
    high: float | None
    seeds: int
    n: int
    each: tuple[float, ...]


class ErrorTable:
    """Errors of all models on one split, by reference, group, quantity and statistic.

    The test set is shown where there is one, otherwise the split that comes first.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        metrics = [Metric.from_row(row) for row in rows]
        splits = list(dict.fromkeys(m.split for m in metrics))
        self.split = "test" if "test" in splits else (splits[0] if splits else "")
        self._metrics = [m for m in metrics if m.split == self.split]
        self.models = in_order([m.of for m in self._metrics])
        self._rows: dict[tuple[Model, str, str, str, str], list[Metric]] = {}
        for m in self._metrics:
            self._rows.setdefault((m.of, m.quantity, m.statistic, m.reference, m.config_type), []).append(m)
        present = {m.quantity for m in self._metrics}
        self.quantities = [q for q in QUANTITIES if q in present]

    def models_against(self, reference: str) -> list[Model]:
        """Return the models that were compared with ``"dft"`` or ``"teacher"``, in order."""
        return in_order([m.of for m in self._metrics if m.reference == reference])

    def families(self) -> list[str]:
        """Return the groups other than ``"all"``, by name."""
        return sorted({m.config_type for m in self._metrics} - {"all"})

    def cell(
        self, of: Model, quantity: str, statistic: str = "mae", reference: str = "dft", config_type: str = "all"
    ) -> Cell | None:
        """Return one number, gathered over seeds, or None where it was not measured."""
        found = self._rows.get((of, quantity, statistic, reference, config_type))
        if not found:
            return None
        values = tuple(m.value for m in found if m.value is not None)
        if len(found) == 1:
            return Cell(found[0].value, found[0].low, found[0].high, 1, found[0].n, values)
        if len(values) < len(found):  # a mean over the seeds that happened to survive would flatter
            return Cell(None, None, None, len(found), found[0].n, values)
        return Cell(sum(values) / len(values), min(values), max(values), len(found), found[0].n, values)


def show(cell: Cell | None, quantity: str, statistic: str = "mae") -> str:
    """Return a cell as text in the units of :data:`QUANTITIES`, e.g. ``133 [121–146]``."""
    if cell is None:
        return "–"
    if cell.value is None:
        return "undefined" if statistic == "r2" else "not finite"
    factor = 1.0 if statistic == "r2" else QUANTITIES[quantity].factor
    digits = 3 if statistic == "r2" else _digits(cell.value * factor)
    text = number(cell.value * factor, digits)
    if cell.low is None or cell.high is None:
        return text
    return f"{text} [{number(cell.low * factor, digits)}–{number(cell.high * factor, digits)}]"


class Entry(NamedTuple):
    """One cell of a printed table: what counts, and what is said beside it in smaller type."""

    main: str
    aside: str = ""


@dataclass(frozen=True)
class Table:
    """A table for the page: the first entry of a row names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


def entry(cell: Cell | None, quantity: str, statistic: str = "mae") -> Entry:
    """Return a cell for a printed table, the interval aside."""
    main, bracket, aside = show(cell, quantity, statistic).partition(" [")
    return Entry(main, bracket.strip() + aside)


def main_table(table: ErrorTable, without_numbers: Mapping[Model, str]) -> Table:
    """Return the MAE of every model against DFT; ``without_numbers`` says what became of models that have none."""
    measured = table.models_against("dft")
    rows = []
    for model in in_order([*measured, *without_numbers]):
        if model in measured:
            cells = [entry(table.cell(model, q), q) for q in table.quantities]
            most = max((c.seeds for q in table.quantities if (c := table.cell(model, q))), default=1)
            rows.append((Entry(model.label, f"{most} seeds" if most > 1 else ""), *cells))
        else:
            rows.append((Entry(model.label), *[Entry(without_numbers[model])] * len(table.quantities)))
    header = ("model", *[f"{QUANTITIES[q].title} MAE ({QUANTITIES[q].unit})" for q in table.quantities])
    return Table(f"Mean absolute error against DFT, {table.split} set", header, tuple(rows))


def full_tables(table: ErrorTable, reference: str) -> list[Table]:
    """Return every statistic of every model, one table a quantity, against ``"dft"`` or ``"teacher"``."""
    tables = []
    for q in table.quantities:
        header = ("model", *[f"{STATISTICS[s]}{'' if s == 'r2' else f' ({QUANTITIES[q].unit})'}" for s in STATISTICS])
        rows = [
            (Entry(m.label), *[entry(table.cell(m, q, s, reference), q, s) for s in STATISTICS])
            for m in table.models_against(reference)
            if table.cell(m, q, reference=reference)
        ]
        if rows:
            against = "DFT" if reference == "dft" else "the teacher"
            tables.append(Table(f"{QUANTITIES[q].title.capitalize()} against {against}", header, tuple(rows)))
    return tables


def family_tables(table: ErrorTable) -> list[Table]:
    """Return the MAE of every model against DFT in each family of structures, one table a quantity."""
    models, families = table.models_against("dft"), table.families()
    tables = []
    for q in table.quantities if families else []:
        header = ("model", *[f"{family} ({_structures(table, q, family)})" for family in families])
        rows = [
            (Entry(m.label), *[entry(table.cell(m, q, config_type=f), q) for f in families])
            for m in models
            if table.cell(m, q)
        ]
        tables.append(Table(f"{QUANTITIES[q].title.capitalize()} MAE ({QUANTITIES[q].unit})", header, tuple(rows)))
    return tables


def _structures(table: ErrorTable, quantity: str, family: str) -> int:
    """Return how many structures of a family a quantity was compared on."""
    cells = (table.cell(m, quantity, config_type=family) for m in table.models_against("dft"))
    return max((cell.n for cell in cells if cell), default=0)


def number(value: float, digits: int) -> str:
    """Return a number with ``digits`` decimals, or in powers of ten where that would fill the line."""
    return f"{value:.1e}" if abs(value) >= 1e6 else f"{value:.{digits}f}"


def _digits(value: float) -> int:
    """Return how many decimals show about three significant digits."""
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    return None if number != number else number

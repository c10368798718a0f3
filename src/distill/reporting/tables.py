"""The numbers of ``metrics.csv`` as tables: selected, gathered over seeds, written with units for people.

Several seeds of one student are one cell: mean ± standard deviation over the seeds that did not fail, beside it the
number of the seed that validation prefers and how many failed. A single seed shows its bootstrap interval instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from distill.analysis.seeds import OverSeeds, Seed, over_seeds
from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.reporting.data import in_order
from distill.reporting.models import Model


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
PURE = {"r2": 3, "ratio": 2}
"""Statistics without a unit, and the decimals that they are written with."""


@dataclass(frozen=True)
class Metric:
    """One row of ``metrics.csv``; see there for the columns. A row that says no status is of a finished training."""

    of: Model
    seed: int
    status: str
    valid_loss: float | None
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
            seed=int(row["seed"]),
            status=str(row.get("status", "finished")),
            valid_loss=_number(row.get("valid_loss")),
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
        value: the number, the mean over the seeds that did not fail, or None where it is undefined.
        low: lower end of the bootstrap interval; of several seeds the lowest of theirs; or None.
        high: upper end, or the highest.
        seeds: how many seeds were trained.
        n: structures that it rests on.
        each: the number of every seed that did not fail.
        deviation: standard deviation over the same seeds (n - 1), None for fewer than two.
        best: the number of the seed with the lowest validation loss, None for a single seed and where it is unknown.
        failed: what became of the seeds that failed, e.g. ``{1: "diverged"}``.
    """

    value: float | None
    low: float | None
    high: float | None
    seeds: int
    n: int
    each: tuple[float, ...]
    deviation: float | None = None
    best: float | None = None
    failed: Mapping[int, str] = field(default_factory=dict)

    @property
    def all_failed(self) -> str:
        """What became of the seeds where none is left, e.g. ``diverged``; else an empty text."""
        return " and ".join(dict.fromkeys(self.failed.values())) if len(self.failed) == self.seeds else ""


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
        return _cell({m.seed: m for m in found}, {m.seed: m.value for m in found}) if found else None

    def ratio(self, of: Model, quantity: str) -> Cell | None:
        """Return a student's MAE against its teacher divided by that against DFT, gathered over seeds, or None."""
        against = [self._rows.get((of, quantity, "mae", reference, "all")) for reference in ("teacher", "dft")]
        if not all(against):
            return None
        teacher, dft = ({m.seed: m for m in found or ()} for found in against)
        values = {
            seed: m.value / dft[seed].value if m.value is not None and dft[seed].value else None  # type: ignore[operator]
            for seed, m in teacher.items()
        }
        return _cell({seed: replace(m, low=None, high=None) for seed, m in teacher.items()}, values)

    def seeds(self, of: Model) -> int:
        """Return in how many seeds a model was trained."""
        return len({m.seed for m in self._metrics if m.of == of})

    def failed(self, of: Model) -> dict[int, str]:
        """Return what became of the seeds of a model that failed."""
        return {m.seed: m.status for m in self._metrics if m.of == of and Seed(m.status).failed}


def _cell(metrics: Mapping[int, Metric], values: Mapping[int, float | None]) -> Cell:
    """Gather the numbers of the seeds of one model."""
    spread: OverSeeds = over_seeds(values, {name: Seed(m.status, m.valid_loss) for name, m in metrics.items()})
    good = [m for name, m in metrics.items() if name not in spread.failed]
    low, high = [m.low for m in good], [m.high for m in good]
    known = spread.mean is not None and None not in low and None not in high
    return Cell(
        value=spread.mean,
        low=min(low) if known else None,  # type: ignore[type-var]
        high=max(high) if known else None,  # type: ignore[type-var]
        seeds=spread.seeds,
        n=next(iter(metrics.values())).n,
        each=spread.each,
        deviation=spread.deviation,
        best=spread.best if len(good) > 1 else None,
        failed={name: metrics[name].status for name in spread.failed},
    )


def show(cell: Cell | None, quantity: str, statistic: str = "mae") -> str:
    """Return a cell as text in the units of :data:`QUANTITIES`: ``133 [121–146]``, or of several seeds ``133 ± 9``."""
    if cell is None:
        return "–"
    if cell.value is None:
        return cell.all_failed or ("undefined" if statistic in PURE else "not finite")
    factor = _factor(quantity, statistic)
    digits = PURE[statistic] if statistic in PURE else _digits(cell.value * factor)
    text = number(cell.value * factor, digits)
    if cell.deviation is not None:
        return f"{text} ± {number(cell.deviation * factor, digits)}"
    if cell.low is None or cell.high is None:
        return text
    return f"{text} [{number(cell.low * factor, digits)}–{number(cell.high * factor, digits)}]"


def show_best(cell: Cell, quantity: str, statistic: str = "mae") -> str:
    """Return the number of the seed that validation prefers, with as many digits as the mean; or an empty text."""
    if cell.best is None or cell.value is None:
        return ""
    factor = _factor(quantity, statistic)
    return number(cell.best * factor, PURE[statistic] if statistic in PURE else _digits(cell.value * factor))


def _factor(quantity: str, statistic: str) -> float:
    return 1.0 if statistic in PURE else QUANTITIES[quantity].factor


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
    """Return a cell for a printed table; aside are the interval, or the best seed, and how many seeds failed."""
    main, _, interval = show(cell, quantity, statistic).partition(" [")
    if cell is None or cell.all_failed:
        return Entry(main)
    best = show_best(cell, quantity, statistic)
    lost = f"{len(cell.failed)} of {cell.seeds} failed" if cell.failed else ""
    return Entry(main, "; ".join(filter(None, (interval and f"[{interval}", best and f"best {best}", lost))))


def say_failed(failed: Mapping[int, str], *, alone: bool = False) -> str:
    """Return what became of seeds, e.g. ``seeds 0 and 1 diverged, seed 2 gave numbers that are not finite``.

    Where the model has but one, ``alone``, the seed is not named: ``diverged``.
    """
    words = {"diverged": "diverged", "not finite": "gave numbers that are not finite", "failed": "failed"}
    clauses = []
    for status in dict.fromkeys(failed.values()):
        *others, last = [str(seed) for seed, why in failed.items() if why == status]
        names = f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"
        clauses.append(words[status] if alone else f"{names} {words[status]}")
    return ", ".join(clauses)


def main_table(table: ErrorTable, without_numbers: Mapping[Model, str]) -> Table:
    """Return the MAE of every model against DFT; ``without_numbers`` says what became of models that have none."""
    measured = table.models_against("dft")
    rows = []
    for model in in_order([*measured, *without_numbers]):
        if model in measured:
            rows.append((_named(model, table), *[entry(table.cell(model, q), q) for q in table.quantities]))
        else:
            rows.append((Entry(model.label), *[Entry(without_numbers[model])] * len(table.quantities)))
    header = ("model", *[f"{QUANTITIES[q].title} MAE ({QUANTITIES[q].unit})" for q in table.quantities])
    caption = f"Mean absolute error against DFT, {table.split} set"
    if any(table.seeds(model) > 1 for model in measured):
        caption += "; of several seeds mean ± standard deviation, and the one that is best by validation"
    return Table(caption, header, tuple(rows))


def _named(model: Model, table: ErrorTable) -> Entry:
    """Return the first entry of a row: the model, aside how many seeds it has and which of them failed."""
    if (seeds := table.seeds(model)) == 1:
        return Entry(model.label)
    return Entry(model.label, "; ".join(filter(None, (f"{seeds} seeds", say_failed(table.failed(model))))))


def full_tables(table: ErrorTable, reference: str) -> list[Table]:
    """Return every statistic of every model, one table a quantity, against ``"dft"`` or ``"teacher"``.

    Against the teacher, the second number is the MAE divided by that against DFT.
    """
    tables = []
    for q in table.quantities:
        titles = [f"{STATISTICS[s]}{'' if s == 'r2' else f' ({QUANTITIES[q].unit})'}" for s in STATISTICS]
        if reference == "teacher":
            titles.insert(1, "MAE / MAE against DFT")
        rows = []
        for m in table.models_against(reference):
            if table.cell(m, q, reference=reference):
                cells = [entry(table.cell(m, q, s, reference), q, s) for s in STATISTICS]
                if reference == "teacher":
                    cells.insert(1, entry(table.ratio(m, q), q, "ratio"))
                rows.append((Entry(m.label), *cells))
        if rows:
            against = "DFT" if reference == "dft" else "the teacher"
            tables.append(
                Table(f"{QUANTITIES[q].title.capitalize()} against {against}", ("model", *titles), tuple(rows))
            )
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

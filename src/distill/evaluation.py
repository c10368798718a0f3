"""Apply a potential to structures of the user's: predictions and, where these have labels, the errors.

What can be wrong with the input is found before the potential works: folder, file, keys, elements, place to write.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.errors import UserError
from distill.base.files import write_table
from distill.base.html import table
from distill.base.progress import Progress
from distill.given import check_model, model_name, open_model, place_of, read_structures

if TYPE_CHECKING:
    from distill.analysis.errors import ErrorRow
    from distill.given import Model, Structures
    from distill.potentials.interface.potential import Potential
    from distill.structures.checks.finding import Finding
    from distill.structures.frames import Frames
    from distill.structures.read import LabelSource

PREDICTIONS, ERRORS = "predictions.xyz", "errors.csv"
COLUMNS = ("model", "data", "config_type", "quantity", "statistic", "value", "low", "high", "unit", "n")
"""Columns of ``errors.csv``, one row a number; those that ``metrics.csv`` of a run has too mean the same."""


@dataclass(frozen=True)
class Evaluation:
    """What a potential says of structures.

    Attributes:
        model: what the potential is called.
        data: the name of the file, or what structures in memory are called.
        labels: which keys the labels were read from.
        predicted: the structures with predicted energies, forces and, where the potential has one, stress.
        errors: one row a number; empty where there are no labels.
        files: what was written.
        seconds: that the predictions took.
        findings: what was noticed about the labels.
    """

    model: str
    data: str
    labels: LabelSource
    predicted: Frames
    errors: tuple[ErrorRow, ...]
    files: tuple[Path, ...]
    seconds: float
    findings: tuple[Finding, ...] = ()

    def __repr__(self) -> str:
        return f"Evaluation({self._headline()})"

    def _repr_html_(self) -> str:
        """Return the errors as a table; a notebook shows it."""
        head, rows = self.table()
        return table(self._headline(), head, rows) if rows else f"<b>{escape(self._headline())}</b>"

    def _headline(self) -> str:
        labels = "" if self.errors else ", no labels"
        return f"{self.model} on {self.data}: {len(self.predicted)} structures{labels}"

    def rows(self) -> list[dict[str, Any]]:
        """Return the errors as mappings of JSON-able values with the keys of :data:`COLUMNS`."""
        head = {"model": self.model, "data": self.data}
        return [head | asdict(row) for row in self.errors]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the errors for people: a head, and a row for each family of structures and quantity.

        In brackets are 95 % intervals. Families are left out where there is only one.
        """
        from distill.reporting.tables import QUANTITIES, STATISTICS, Cell, show

        families = dict.fromkeys(row.config_type for row in self.errors)
        shown = [name for name in families if name == "all" or len(families) > 2]
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for row in self.errors:
            if row.config_type in shown:
                cell = Cell(row.value, row.low, row.high, 1, row.n, ())
                line = cells.setdefault((f"{row.config_type} ({row.n})", row.quantity), {})
                line[row.statistic] = show(cell, row.quantity, row.statistic)
        rows = [
            [family, f"{QUANTITIES[quantity].title} ({QUANTITIES[quantity].unit})", *[line[s] for s in STATISTICS]]
            for (family, quantity), line in cells.items()
        ]
        return ["structures", "error of", *STATISTICS.values()], rows

    def not_finite(self) -> list[int]:
        """Return the frames, counted from 0, whose predicted energy or forces are not finite."""
        import numpy as np

        finite = np.isfinite(np.asarray(self.predicted.energy))
        of_atoms = np.isfinite(np.asarray(self.predicted.forces)).all(axis=1)
        finite[self.predicted.structure_of_atom[~of_atoms]] = False
        return [int(i) for i in np.flatnonzero(~finite)]


def evaluate(
    model: Model,
    data: Structures,
    *,
    name: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    keys: Mapping[str, str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    trust_code: bool = False,
    environment: str | None = None,
) -> Evaluation:
    """Predict structures and compare with their labels.

    Args:
        model: folder of a saved potential, for instance ``runs/quickstart/models/painn``; or a potential, or an ASE
            calculator, which stay on the device that they are on.
        data: extended XYZ file; or frames, or one or several ASE structures with what their calculators hold. Each of
            energy, forces and stress is compared where all structures have it.
        name: what the model is called in the errors; by default :func:`distill.given.model_name`.
        out: folder for ``predictions.xyz`` (with the extrapolation grade of each frame, or the spread of several
            teachers, where there is one) and, where there are labels, ``errors.csv``; None writes nothing.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; this and the last two are for folders alone.
        keys: keys of labels that have other names than the known ones, e.g. ``{"energy": "my_energy"}``.
        seed: of the bootstrap that gives the errors their 95 % intervals.
        progress: where to report.
        trust_code: run what the folder names; see :func:`distill.potentials.interface.saving.load`.
        environment: the Python interpreter that the potential runs in, where that is another one.

    Raises:
        UserError: naming what is wrong with folder, file, key, frame, device or place to write.
        WorkError: a structure does not fit into the memory.
    """
    from distill.analysis.errors import error_table
    from distill.structures.guard import refuse_unphysical
    from distill.workflow.machine import resolve_device

    check_model(model, device=device, trust_code=trust_code, environment=environment)
    where = place_of(data)
    targets = _targets(Path(out), where) if out is not None else None
    device = resolve_device(device)
    frames, source = read_structures(data, keys or {})
    frames, findings = _judged(frames, source, where)
    potential = open_model(model, device, trust_code, environment)
    _check_elements(frames, potential, where)
    refuse_unphysical(frames, potential.cutoff, file=where)
    begin = time.monotonic()
    with (progress or Progress()).phase("evaluating", len(frames), "structure") as phase:
        predicted, spread = potential.evaluate_with_spread(frames, progress=phase)
        predicted = potential.graded(predicted if spread is None else spread.noted(predicted))
    seconds = time.monotonic() - begin
    if not potential.predicts_stress:
        predicted = predicted.with_labels(predicted.energy, predicted.forces, None)
    errors = tuple(error_table(_comparable(frames), predicted, seed=seed))
    called = model_name(model) if name is None else name
    result = Evaluation(called, Path(where).name, source, predicted, errors, (), seconds, findings)
    return result if targets is None else _written(result, *targets)


def _targets(out: Path, data: str) -> tuple[Path, Path]:
    """Return the files to write, once it is known that they can be and are not what is read."""
    files = out / PREDICTIONS, out / ERRORS
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError("is not a folder", where=str(existing), remedy="Give another one as --out")
    if not os.access(existing, os.W_OK):
        raise UserError("nothing can be written there", where=str(existing), remedy="Give another folder as --out")
    if Path(data).resolve() in [path.resolve() for path in files]:
        raise UserError("would be overwritten by the predictions", where=data, remedy="Give another --out")
    return files


def _judged(frames: Frames, source: LabelSource, data: str) -> tuple[Frames, tuple[Finding, ...]]:
    """Return the structures with the labels that are meant, and what should be known of them."""
    from distill.structures.check import accepted
    from distill.structures.checks.finding import FileFrames
    from distill.structures.checks.kinds import KINDS
    from distill.structures.checks.placeholders import check_placeholders
    from distill.structures.doubled import findings_of
    from distill.structures.validity import meant_labels

    frames, findings = meant_labels(frames, data)
    zeros = check_placeholders(FileFrames(frames, data))
    return frames, (*findings_of(source.doubled, data), *findings, *accepted(zeros, KINDS))


def _check_elements(frames: Frames, potential: Potential, data: str) -> None:
    """Refuse the first frame that has an element that the potential does not know."""
    import numpy as np
    from ase.data import chemical_symbols

    if potential.elements is None:
        return
    strange = np.flatnonzero(~np.isin(frames.numbers, potential.elements))
    if len(strange):
        symbol = chemical_symbols[frames.numbers[strange[0]]]
        known = ", ".join(chemical_symbols[z] for z in potential.elements)
        raise UserError(
            f"the potential does not know the element {symbol}",
            where=f"{data}, frame {frames.structure_of_atom[strange[0]]} (counted from 0)",
            remedy=f"It knows {known}: use a potential that was trained on all elements, or remove the frame",
        )


def _comparable(frames: Frames) -> Frames:
    """Return the structures without the stresses of those that do not repeat in three directions: none is predicted."""
    import numpy as np

    if frames.stress is None:
        return frames
    stress = np.array(frames.stress)
    stress[~frames.pbc.all(axis=1)] = np.nan
    return frames.with_labels(frames.energy, frames.forces, stress)


def _written(result: Evaluation, predictions: Path, errors: Path) -> Evaluation:
    """Write the files and return the result that names them; errors of an earlier evaluation do not stay behind."""
    from dataclasses import replace

    from distill.structures.write import write_frames

    errors.unlink(missing_ok=True)
    write_frames(predictions, result.predicted)
    if not result.errors:
        return replace(result, files=(predictions,))
    write_table(errors, COLUMNS, result.rows())
    return replace(result, files=(predictions, errors))

"""Apply a saved potential to a file of the user's: predictions and, where the file has labels, the errors.

What can be wrong with the input is found before the potential works: folder, file, keys, elements, place to write.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.errors import UserError, nearest
from distill.base.files import write_table
from distill.base.progress import Progress

if TYPE_CHECKING:
    from distill.analysis.errors import ErrorRow
    from distill.potentials.interface.potential import Potential
    from distill.structures.checks.finding import Finding
    from distill.structures.frames import Frames
    from distill.structures.read import LabelSource

LABELS = ("energy", "forces", "stress")
PREDICTIONS, ERRORS = "predictions.xyz", "errors.csv"
COLUMNS = ("model", "data", "config_type", "quantity", "statistic", "value", "low", "high", "unit", "n")
"""Columns of ``errors.csv``, one row a number; those that ``metrics.csv`` of a run has too mean the same."""


def model_name(folder: str | Path) -> str:
    """Return what a model's folder is called; a link, as a run's folder has them, by its own name."""
    return Path(os.path.abspath(folder)).name


@dataclass(frozen=True)
class Evaluation:
    """What a potential says of a file.

    Attributes:
        model: the potential's folder.
        data: the file.
        labels: which keys the labels were read from.
        predicted: the structures with predicted energies, forces and, where the potential has one, stress.
        errors: one row a number; empty where the file has no labels.
        files: what was written.
        seconds: that the predictions took.
        findings: what was noticed about the labels.
    """

    model: Path
    data: Path
    labels: LabelSource
    predicted: Frames
    errors: tuple[ErrorRow, ...]
    files: tuple[Path, ...]
    seconds: float
    findings: tuple[Finding, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Return the errors as mappings of JSON-able values with the keys of :data:`COLUMNS`."""
        head = {"model": model_name(self.model), "data": self.data.name}
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
    model: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    keys: Mapping[str, str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    trust_code: bool = False,
    environment: str | None = None,
) -> Evaluation:
    """Predict the structures of a file and compare with its labels.

    Args:
        model: folder of a saved potential, for instance ``runs/quickstart/models/painn``.
        data: extended XYZ file; each of energy, forces and stress is compared where the file has it.
        out: folder for ``predictions.xyz`` (with the extrapolation grade of each frame, or the spread of several
            teachers, where there is one) and, where there are labels, ``errors.csv``; None writes nothing.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
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

    model, data = Path(model), Path(data)
    _check_folder(model)
    targets = _targets(Path(out), data) if out is not None else None
    device = resolve_device(device)
    frames, source = _read(data, keys or {})
    frames, findings = _judged(frames, source, data)
    _refuse_damaged(model)
    potential = _load(model, device, trust_code, environment)
    _check_elements(frames, potential, data)
    refuse_unphysical(frames, potential.cutoff, file=str(data))
    begin = time.monotonic()
    with (progress or Progress()).phase("evaluating", len(frames), "structure") as phase:
        predicted, spread = potential.evaluate_with_spread(frames, progress=phase)
        predicted = potential.graded(predicted if spread is None else spread.noted(predicted))
    seconds = time.monotonic() - begin
    if not potential.predicts_stress:
        predicted = predicted.with_labels(predicted.energy, predicted.forces, None)
    errors = tuple(error_table(_comparable(frames), predicted, seed=seed))
    result = Evaluation(model, data, source, predicted, errors, (), seconds, findings)
    return result if targets is None else _written(result, *targets)


def _check_folder(model: Path) -> None:
    """Refuse what is not a folder of a potential, with the nearest that is."""
    if (model / "model.json").is_file():
        return
    inside = sorted(path.parent for path in model.glob("models/*/model.json")) + sorted(
        path.parent for path in model.glob("*/model.json")
    )
    if inside:
        remedy = f"Give one of these: {', '.join(map(str, inside))}"
    elif model.is_file() and (model.parent / "model.json").is_file():
        remedy = f"Give its folder, {model.parent}"
    else:
        remedy = "Give the folder of a model, for instance runs/quickstart/models/painn"
    if not model.exists():
        raise UserError("there is no such folder", where=str(model), remedy=remedy)
    raise UserError("is not a folder of a potential: it has no model.json", where=str(model), remedy=remedy)


def _refuse_damaged(model: Path) -> None:
    """Refuse a run's model of which a file is not as the run wrote it; of other folders nothing is known."""
    from distill.workflow.manifest import MANIFEST
    from distill.workflow.store import Store

    folder = model.resolve()
    if len(folder.parents) > 2 and (folder.parent / MANIFEST).is_file():
        damaged = Store(folder.parents[2]).damaged_below(folder)
        if damaged:
            remedy = "distill run with its recipe makes it again"
            raise UserError("is damaged: it is not as it was written", where=str(damaged[0]), remedy=remedy)


def _targets(out: Path, data: Path) -> tuple[Path, Path]:
    """Return the files to write, once it is known that they can be and are not what is read."""
    files = out / PREDICTIONS, out / ERRORS
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError("is not a folder", where=str(existing), remedy="Give another one as --out")
    if not os.access(existing, os.W_OK):
        raise UserError("nothing can be written there", where=str(existing), remedy="Give another folder as --out")
    if data.resolve() in [path.resolve() for path in files]:
        raise UserError("would be overwritten by the predictions", where=str(data), remedy="Give another --out")
    return files


def _read(data: Path, keys: Mapping[str, str]) -> tuple[Frames, LabelSource]:
    """Return the structures with the labels that all of them have."""
    from distill.structures.read import LabelKeys, read_frames

    for label in keys:
        if label not in LABELS:
            raise UserError(f"unknown label {label!r}", where="--key", remedy=nearest(label, LABELS))
    try:
        return read_frames(data, LabelKeys(**keys), labels="optional")
    except UserError as error:
        # The reader's remedy is for recipes.
        remedy = re.sub(r"in the recipe as data\.keys\.(\w+)", r"as --key \1=NAME", error.remedy or "")
        raise UserError(error.what, where=error.where, remedy=remedy or None) from None


def _judged(frames: Frames, source: LabelSource, data: Path) -> tuple[Frames, tuple[Finding, ...]]:
    """Return the structures with the labels that are meant, and what should be known of them."""
    from distill.structures.check import accepted
    from distill.structures.checks.finding import FileFrames
    from distill.structures.checks.kinds import KINDS
    from distill.structures.checks.placeholders import check_placeholders
    from distill.structures.doubled import findings_of
    from distill.structures.validity import meant_labels

    frames, findings = meant_labels(frames, str(data))
    zeros = check_placeholders(FileFrames(frames, str(data)))
    return frames, (*findings_of(source.doubled, str(data)), *findings, *accepted(zeros, KINDS))


def _load(model: Path, device: str, trust_code: bool, environment: str | None) -> Potential:
    from distill.potentials.interface.saving import load

    try:
        return load(model, device, trust_code=trust_code, environment=environment)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the potential cannot be read ({error})", where=str(model)) from error


def _check_elements(frames: Frames, potential: Potential, data: Path) -> None:
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

"""The safety gate: about ten seconds of looking where simulations may get to, before a potential is given away.

Errors on a test set say nothing of two atoms at 0.8 Å or of a crystal at half of its volume, and there potentials that
were learnt have holes: an atom falls in, and the simulation ends or, worse, goes on. What fails is compared with the
teacher, which tells whether more training structures or another teacher is what helps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distill.analysis.gate import GateRow
from distill.base.errors import UserError, WorkError
from distill.base.files import read_json, write_json
from distill.base.html import table
from distill.base.progress import Progress
from distill.exporting import gate_checks
from distill.exporting.references import References, references
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalResult

FILE = "gate.json"
UNSAFE = "UNSAFE"

Check = Callable[[Potential], list[GateRow]]


@dataclass(frozen=True)
class Gate:
    """What the gate found.

    Attributes:
        model: what the potential is called.
        rows: the checks.
        crystals: what was compressed, sheared and heated.
        left_out: how many more compositions there were among the structures.
        temperature: the highest temperature that the model is meant for, K.
        teacher: what the teacher is called; empty without one.
        seconds: that it took.
    """

    model: str
    rows: tuple[GateRow, ...]
    crystals: tuple[str, ...]
    left_out: int
    temperature: float
    teacher: str
    seconds: float

    @property
    def failures(self) -> tuple[GateRow, ...]:
        """The checks for which the model must not be given away."""
        return tuple(row for row in self.rows if row.fails)

    @property
    def warnings(self) -> tuple[GateRow, ...]:
        """The checks that it does not pass and that are only told."""
        return tuple(row for row in self.rows if not row.passed and row.warns)

    @property
    def passed(self) -> bool:
        """Whether the model is safe to be given away."""
        return not self.failures

    @property
    def sentence(self) -> str:
        """The outcome in one sentence, with the first reason where it failed."""
        if not self.passed:
            more = f", and {len(self.failures) - 1} more" if len(self.failures) > 1 else ""
            return (
                f"{self.model} fails {len(self.failures)} of {len(self.rows)} checks: {self.failures[0].sentence}{more}"
            )
        crystals = "" if self.crystals else "; no crystal was among the structures, and none was compressed"
        warned = f", with {len(self.warnings)} warnings" if self.warnings else ""
        return f"{self.model} passes all {len(self.rows) - len(self.warnings)} checks{warned}{crystals}"

    def __repr__(self) -> str:
        return f"Gate({self.sentence})"

    def _repr_html_(self) -> str:
        """Return the checks as a table; a notebook shows it."""
        rows = [("passed" if r.passed else "warned" if r.warns else "FAILED", r.name, r.sentence) for r in self.rows]
        return table(self.sentence, ("", "check", "found"), rows)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"passed": self.passed, "sentence": self.sentence, **asdict(self)}

    @classmethod
    def read(cls, file: Path) -> Gate:
        """Return what :meth:`write` wrote."""
        said = read_json(file)
        given = {name: said[name] for name in ("model", "left_out", "temperature", "teacher", "seconds")}
        return cls(rows=tuple(GateRow(**row) for row in said["rows"]), crystals=tuple(said["crystals"]), **given)

    def write(self, folder: Path) -> Path:
        """Write ``gate.json`` into a folder, and return the file."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, self.summary())
        return folder / FILE


OVERRULE = "export it as UNSAFE with --force"
"""How a gate that failed is overruled on the command line."""


def require(gate: Gate, *, force: bool = False, overrule: str = OVERRULE) -> str:
    """Return what an export of a model has to say of its safety: nothing, or with ``force`` that it is UNSAFE and why.

    Raises:
        WorkError: the gate failed, and is not overruled.
    """
    if gate.passed:
        return ""
    if not force:
        raise WorkError(gate.sentence, "safety gate", f"Mend the model, or {overrule}")
    return f"{UNSAFE}: {'; '.join(row.sentence for row in gate.failures)}"


def safety_of(gate: Gate | None, *, force: bool = False, overrule: str = OVERRULE) -> str:
    """Return a line on the safety of an export: not looked at, passed, or UNSAFE and why; raises as :func:`require`."""
    if gate is None:
        return "The safety gate was not run."
    return require(gate, force=force, overrule=overrule) or f"Safety gate: {gate.sentence}."


def run_gate(
    potential: Potential,
    structures: Frames,
    *,
    model: str,
    temperature: float = 300.0,
    teacher: Potential | None = None,
    teacher_name: str = "",
    ps: float = 10.0,
    seconds: float = 6.0,
    progress: Progress = Progress(),
) -> Gate:
    """Look whether a potential is safe to be given away.

    Args:
        potential: the model.
        structures: what it was fitted to, or the crystals that it is meant for; energies of theirs choose the lowest of
            each composition, otherwise the model's do.
        model: what it is called.
        temperature: the highest at which it is meant to be used, K; dynamics is run at twice that.
        teacher: what it was taught by; only asked where the model fails.
        teacher_name: what that is called.
        ps: length of the dynamics, ps.
        seconds: wall time that the dynamics may take; it is shortened to that.
        progress: counts checks.

    Raises:
        UserError: structures that the model or its teacher cannot describe, or a length or temperature that is none.
    """
    for name, value in (("temperature", temperature), ("ps", ps), ("seconds", seconds)):
        if not value > 0:
            raise UserError(f"{name} is {value:g}", where="gate", remedy="Give a number above 0")
    if teacher is not None:
        teacher.check(structures)
    begin, of = time.perf_counter(), references(structures, potential)
    rows: list[GateRow] = []
    checks = _checks(of)
    with progress.phase("safety gate", len(checks) + 1, "check") as phase:
        for name, check, compared in checks:
            rows += _judged(name, check, potential, teacher if compared else None)
            phase.advance(1)
        rows += gate_checks.dynamics_rows(of, potential, teacher, temperature, ps, seconds)
        phase.advance(1)
    took = time.perf_counter() - begin
    return Gate(model, tuple(rows), of.names, of.left_out, temperature, teacher_name, round(took, 1))


def _checks(of: References) -> list[tuple[str, Check, bool]]:
    """Return the checks, cheapest first: what is looked at, how, and whether the teacher may have the same flaw."""
    elements = of.structures.elements
    return [
        ("two atoms", partial(gate_checks.dimer_rows, elements), True),
        ("joint of the repulsion", partial(gate_checks.splice_rows, elements), False),
        ("F = -dE/dx", partial(gate_checks.gradient_rows, of), False),
        ("compressed crystals", partial(gate_checks.compression_rows, of), True),
        ("sheared crystals", partial(gate_checks.shear_rows, of), True),
        ("hard spheres relaxed", partial(gate_checks.sphere_rows, of), True),
    ]


def _judged(name: str, check: Check, potential: Potential, teacher: Potential | None) -> list[GateRow]:
    """Return the rows of a check; where one is not passed, the teacher goes through the same and is compared."""
    rows = _rows(name, check, potential)
    if teacher is None or all(row.passed for row in rows):
        return rows
    same = {row.name: row.passed for row in _rows(name, check, teacher)}
    sound = all(same.values())
    return [row.blamed("student" if same.get(row.name, sound) else "teacher") for row in rows]


def _rows(name: str, check: Check, potential: Potential) -> list[GateRow]:
    """Return the rows of a check; one that is not passed where a calculator's numbers are not finite, which ends it."""
    try:
        return check(potential)
    except UnphysicalResult as error:
        return [GateRow(name, False, None, None, "", f"{name}: {error.what}")]

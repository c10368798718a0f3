"""What is left to improve in the teacher, in sentences: which members err less, and where further DFT should go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from distill.analysis.families import FamilyShare, family_shares
from distill.reporting.data import Parity, ReportData
from distill.reporting.models import Model
from distill.reporting.tables import QUANTITIES, Entry, ErrorTable, Table, number, show
from distill.reporting.teachers import Teachers

TEACHER = Model("teacher", "finetuned")

Said = tuple[Literal["good", "bad", "note"], str]
"""A sentence, after whether it speaks for the result, against it, or neither."""


def shares_of(parity: Sequence[Parity]) -> list[FamilyShare]:
    """Return the part of each family in the teacher's force error on the test set, the worst family first."""
    for one in parity:
        if one.of == TEACHER and one.reference_forces is not None and one.predicted_forces is not None:
            return family_shares(one.n_atoms, one.config_type, one.reference_forces, one.predicted_forces)
    return []


def remaining_sentences(data: ReportData, table: ErrorTable) -> list[str]:
    """Say in which family of structures the teacher's error lies, and whether DFT structures should go there."""
    shares = shares_of(data.parity)
    if len(shares) < 2:
        return []
    worst, *others = shares
    cells = {one.family: table.cell(TEACHER, "forces", config_type=one.family) for one in shares}
    rest = " and ".join(f"{show(cells[one.family], 'forces')} in {one.family}" for one in others)
    lies = (
        f"Of the teacher's squared force error on the {table.split} set {100 * worst.of_error:.0f} % lies in "
        f"{worst.family}, which has {100 * worst.of_components:.0f} % of the forces: "
        f"{show(cells[worst.family], 'forces')} meV/Å there, {rest}"
    )
    now = ""
    if data.train_families:
        now = (
            f" ({data.train_families.get(worst.family, 0)} of {sum(data.train_families.values())} training structures)"
        )
    low, highs = getattr(cells[worst.family], "low", None), [getattr(cells[one.family], "high", None) for one in others]
    if low is not None and all(high is not None and high < low for high in highs):
        return [f"{lies}. Further DFT structures should be of {worst.family}{now}."]
    return [
        f"{lies}; the ranges overlap, so that no family{now and ' of the training structures'} surely needs more DFT."
    ]


def teacher_sentences(teachers: Teachers | None) -> list[Said]:
    """Say whether the mean of several teachers is better than the best of them, and what their spread is good for."""
    if teachers is None:
        return []
    return [*_against_the_best(teachers), *_reliable(teachers), *_left_out(teachers)]


def _against_the_best(teachers: Teachers) -> list[Said]:
    judged = [one for one in teachers.members if one.test_forces is not None and one.over_mean is not None]
    if not judged:
        return []
    best = min(judged, key=lambda one: one.valid_forces)
    gain = best.over_mean
    if gain is None or gain.low is None or gain.high is None:
        return []
    more = gain.value < 0
    ends = (-gain.value, -gain.high, -gain.low) if more else (gain.value, gain.low, gain.high)
    value, low, high = (f"{1000 * end:.1f}".replace("-", "−") for end in ends)
    than = f"{'more' if more else 'less'} than the best by validation, {best.name}, by {value} [{low} to {high}] meV/Å"
    text = f"The mean of the {len(teachers.members)} teachers errs {than}, structure by structure"
    if gain.high < 0:
        return [("bad", f"{text}. Leave the others out.")]
    if gain.low > 0:
        return [("good", f"{text}.")]
    return [("note", f"{text}: the range holds zero, so that this may be chance.")]


def _reliable(teachers: Teachers) -> list[Said]:
    found = teachers.reliability.get("forces")
    if found is None or found.spearman is None or found.ratio is None:
        return []
    ends = "" if found.low is None or found.high is None else f" [{found.low:.2f}–{found.high:.2f}]"
    said = "How far the teachers lie apart ranks the force errors of test structures with Spearman"
    return [("note", f"{said} {found.spearman:.2f}{ends}; errors are {found.ratio:.1f} times as large as the spread.")]


def _left_out(teachers: Teachers) -> list[Said]:
    if not teachers.left_out or teachers.limit is None:
        return []
    structures = "1 grown structure was" if teachers.left_out == 1 else f"{teachers.left_out} grown structures were"
    why = f"the teachers lie farther apart on its forces than {1000 * teachers.limit:.0f} meV/Å"
    why = why if teachers.left_out == 1 else why.replace("its", "their")
    return [("note", f"{structures} left out of the students' training: {why}.")]


def teachers_table(teachers: Teachers | None) -> Table | None:
    """Return weight and errors of each of several teachers."""
    if teachers is None:
        return None
    header = (
        "teacher",
        "weight in the mean",
        "validation: forces (meV/Å)",
        "energy (meV/atom)",
        "test: forces (meV/Å)",
    )
    rows = []
    for one in teachers.members:
        test, aside = "–", ""
        if (found := one.test_forces) is not None:
            test = number(1000 * found.value, 1)
            if found.low is not None and found.high is not None:
                aside = f"[{1000 * found.low:.0f}–{1000 * found.high:.0f}]"
        rows.append(
            (
                Entry(one.name, one.model),
                Entry(f"{one.share:.2f}", "" if one.share else "no part in it"),
                Entry(number(1000 * one.valid_forces, 1)),
                Entry(number(1000 * one.valid_energy, 1)),
                Entry(test, aside),
            )
        )
    return Table("The teachers by themselves, mean absolute errors", header, tuple(rows))


def shares_table(shares: Sequence[FamilyShare]) -> Table | None:
    """Return the part of each family in the teacher's force error."""
    if len(shares) < 2:
        return None
    header = ("family", f"force MAE ({QUANTITIES['forces'].unit})", "share of the squared error", "share of the forces")
    rows = tuple(
        (
            Entry(one.family),
            Entry(number(1000 * one.mae, 1)),
            Entry(f"{100 * one.of_error:.0f} %"),
            Entry(f"{100 * one.of_components:.0f} %"),
        )
        for one in shares
    )
    return Table("Where the teacher's force error lies", header, rows)

"""The verdict in plain sentences: was distillation worth it, did the models survive, what went wrong.

A sentence is good, bad or a note; a failure is always said, also that of one seed among several, and the headline never
claims more than was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from distill.analysis.energy_volume import EnergyVolumeFit
from distill.analysis.errors import Difference
from distill.reporting.data import Curve, Dynamics, EnergyVolume, ReportData, Static, Tuning, in_order, name_with_seed
from distill.reporting.exports import export_sentences
from distill.reporting.judged import verdict_sentences
from distill.reporting.models import Model
from distill.reporting.remaining import remaining_sentences, teacher_sentences
from distill.reporting.tables import QUANTITIES, Cell, ErrorTable, say_failed, show, show_best

Tone = Literal["good", "bad", "note"]


@dataclass(frozen=True)
class Sentence:
    """One statement and whether it speaks for the result, against it, or neither."""

    tone: Tone
    text: str


@dataclass(frozen=True)
class Conclusion:
    """The box on top of the page: one headline and the sentences that carry it."""

    tone: Tone
    headline: str
    sentences: tuple[Sentence, ...]


def conclude(data: ReportData, table: ErrorTable) -> Conclusion:
    """Return the verdict on a run; of a seed that failed it says that, and nothing of its simulations."""
    curves = [curve for curve in data.energy_volume if curve.seed not in table.failed(curve.of)]
    teachers = [Sentence(tone, text) for tone, text in teacher_sentences(data.teachers)]
    verdicts = list(verdict_sentences(data.physics))
    judged = [
        *_students(table, data.gains),
        *_against_zero_shot(table),
        *_finetuning(table, None if data.teachers else data.tuning),
        *[one for one in teachers if one.tone != "note"],
        *_simulations([run for run in data.dynamics if run.seed not in table.failed(run.of)]),
        *_equations_of_state(curves),
        *_statics([one for one in data.statics if one.seed not in table.failed(one.of)]),
        *[Sentence(tone, text) for tone, text in verdicts if tone != "note"],
        *[Sentence(tone, text) for tone, text in export_sentences(data.exports)],
        *_trainings(data),
        *_failed_seeds(table, data.curves),
    ]
    courses = [text for tuned in (data.tuning, *data.other_tunings) for text in _course(tuned)]
    texts = (*remaining_sentences(data, table), *_one_seed(table), *courses, *data.findings)
    said = [*teachers, *[Sentence(tone, text) for tone, text in verdicts]]
    notes = [*[one for one in said if one.tone == "note"], *[Sentence("note", text) for text in texts]]
    bad, good = (sum(s.tone == tone for s in judged) for tone in ("bad", "good"))
    if bad:
        return Conclusion("bad", f"Look closer: {bad} of {bad + good} checks failed.", (*judged, *notes))
    if good:
        return Conclusion("good", f"All {good} checks passed." if good > 1 else "The check passed.", (*judged, *notes))
    return Conclusion("note", "Nothing was judged in this run.", (*judged, *notes))


def _students(table: ErrorTable, gains: Mapping[str, Difference]) -> list[Sentence]:
    """Say for each student how the distilled one compares with the direct one and with its teacher."""
    sentences = []
    teacher = table.cell(Model("teacher", "finetuned"), "forces")
    for name, variant in _results(table).items():
        before, result, direct = (table.cell(Model(name, v), "forces") for v in ("distilled", variant, "direct"))
        if result is None:
            continue
        text = f"The {variant} {name} {_has(result, f' on the {table.split} set')}"
        text += f", before it was refined {_forces(before)}" if variant == "refined" and before else ""
        text += f"; its fine-tuned teacher has {_forces(teacher)}." if teacher else "."
        if result.value is None:
            sentences.append(Sentence("bad", text))
        elif direct is None:
            sentences.append(Sentence("note", text))
        else:
            sentences.append(_against_direct(text, result, direct, gains.get(name)))
            sentences += _where_direct_is_better(name, variant, table)
    return sentences


def _one_seed(table: ErrorTable) -> list[str]:
    """Say which students were trained once only, so that nothing is known of the spread over seeds."""
    names = {m.model: None for m in table.models if m.model != "teacher" and table.seeds(m) == 1}
    if not names:
        return []
    said = f"{' and '.join(names)}: one random seed, so that intervals are over test structures alone"
    return [f"{said}. Another seed gives other errors; seeds: 3 shows by how much."]


def _results(table: ErrorTable) -> dict[str, str]:
    """Return for each student the variant that distillation ends with: the refined one where there is one."""
    students = [m for m in table.models if m.model != "teacher"]
    refined = {m.model for m in students if m.variant == "refined"}
    return {m.model: "refined" if m.model in refined else "distilled" for m in students}


def _against_zero_shot(table: ErrorTable) -> list[Sentence]:
    """Say whether each distilled student is better than the foundation model as it comes, which costs nothing."""
    sentences = []
    zero_shot = table.cell(Model("teacher", "zero_shot"), "forces")
    for name, variant in _results(table).items():
        student = table.cell(Model(name, variant), "forces")
        if not zero_shot or not student or zero_shot.value is None or student.value is None:
            continue
        said = f"the foundation model as it comes ({_forces(zero_shot)})"
        if student.value >= zero_shot.value:
            sentences.append(Sentence("bad", f"The {variant} {name} is no better than {said}."))
        elif student.high is not None and zero_shot.low is not None and student.high < zero_shot.low:
            sentences.append(Sentence("good", f"The {variant} {name} is better than {said}."))
        else:
            sentences.append(Sentence("note", f"The {variant} {name} may be better than {said}: the ranges overlap."))
    return sentences


def _where_direct_is_better(name: str, variant: str, table: ErrorTable) -> list[Sentence]:
    """Say in which other quantities the direct student is surely better: its interval lies below."""
    worse = []
    for quantity, word in (("energy_per_atom", "energy"), ("stress", "stress")):
        student, direct = (table.cell(Model(name, v), quantity) for v in (variant, "direct"))
        if student and direct and student.low is not None and direct.high is not None and direct.high < student.low:
            unit = QUANTITIES[quantity].unit
            worse.append(f"{word} ({show(direct, quantity)} against {show(student, quantity)} {unit})")
    return [Sentence("note", f"The direct {name} is better in {' and '.join(worse)}.")] if worse else []


def _against_direct(text: str, distilled: Cell, direct: Cell, gain: Difference | None) -> Sentence:
    """Say whether distillation helped, judged by the means over the seeds that did not fail.

    Certain is what the paired difference of these means says where it is known (its interval draws structures and
    seeds, see :func:`distill.analysis.errors.force_error_difference`), else two ranges that do not meet (of several
    seeds, the hull of their intervals).
    """
    said = f"{text} The same architecture trained directly on the DFT structures {_has(direct, short=True)}"
    if direct.value is None or distilled.value is None:
        return Sentence("good", f"{said}.")
    change = 100 * (1 - distilled.value / direct.value)
    if change <= 0:
        return Sentence("bad", f"{said}: distillation did not help, its error is {-change:.0f} % higher.")
    lowers = f"{said}: distillation lowers the error by {change:.0f} %"
    if gain is not None and gain.low is not None and gain.high is not None:
        paired = Cell(gain.value, gain.low, gain.high, 1, distilled.n, ())
        seeds = " and over these seeds" if max(len(distilled.each), len(direct.each)) > 1 else ""
        lowers += f", by {_forces(paired)} where both are compared structure by structure{seeds}"
        certain = gain.low > 0
    else:
        certain = distilled.high is not None and direct.low is not None and distilled.high < direct.low
    if certain:
        return Sentence("good", f"{lowers}.")
    return Sentence("note", f"{lowers}; the ranges overlap or are unknown, so this may be chance.")


def _finetuning(table: ErrorTable, tuned: Tuning | None) -> list[Sentence]:
    if tuned is not None and tuned.undone:
        what = "Fine-tuning made the teacher worse on the validation structures, and was undone"
        return [Sentence("bad", f"{what}: it taught as it came, with shifted reference energies.")]
    before, after = (table.cell(Model("teacher", v), "forces") for v in ("zero_shot", "finetuned"))
    if not before or not after or before.value is None or after.value is None:
        return []
    change = 100 * (1 - after.value / before.value)
    said = f"the teacher's force error from {_forces(before)} to {_forces(after)}"
    if change > 0:
        return [Sentence("good", f"Fine-tuning lowered {said} ({change:.0f} % less).")]
    return [Sentence("bad", f"Fine-tuning did not help: it changed {said}.")]


def _course(tuned: Tuning | None) -> list[str]:
    """Say how fine-tuning went, and what it did to other materials."""
    if tuned is None:
        return []
    of = f" {tuned.of}" if tuned.of else ""
    notes = [f"Fine-tuning{of}: {text}." for text in tuned.notes]
    if tuned.change is None or tuned.size is None or tuned.undone:
        return notes
    numbers = f"{1000 * tuned.change:.0f} meV/Å on average (they are {1000 * tuned.size:.0f} meV/Å)"
    return [*notes, f"Fine-tuning{of} changed the forces on {len(tuned.forgotten)} other materials by {numbers}."]


def _simulations(runs: Sequence[Dynamics]) -> list[Sentence]:
    sentences = []
    for model in in_order([run.of for run in runs]):
        mine = [run for run in runs if run.of == model]
        failed = [run for run in mine if not run.verdict.survived]
        count = "the simulation" if len(mine) == 1 else f"all {len(mine)} simulations"
        if not failed:
            sentences.append(Sentence("good", f"{model.label}: survived {count}."))
            continue
        seeds = [f", seed {run.seed}" if len({r.seed for r in mine}) > 1 else "" for run in failed]
        why = [f"{run.name}{seed}: {'; '.join(run.verdict.reasons)}" for run, seed in zip(failed, seeds, strict=True)]
        # A direct baseline that fails is what distillation is there to avoid: it does not speak against the result.
        tone: Tone = "note" if model.variant == "direct" else "bad"
        sentences.append(
            Sentence(tone, f"{model.label}: failed {len(failed)} of {len(mine)} simulations ({' | '.join(why)}).")
        )
    return sentences


def _equations_of_state(curves: Sequence[EnergyVolume]) -> list[Sentence]:
    """Say how far each distilled student is from its teacher."""
    teachers = [c.fit for c in curves if c.of == Model("teacher", "finetuned")]
    sentences = []
    for curve in curves:
        name, fit = name_with_seed(curve, curves), curve.fit
        is_distilled = curve.of.variant in ("distilled", "refined")
        if fit.failure is None and is_distilled and teachers and teachers[0].failure is None:
            sentences.append(Sentence("note", f"{name}: {_differences(curve.structure, fit, teachers[0])}."))
    return sentences


def _statics(statics: Sequence[Static]) -> list[Sentence]:
    """Say what is wrong with each model whatever the teacher says, or what was found in order with a student."""
    sentences = []
    for one in statics:
        name = name_with_seed(one, statics)
        tone: Tone = "note" if one.of.variant == "direct" or one.of.model == "teacher" else "bad"
        sentences += [Sentence(tone, f"{name}: {flaw}.") for flaw in one.result.flaws]
        if one.result.sound and one.of.model != "teacher":
            sentences.append(Sentence("good", f"{name}: {one.result.sound}."))
    return sentences


def _differences(structure: str, student: EnergyVolumeFit, teacher: EnergyVolumeFit) -> str:
    length = _change(student.lattice_constant(1), teacher.lattice_constant(1))
    modulus = _change(student.bulk_modulus, teacher.bulk_modulus)
    return f"the lattice constant of {structure} differs from the teacher's by {length}, the bulk modulus by {modulus}"


def _change(new: float | None, old: float | None) -> str:
    return "an unknown amount" if not new or not old else f"{100 * (new / old - 1):+.1f} %".replace("-", "−")


def _trainings(data: ReportData) -> list[Sentence]:
    sentences = []
    for curve in data.curves:
        if curve.status != "finished":
            why = f": {curve.note}" if curve.note else ""
            name = name_with_seed(curve, data.curves)
            tone: Tone = "note" if curve.of.variant == "direct" else "bad"
            sentences.append(Sentence(tone, f"The training of {name} {curve.status}{why}."))
    return sentences


def _failed_seeds(table: ErrorTable, curves: Sequence[Curve]) -> list[Sentence]:
    """Name the seeds that gave no usable model and of which no learning curve tells."""
    told = {(curve.of, curve.seed) for curve in curves if curve.status != "finished"}
    sentences = []
    for model in table.models:
        lost = {seed: status for seed, status in table.failed(model).items() if (model, seed) not in told}
        if lost:
            tone: Tone = "note" if model.variant == "direct" else "bad"
            text = say_failed(lost, alone=table.seeds(model) == 1)
            sentences.append(Sentence(tone, f"{model.label}: {text}."))
    return sentences


def _has(cell: Cell, where: str = "", *, short: bool = False) -> str:
    """Return what a model has: its force error, with what is to be said of its seeds, or why it has none."""
    if cell.value is None:
        why = "its numbers are not finite"
        if cell.all_failed:
            why = say_failed(cell.failed) if cell.seeds > 1 else f"it {say_failed(cell.failed, alone=True)}"
        return f"has no force error{where}: {why}"
    said = f"has {'' if short else 'a force error of '}{_forces(cell)}{where}"
    if cell.seeds == 1:
        return said
    good = f"{len(cell.each)} of {cell.seeds} seeds" if cell.failed else f"{cell.seeds} seeds"
    notes = [f"mean ± standard deviation of {good}" if cell.deviation is not None else good]
    notes += [f"best by validation: {best}"] if (best := show_best(cell, "forces")) else []
    notes += [say_failed(cell.failed)] if cell.failed else []
    return f"{said} ({'; '.join(notes)})"


def _forces(cell: Cell) -> str:
    """Return a force error with its unit, e.g. ``133 [121–146] meV/Å``."""
    unit = "" if cell.value is None else f" {QUANTITIES['forces'].unit}"
    return f"{show(cell, 'forces')}{unit}"

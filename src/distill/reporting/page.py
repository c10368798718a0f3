"""The report: one HTML page that needs nothing but itself, and its figures as PNG files beside it.

The page is filled from :class:`~distill.reporting.data.ReportData` alone; whatever is absent there is absent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from distill.analysis.verdicts import LEVELS
from distill.base.files import write_text
from distill.base.progress import duration
from distill.reporting import figures, figures_physics, figures_speed, figures_teachers, figures_verdict, figures_work
from distill.reporting.data import EnergyVolume, ReportData, Speeds, in_order, name_with_seed
from distill.reporting.exports import certificate_table, exports_table, gate_table
from distill.reporting.judged import criteria_table, levels_table
from distill.reporting.models import Model
from distill.reporting.remaining import shares_of, shares_table, teachers_table
from distill.reporting.statics import static_table
from distill.reporting.style import data_uri, looks, save
from distill.reporting.tables import Entry, ErrorTable, Table, family_tables, full_tables, main_table
from distill.reporting.verdict import conclude

TEMPLATE = "page.html"

TEXTS = {
    "force_errors": (
        "Force error of every model with its uncertainty",
        "Mean absolute error of the force components. Bars: 95 % bootstrap interval over structures; where a student "
        "was trained with several seeds, mean, standard deviation and a tick for each seed that did not fail.",
    ),
    "parity_forces": (
        "Predicted against DFT force components, one panel a model",
        "Each point is one Cartesian component; a perfect model lies on the line. Of several seeds the best "
        "by validation is drawn; the MAE is their mean.",
    ),
    "parity_energy": (
        "Predicted against DFT energies per atom, one panel a model",
        "Each point is one structure. Of several seeds the best by validation is drawn; the MAE is their mean.",
    ),
    "remaining": (
        "Force error of the teacher in each family of test structures, and the families' shares of it",
        "Left: mean absolute error of the force components with its 95 % bootstrap interval. Right: bars are shares of "
        "the sum of squared errors, ticks the shares of the forces; a bar beyond its tick is a family that the teacher "
        "knows less well than the others.",
    ),
    "reliability": (
        "Spread of the teachers against the error of their mean on the test structures",
        "Left: one point a structure. Right: structures in bins of equal size by their spread, root mean squares, with "
        "95 % bootstrap intervals. On the dashed line error and spread are equal; teachers that were fitted to the "
        "same data share errors, and then lie closer together than they err.",
    ),
    "energy_volume": (
        "Energy against volume for teacher and students",
        "Points: the model; lines: third-order Birch-Murnaghan fits. Each curve is measured from its own minimum.",
    ),
    "dynamics": (
        "Temperature and shortest interatomic distance during molecular dynamics",
        "Langevin dynamics. Instantaneous temperatures should stay in the grey band about 95 % of the time.",
    ),
    "differences": (
        "Difference of every quantity from the teacher's over its tolerance, with its interval",
        "Within the grey band a quantity agrees. Lines: 95 % intervals over replicas; what has no line has no noise. "
        "Triangles lie beyond the axis.",
    ),
    "observed": (
        "Observed curves of teacher and students",
        "Means over replicas; bands: their 95 % intervals.",
    ),
    "speed": (
        "Milliseconds a step of molecular dynamics against the number of atoms, both axes logarithmic",
        "Velocity-Verlet steps with ASE on supercells of one structure. Full lines were measured in this run; dashed "
        "lines with hollow markers come from a table that the recipe names.",
    ),
    "learning_curves": (
        "Training and validation loss and validation force error against optimisation step",
        "Dotted: the step whose weights were kept. Trainings that did not finish are tinted and named.",
    ),
    "tuning": (
        "Residual energies of the training structures, and change of other materials by fine-tuning",
        "Left: energy of DFT minus that of the foundation model, after one energy per element was fitted; families "
        "far apart hint at mixed levels of theory. Right: mean absolute change of the forces by fine-tuning, on "
        "distorted structures of other materials: what is forgotten.",
    ),
    "growth": ("Statistics of the synthetic structures", "Dashed: medians."),
    "costs": (
        "Wall time and peak memory of every task",
        "What each task took when it was done; hatched tasks were taken from the store in this run.",
    ),
}
"""What each figure shows, for who cannot see it, and how to read it."""


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    Attributes:
        name: its file is ``figures/<name>.png``.
        alt: what it shows, for who cannot see it.
        caption: how to read it.
        figure: the drawing.
    """

    name: str
    alt: str
    caption: str
    figure: Figure


def build(data: ReportData, out: Path) -> list[Path]:
    """Write ``out/report.html`` and ``out/figures/*.png``, and return their paths, the page first."""
    table = ErrorTable(data.metrics)
    pictures = _pictures(data, table)
    paths = {p.name: save(p.figure, out / "figures" / f"{p.name}.png") for p in pictures}
    images = {
        p.name: {"alt": p.alt, "caption": p.caption, "source": data_uri(paths[p.name].read_bytes())} for p in pictures
    }
    page = out / "report.html"
    write_text(page, _render(data, table, images))
    return [page, *paths.values()]


def template(name: str, *folders: Path) -> Template:
    """Return a template of a page, which finds the parts that all pages share; ``folders`` are looked in first."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _render(data: ReportData, table: ErrorTable, images: dict[str, dict[str, str]]) -> str:
    variants = {model.variant for model in _models(data, table)}
    return template(TEMPLATE).render(
        data=data,
        conclusion=conclude(data, table),
        images=images,
        has_direct="direct" in variants,
        has_refined="refined" in variants,
        errors=_errors(data, table),
        full=full_tables(table, "dft"),
        against_teacher=full_tables(table, "teacher"),
        families=family_tables(table),
        teachers=teachers_table(data.teachers),
        shares=shares_table(shares_of(data.parity)),
        equations_of_state=_equations_of_state(data.energy_volume),
        statics=static_table(data.statics),
        levels=levels_table(data.physics),
        level_names=LEVELS,
        criteria=criteria_table(data.physics),
        simulations=_simulations(data),
        speeds=_speeds(data.speed),
        exports=exports_table(data.exports),
        gates=gate_table(data.exports),
        certificates=certificate_table(data.exports),
        costs=_costs(data),
    )


def _models(data: ReportData, table: ErrorTable) -> list[Model]:
    timed = data.speed.measured if data.speed else ()
    judged = data.physics.judged if data.physics else ()
    entries = (data.parity, data.curves, data.energy_volume, data.statics, data.dynamics, judged, timed)
    observed = [model for curve in (data.physics.curves if data.physics else ()) for model, _ in curve.replicas]
    return in_order([*table.models, *[entry.of for part in entries for entry in part], *observed])


def _pictures(data: ReportData, table: ErrorTable) -> list[Picture]:
    """Draw every figure that there is something for, in the order of :data:`TEXTS`."""
    look_of = looks(_models(data, table))
    families = next((one.config_type for one in data.parity), ())
    drawn = {
        "force_errors": figures.force_errors(table, look_of),
        "parity_forces": figures.parity(data.parity, "forces", table),
        "parity_energy": figures.parity(data.parity, "energy_per_atom", table),
        "remaining": figures_teachers.remaining(shares_of(data.parity), table),
        "reliability": figures_teachers.reliability(data.teachers.reliability, families) if data.teachers else None,
        "energy_volume": figures_physics.energy_volume(data.energy_volume, look_of),
        "dynamics": figures_physics.dynamics(data.dynamics, look_of),
        "differences": figures_verdict.differences(data.physics, look_of),
        "observed": figures_verdict.curves(data.physics, look_of),
        "speed": figures_speed.speed(data.speed, look_of) if data.speed else None,
        "learning_curves": figures.learning_curves(data.curves),
        "tuning": figures_work.tuning(data.tuning) if data.tuning else None,
        "growth": figures_work.growth(data.growth) if data.growth else None,
        "costs": figures_work.costs(data.stages),
    }
    return [Picture(name, *TEXTS[name], figure) for name, figure in drawn.items() if figure is not None]


def _errors(data: ReportData, table: ErrorTable) -> Table | None:
    if not table.quantities:
        return None
    return main_table(table, {c.of: c.status for c in data.curves if c.status != "finished"})


def _equations_of_state(curves: Sequence[EnergyVolume]) -> Table | None:
    if not curves:
        return None
    header = (
        "model",
        "lattice constant (Å)",
        "volume (Å³/atom)",
        "bulk modulus (GPa)",
        "B₀′",
        "fit residual (meV/atom)",
    )
    rows = []
    for curve in curves:
        fit = curve.fit
        a0 = fit.lattice_constant(curve.atoms_per_cell) if curve.atoms_per_cell else None
        residual = None if fit.residual is None else 1000 * fit.residual
        numbers = [(a0, 4), (fit.volume, 3), (fit.bulk_modulus, 1), (fit.bulk_modulus_derivative, 2), (residual, 2)]
        rows.append((Entry(name_with_seed(curve, curves), fit.failure or ""), *[_rounded(*n) for n in numbers]))
    return Table(f"Equation of state of {curves[0].structure}", header, tuple(rows))


def _simulations(data: ReportData) -> Table | None:
    if not data.dynamics:
        return None
    header = (
        "model",
        "simulation",
        "time (ps)",
        "mean temperature (K)",
        "shortest distance (Å)",
        "energy drift (meV/atom/ps)",
        "survived",
    )
    rows = []
    for run in data.dynamics:
        v = run.verdict
        drift, error = ((None if x is None else 1000 * x) for x in (v.energy_drift, v.energy_drift_error))
        rows.append(
            (
                Entry(name_with_seed(run, data.dynamics)),
                Entry(run.name),
                _rounded(v.duration_fs / 1000, 2),
                Entry(_rounded(v.mean_temperature, 0).main, f"± {v.temperature_band:.0f} accepted"),
                _rounded(v.min_distance, 2),
                Entry(_rounded(drift, 2).main, "" if error is None else f"± {error:.2f}"),
                Entry("yes") if v.survived else Entry("no", "; ".join(v.reasons)),
            )
        )
    return Table("Molecular dynamics", header, tuple(rows))


def _speeds(speeds: Speeds | None) -> Table | None:
    """Return the milliseconds a step, one row a size and one column a model, then how they compare and why they end."""
    if speeds is None or not speeds.measured:
        return None
    took = [dict(zip(one.atoms.tolist(), one.ms_per_step, strict=True)) for one in speeds.measured]
    rows = [
        (Entry(f"{n} atoms"), *[Entry(f"{times[n]:.3g}" if n in times else "–") for times in took])
        for n in sorted({int(n) for times in took for n in times})
    ]
    found = [speeds.faster(one.of) for one in speeds.measured]
    rows.append(
        (
            Entry("times as fast as the teacher"),
            *[Entry(f"{f[1]:.3g}", f"{f[0]} atoms") if f else Entry("–") for f in found],
        )
    )
    rows.append((Entry("no larger, because"), *[Entry("", one.stopped) for one in speeds.measured]))
    header = ("size", *[f"{one.of.label} (ms)" for one in speeds.measured])
    return Table(f"Time of a step, supercells of {speeds.structure}; {speeds.machine}", header, tuple(rows))


def _costs(data: ReportData) -> Table | None:
    if not data.stages:
        return None
    rows = [
        (
            Entry(s.task, "from the store" if s.cached else ""),
            Entry(duration(s.wall_s)),
            _rounded(s.peak_memory_mib, 0),
            Entry(s.device),
        )
        for s in data.stages
    ]
    total = (Entry("all tasks"), Entry(duration(sum(s.wall_s for s in data.stages))), Entry(""), Entry(""))
    return Table("Time and memory", ("task", "wall time", "peak memory (MiB)", "device"), (*rows, total))


def _rounded(value: float | None, digits: int) -> Entry:
    return Entry("–" if value is None else f"{value:.{digits}f}".replace("-", "−"))

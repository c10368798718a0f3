"""A synthetic but realistic run: a teacher, one student with two seeds, its direct baseline that explodes."""

from dataclasses import asdict

import numpy as np
import pytest

from distill.analysis.energy_volume import birch_murnaghan, fit_energy_volume
from distill.analysis.errors import Difference, error_table
from distill.analysis.quantities import Quantity, StaticResult
from distill.analysis.reliability import reliability
from distill.analysis.stability import judge
from distill.analysis.verdicts import Criterion, Verdict
from distill.reporting.data import (
    Curve,
    Dynamics,
    EnergyVolume,
    GivenSpeed,
    Growth,
    Parity,
    ReportData,
    Speed,
    Speeds,
    StageCost,
    Static,
    Tuning,
)
from distill.reporting.models import Model
from distill.reporting.physics import Judged, ObservedCurve, Physics
from distill.reporting.teachers import Member, Teachers
from distill.structures.frames import Frames
from distill.structures.spread import Spread

FORCE_NOISE = {
    Model("teacher", "zero_shot"): 0.37,
    Model("teacher", "finetuned"): 0.16,
    Model("painn", "distilled"): 0.2,
    Model("painn", "direct"): 0.32,
}
"""Standard deviation of the force errors in eV/Å."""


@pytest.fixture(scope="session")
def report_data() -> ReportData:
    """A complete run."""
    rng = np.random.default_rng(0)
    reference = _reference(rng)
    metrics, parity = [], []
    for of, noise in FORCE_NOISE.items():
        for seed in (0, 1) if of.model == "painn" else (0,):
            predicted = _predicted(rng, reference, noise * (1 + 0.05 * seed))
            head = {"model": of.model, "variant": of.variant, "seed": seed, "split": "test"}
            rows = error_table(reference, predicted, resamples=100)
            metrics += [head | {"reference": "dft"} | asdict(row) for row in rows]
            if of.model == "painn":
                metrics += [head | {"reference": "teacher"} | asdict(row) for row in rows]
            if seed == 0:
                parity.append(_parity(of, reference, predicted))
    return ReportData(
        name="quickstart",
        recipe_text="name: quickstart\nseed: 0\nteacher:\n  model: chgnet-0.3\n",
        metrics=metrics,
        parity=parity,
        curves=_curves(rng),
        energy_volume=[_energy_volume(rng, of) for of in FORCE_NOISE],
        statics=[_static(rng, of) for of in FORCE_NOISE],
        dynamics=[_dynamics(rng, of, t) for t in (300.0, 1200.0) for of in list(FORCE_NOISE)[2:]],
        physics=_physics(rng),
        speed=_speeds(),
        tuning=_tuning(rng),
        growth=_growth(rng),
        teachers=_teachers(reference, parity[1]),
        train_families={"strained": 8, "thermal": 9, "liquid": 8},
        stages=_stages(),
        findings=["The synthetic set covers 12.1 to 27.9 Å³/atom."],
        warnings=["2 duplicate structures were left out of the training set."],
        versions={"distill": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0"},
        hashes={"data/train.xyz": "3f" * 32, "teacher weights": "a1" * 32},
        counts={"DFT training structures": 25, "synthetic structures": 300, "test structures": 60, "atoms a test": 16},
        created="2025-01-31 12:00",
    )


def _speeds() -> Speeds:
    sizes = 16 * 2 ** np.arange(9)
    return Speeds(
        measured=[
            Speed(
                Model("teacher", "finetuned"), sizes[:5], 20 + 3.0 * sizes[:5], "512 atoms would have exceeded the time"
            ),
            Speed(Model("painn", "distilled"), sizes, 10 + 0.1 * sizes, "no more than 4096 atoms were asked for"),
        ],
        given=[GivenSpeed("ACE", np.array([192, 648, 1536]), np.array([1.4, 2.6, 5.0]))],
        structure="Si16",
        machine="a processor, 2 threads",
        given_on="RTX A6000",
    )


def _teachers(reference: Frames, mean: Parity) -> Teachers:
    """Two teachers whose spread is half of the error of their mean, with noise."""
    rng = np.random.default_rng(1)
    predicted = reference.with_labels(mean.predicted_energy * mean.n_atoms, mean.predicted_forces, None)
    off = np.linalg.norm(predicted.forces - reference.forces, axis=1)
    energy = abs(predicted.energy_per_atom - reference.energy_per_atom)
    spread = Spread(energy * rng.uniform(0.3, 0.7, len(reference)), off * rng.uniform(0.3, 0.7, len(off)))
    members = [
        Member("diep", "diep-2.0", 0.6, 0.13, 0.02, Difference(0.14, 0.13, 0.15), Difference(0.011, 0.004, 0.019)),
        Member("chgnet", "chgnet-0.3", 0.4, 0.15, 0.04, Difference(0.17, 0.16, 0.18), Difference(0.04, 0.03, 0.05)),
        Member("broken", "orb-v2", 0.0, float("nan"), float("nan")),
    ]
    return Teachers(members, reliability(reference, predicted, spread, resamples=100), left_out=3, limit=0.5)


def _tuning(rng) -> Tuning:
    return Tuning(
        residual=rng.normal(0, 0.05, 25),
        config_type=["strained"] * 8 + ["thermal"] * 9 + ["liquid"] * 8,
        reference="Reference energies were shifted by Si -0.123 eV; 50.0 meV/atom are left (root mean square).",
        forgotten={"Cu": 0.08, "MgO": 0.31, "CH3OH": 0.52},
        change=0.29,
        size=1.4,
    )


def _reference(rng) -> Frames:
    b, n = 60, 8
    forces = rng.normal(0, 1, (b * n, 3)) * np.repeat(rng.choice([0.3, 1.0, 2.0], b), n)[:, None]
    stress = rng.normal(0, 0.02, (b, 3, 3))
    return Frames(
        n_atoms=np.full(b, n),
        numbers=np.full(b * n, 14),
        positions=np.zeros((b * n, 3)),
        cells=np.tile(5.4 * np.eye(3), (b, 1, 1)),
        pbc=np.ones((b, 3)),
        energy=n * (-5.4 + rng.gamma(2, 0.1, b)),
        forces=forces,
        stress=(stress + stress.transpose(0, 2, 1)) / 2,
        info=tuple({"config_type": f} for f in rng.choice(["liquid", "strained", "thermal"], b)),
    )


def _predicted(rng, reference: Frames, noise: float) -> Frames:
    return reference.with_labels(
        reference.energy + reference.n_atoms * rng.normal(0.1 * noise, 0.1 * noise, len(reference)),
        reference.forces + rng.normal(0, noise, reference.forces.shape),
        reference.stress + rng.normal(0, 0.01 * noise, reference.stress.shape),
    )


def _parity(of: Model, reference: Frames, predicted: Frames) -> Parity:
    return Parity(
        of=of,
        n_atoms=reference.n_atoms,
        config_type=reference.labels("config_type"),
        reference_energy=reference.energy_per_atom,
        predicted_energy=predicted.energy_per_atom,
        reference_forces=reference.forces,
        predicted_forces=predicted.forces,
    )


def _curves(rng) -> list[Curve]:
    curves = []
    for of, final in list(FORCE_NOISE.items())[1:]:
        step = np.arange(10, 1001, 10)
        decay = final * (1 + 9 * np.exp(-step / 120)) * np.exp(rng.normal(0, 0.03, 100))
        valid = np.where(step % 50 == 0, decay * 1.1, np.nan)
        curves.append(Curve(of, step, 10 * decay**2, 12 * valid**2, 0.8 * valid, best_step=950))
    empty = np.zeros(0)
    diverged = Curve(
        Model("painn", "direct"), empty, empty, empty, empty, None, "diverged", 1, "the loss was not finite"
    )
    return [*curves, diverged]


def _static(rng: np.random.Generator, of: Model) -> Static:
    quantities = [Quantity("C11 of diamond Si", rng.normal(160, 10), "GPa", "10%")]
    return Static(of, StaticResult("elastic", "diamond Si", 1, quantities, sound="diamond Si is elastically stable"))


def _energy_volume(rng, of: Model) -> EnergyVolume:
    volumes = np.linspace(17, 24, 11)
    energies = birch_murnaghan(volumes, 20.2 + rng.normal(0, 0.2), -5.4, 90 + rng.normal(0, 5), 4.2)
    energies = energies + rng.normal(0, 5e-4, 11)
    return EnergyVolume(of, "diamond silicon", volumes, energies, fit_energy_volume(volumes, energies), 8)


def _dynamics(rng, of: Model, target: float) -> Dynamics:
    time = np.linspace(0, 5000, 500)
    temperature = target * rng.chisquare(192, 500) / 192
    distance = 2.1 + rng.normal(0, 0.04, 500)
    if of.variant == "direct" and target > 1000:
        time, temperature, distance = time[:200], temperature[:200].copy(), distance[:200].copy()
        temperature[190:], distance[190:] = 9000, 0.7
    verdict = judge(
        time_fs=time,
        temperature=temperature,
        potential_energy=-300 + rng.normal(0, 0.5, len(time)),
        min_distance=distance,
        min_ratio=distance / 2.22,
        n_atoms=64,
        degrees_of_freedom=192,
        target_temperature=target,
        planned_fs=5000,
    )
    return Dynamics(of, f"64 atoms, {target:.0f} K", time, temperature, distance, verdict)


def _growth(rng) -> Growth:
    return Growth(
        generation=rng.poisson(3, 300) + 1,
        displacement=rng.gamma(4, 0.1, 300),
        energy=rng.gamma(2, 0.08, 300),
        funnel={"proposed": 640, "relaxed": 610, "not too close": 520, "not a duplicate": 340, "kept": 300},
        teacher_calls=1580,
    )


def _stages() -> list[StageCost]:
    return [
        StageCost("check", 0.8, 310, cached=True),
        StageCost("finetune", 58, 1450, cached=True),
        StageCost("generate", 61, 1300),
        StageCost("label", 12, 1250),
        StageCost("train painn distilled", 190, 980),
        StageCost("train painn direct", 170, 930),
        StageCost("evaluate", 14, 1400),
        StageCost("simulate", 55, None),
    ]


def _physics(rng):
    """A student that is accepted and one that is rejected, with a curve of both and of the teacher."""
    passed = Criterion(2, "solid: survival", "pass", why="4 of 4 replicas")
    wrong = Criterion(4, "E", "fail", -5.5, -5.6, 0.1, 0.05, 0.15, 0.01, "eV/atom", "it is off by 0.1 eV/atom")
    right = Criterion(4, "E", "pass", -5.6, -5.6, 0.001, -0.002, 0.004, 0.01, "eV/atom")
    places = np.linspace(2, 6, 40)
    models = [(Model("teacher", "finetuned"), 0), (Model("painn", "distilled"), 0), (Model("painn", "direct"), 0)]
    replicas = {of: 1 + np.sin(places) + rng.normal(0, 0.02, (4, 40)) for of in models}
    return Physics(
        [
            Judged(Model("painn", "distilled"), 0, Verdict((passed, right)), "Limited by the teacher: 133 meV/Å."),
            Judged(Model("painn", "direct"), 0, Verdict((passed, wrong))),
        ],
        [ObservedCurve("g", "solid", "", "distance (Å)", places, replicas, np.array([places, np.ones(40)]), "X-rays")],
    )

"""Compute what the recipe wants to know of each run of dynamics, replica by replica.

Another bin or element computes anew and runs no dynamics again; another tolerance does not even that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from distill.base.artifact import Labels, LabelValue
from distill.base.errors import UserError
from distill.base.settings import Settings as BaseSettings
from distill.base.settings import compose
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.observed import kind_of, observables_of, of_run

if TYPE_CHECKING:
    from distill.analysis.samples import Samples
    from distill.observables.base import Measured, Observable


class Observe(Stage):
    """All observables of one replica of a run."""

    version: ClassVar[int] = 2
    section: ClassVar[str] = "observe"
    each: ClassVar[str] = "dynamics"
    inputs: ClassVar[InputSpecs] = {"replica": "dynamics.replica"}
    outputs: ClassVar[dict[str, str]] = {"arrays": "observables.npz", "table": "observables.csv"}
    publish: ClassVar[dict[str, str]] = {"table": "observables/{student}{suffix}/{run}-{replica}.csv"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return a model with one field an observable, typed by its kind."""
        return observables_of(raw)

    @classmethod
    def fan_out(cls, section: BaseModel, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return one task for each replica of a run of which something is wanted."""
        return [{}] if of_run(section, followed) else []

    @classmethod
    def settings_class(cls, values: Mapping[str, Any], labels: Labels) -> type[BaseSettings]:
        """Return a model of the observables of the labelled run."""
        own = {name: type(one) if isinstance(one, BaseModel) else kind_of(name, one) for name, one in values.items()}
        return compose("Observed", StageSettings, **own)

    @classmethod
    def select(cls, section: BaseModel, labels: Labels) -> dict[str, Any]:
        """Return the observables of the labelled run, by name."""
        return of_run(section, labels)

    def run(self, inputs: Paths, settings: Any, job: Job) -> Summary:
        """Write every quantity, and say of each that is missing why."""
        from distill.dynamics.replica import PRODUCTION, samples_of
        from distill.dynamics.trajectory_files import TrajectoryFolder
        from distill.observables.files import write_measured

        trajectory = TrajectoryFolder(inputs["replica"] / PRODUCTION)
        said = trajectory.said()
        broke = said["broke"] if said else "it was never begun"
        found: dict[str, Measured] = {}
        samples = lru_cache(partial(samples_of, trajectory))  # read once, not for every quantity
        names = list(type(settings).model_fields)
        with job.progress.phase("observing", len(names), "quantity") as phase:
            for name in names:
                found[name] = _measured(getattr(settings, name), samples, broke)
                phase.advance(note=name)
        write_measured(job.out, found)
        missing = {name: one.why for name, one in found.items() if one.why}
        job.warnings += [f"{name}: {why}" for name, why in missing.items() if not broke]
        return {"broke": broke, "missing": missing, "headline": f"{len(found) - len(missing)} of {len(found)}"}


def _measured(observable: Observable, samples: Callable[[float], Samples], broke: str) -> Measured:
    """Return a quantity of one replica; where it cannot be computed, why."""
    from distill.observables.base import Measured

    if broke:
        return Measured.number(float("nan"), why=f"the run broke: {broke}")
    try:
        return observable.measure(samples(observable.skip_ps))
    except UserError as error:
        return Measured.number(float("nan"), why=str(error))

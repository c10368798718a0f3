"""Tables of a sweep as they are written, made of models whose errors are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from distill.studies.errors import Tables

UNITS = {"forces": "eV/Å", "energy_per_atom": "eV/atom"}
FINISHED = "finished"


@dataclass
class Maker:
    """Collects models; ``tables`` are those of a sweep.

    Attributes:
        keys: the swept keys, dotted.
    """

    keys: tuple[str, ...]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        model: str,
        variant: str,
        error: float,
        *,
        seed: int = 0,
        repeat: int = 0,
        status: str = FINISHED,
        valid_loss: float | None = None,
        against_teacher: float | None = None,
        energy: float | None = None,
        at: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> None:
        """Add a model with its force MAE in eV/Å, and that against its teacher; ``at`` are its values of the keys."""
        at = {key: (at or {}).get(key) for key in self.keys}
        digest = "-".join(map(str, [model, variant, seed, repeat, *at.values()]))
        head = {
            "sweep": "a",
            "repeat": repeat,
            **at,
            "model": model,
            "variant": variant,
            "seed": seed,
            "status": status,
        }
        facts = {"train_structures": 25, "train_labels": 1000, "parameters": 5e4, "train_s": 60.0} | facts
        steps = facts.pop("steps", 1000)
        head |= {"valid_loss": error if valid_loss is None else valid_loss}
        if model != "teacher":
            self.models.append(head | {"arch": model, "model_hash": digest, "steps": steps, "best_step": 900} | facts)
        if status == "failed":
            self.failures.append(
                {name: head[name] for name in ("sweep", "repeat", *self.keys, "model", "variant", "seed", "status")}
                | {"task": f"train[{model},{variant},{seed}]", "stage": "train", "message": "the memory was full"}
            )
            return
        values = [("dft", "forces", error), ("dft", "energy_per_atom", error / 10 if energy is None else energy)]
        if model != "teacher":
            values.append(("teacher", "forces", error if against_teacher is None else against_teacher))
        for reference, quantity, value in values:
            for statistic in ("mae", "rmse"):
                self.metrics.append(
                    head
                    | {"split": "test", "reference": reference, "config_type": "all", "quantity": quantity}
                    | {
                        "statistic": statistic,
                        "value": value if status == FINISHED else None,
                        "low": None,
                        "high": None,
                    }
                    | {"unit": UNITS[quantity], "n": 60, "model_hash": digest}
                    | facts
                )

    def add_seeds(self, model: str, variant: str, errors: Iterable[float], **how: Any) -> None:
        """Add one model for each error, with seeds 0, 1, ..."""
        for seed, error in enumerate(errors):
            self.add(model, variant, error, seed=seed, **how)

    @property
    def tables(self) -> Tables:
        """The tables as they are read."""
        frames = [pd.DataFrame(rows) if rows else None for rows in (self.metrics, self.models, self.failures)]
        return Tables(*frames)  # type: ignore[arg-type]


CUTOFF, SIZE = "students.painn.cutoff", "students.painn.structures"

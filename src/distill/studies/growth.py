"""How structures grew in each variant of a sweep: depth of the trees and energies, from the summaries of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill.base.errors import UserError
from distill.base.files import read_json


def grown(folder: str | Path) -> pd.DataFrame:
    """Return one row for each set of grown structures in a sweep's folder.

    Returns:
        ``repeat``, one column for each swept key by its dotted name, ``structures`` (how many were grown),
        ``generation`` (mean over structures), ``relative_energy`` (mean above the seed structure, meV/atom, to the
        width of the bins that a run keeps) and ``calls_per_structure`` (of the teacher). Variants that share the
        structures are one row.

    Raises:
        UserError: the folder has no ``sweep.json``.
    """
    folder = Path(folder)
    if not (folder / "sweep.json").is_file():
        raise UserError("has no sweep.json", where=str(folder), remedy="Give the folder of a sweep, runs/<name>")
    rows: dict[str, dict[str, Any]] = {}
    for name, variant in read_json(folder / "sweep.json")["variants"].items():
        for digest, summary in _generations(folder / "variants" / name / "summary.json"):
            told = {"repeat": variant.get("repeat", 0)} | variant.get("overrides", {})
            rows.setdefault(digest, told | _statistics(summary))
    return pd.DataFrame(list(rows.values()))


def _generations(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield hash and summary of each finished generation of a run; nothing where the run has no summary."""
    tasks = read_json(path)["tasks"] if path.is_file() else {}
    for task in tasks.values():
        if task["stage"] == "generate" and "histograms" in (task.get("summary") or {}):
            yield task["hash"], task["summary"]


def _statistics(summary: Mapping[str, Any]) -> dict[str, float]:
    return {
        "structures": summary["accepted"],
        "generation": _mean(summary["histograms"]["generation"]),
        "relative_energy": 1000 * _mean(summary["histograms"]["relative_energy"]),
        "calls_per_structure": summary["calls_per_structure"],
    }


def _mean(histogram: Mapping[str, Any]) -> float:
    """Return the mean of what a histogram counted, each at the middle of its bin."""
    counts, edges = np.array(histogram["counts"], dtype=float), np.array(histogram["edges"], dtype=float)
    return float((counts * (edges[1:] + edges[:-1]) / 2).sum() / counts.sum()) if counts.sum() else float("nan")

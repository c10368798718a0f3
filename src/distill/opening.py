"""Open what was done before: a run, a sweep or a search, by its folder."""

from __future__ import annotations

from pathlib import Path

from distill.base.errors import UserError
from distill.base.files import read_json
from distill.results import Run, SweepResult
from distill.searching import SearchResult
from distill.workflow.rundir import PLAN, read_plan
from distill.workflow.search_result import SEARCH
from distill.workflow.sweep_run import SWEEP


def open_run(run: str | Path, runs: str | Path = "runs") -> Run | SweepResult | SearchResult:
    """Return a run, a sweep or a search that was done before, by its folder or its name below ``runs``.

    Raises:
        UserError: there is none.
    """
    for folder in (Path(run), Path(runs) / run):
        if (folder / SEARCH).exists():
            return SearchResult(folder)
        if (folder / SWEEP).exists():
            return SweepResult(folder, said=read_json(folder / SWEEP))
        if read_plan(folder) is not None:
            return Run(folder)
    known = sorted(path.parent.name for path in Path(runs).glob(f"*/{PLAN}"))
    remedy = f"Runs here: {', '.join(known)}" if known else f"No run was started below {Path(runs).absolute()}"
    raise UserError("there is no such run", str(Path(runs) / run), remedy)

"""The page of a search: what it says of trials whose numbers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import distill
from distill.base.errors import UserError
from distill.studies.search_page import write_search_page
from distill.studies.searches import Searched, convergence, front

KEYS = ["students.painn.cutoff", "students.painn.optimiser"]
RANGE: dict[str, Any] = {"low": 3.0, "high": 6.0, "log": False, "choices": []}


def search_folder(folder: Path, several: bool = False) -> Path:
    """A search of five trials: two of the initial design, then two better ones and one that failed."""
    numbers = {
        "trial": range(5),
        "state": ["finished"] * 4 + ["failed"],
        KEYS[0]: [3.5, 5.0, 4.5, 4.6, 6.0],
        KEYS[1]: ["muon", "adamw", "muon", "muon", "adamw"],
        "error": [0.4, 0.2, 0.15, 0.1, None],
        "energy_rmse": [0.4, 0.2, 0.15, 0.1, None],
        "forces_rmse": [0.4, 0.2, 0.15, 0.1, None],
        "ms_per_atom": [1.0, 4.0, 2.0, 3.0, None] if several else [None] * 5,
        "train_s": [1.0] * 5,
        "message": [""] * 4 + ["it broke"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(numbers).to_csv(folder / "trials.csv", index=False)
    full = {"errors": [0.1], "error": 0.1, "energy_rmse": 0.1, "forces_rmse": 0.1, "ms_per_atom": None}
    full |= {"parameters": 10, "message": ""}
    said = {
        "name": "mine",
        "recipe": "mine.yaml",
        "student": "painn",
        "keys": KEYS,
        "names": dict(zip(KEYS, ("cutoff", "optimiser"), strict=True)),
        "settings": {"initial": 2, "space": {KEYS[0]: RANGE, KEYS[1]: RANGE | {"choices": ["muon", "adamw"]}}},
        "objective": "error = 0.4 × RMSE(E / √N) in eV + 0.6 × RMSE(force components) in eV/Å",
        "finished": True,
        "trials": 5,
        "failed": 1,
        "best": {"trial": 3, "values": {KEYS[0]: 4.6, KEYS[1]: "muon"}},
        "importance": {KEYS[0]: 0.7, KEYS[1]: 0.2},
        "front": [0, 2, 3] if several else [],
        "full": {"best": full, "default": full | {"error": 0.3}},
        "verdict": "In full the best values won.",
        "warnings": ["students.painn.cutoff sits on a bound"],
    }
    (folder / "search.json").write_text(json.dumps(said))
    return folder


def test_the_page_says_who_won_how_the_error_fell_and_what_to_beware_of(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "mine", several=True)
    page = write_search_page(folder).read_text()
    for said in (
        "In full the best values won.",
        "sits on a bound",
        "lowest error 0.1, 50 % below the best of the initial design (0.2)",
        "cutoff alone explains 70 % of the variance",
        "3 of 4 trials are on the Pareto front",
        "failed: it broke",
        "No test structure has a part in it",
    ):
        assert said in page, said
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert names == {"convergence", "values", "importance", "pareto"}


def test_the_best_so_far_never_rises_and_one_objective_has_no_front(tmp_path: Path) -> None:
    searched = Searched.read(search_folder(tmp_path))
    study = convergence(searched)
    assert study is not None and list(study.table["best"]) == [0.4, 0.2, 0.15, 0.1]
    assert front(searched) is None


def test_a_search_is_opened_by_its_name(tmp_path: Path) -> None:
    search_folder(tmp_path / "mine")
    found = distill.open_run("mine", tmp_path)
    assert found.best == {KEYS[0]: 4.6, KEYS[1]: "muon"} and len(found.trials) == 5
    assert "5 trials, 1 of them failed; best: trial 3" in repr(found) and "won" in found._repr_html_()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no search\.json. Give the folder of a search"):
        write_search_page(tmp_path)

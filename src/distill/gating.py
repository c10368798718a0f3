"""The safety gate of a saved potential, from a folder and a file to a verdict."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.progress import Progress
from distill.given import check_model, model_name, open_model, read_structures

if TYPE_CHECKING:
    from distill.exporting.gate import Gate
    from distill.given import Model, Structures


def gate(
    model: Model,
    structures: Structures,
    *,
    teacher: Model | None = None,
    temperature: float = 300.0,
    ps: float = 10.0,
    seconds: float = 6.0,
    out: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    trust_code: bool = False,
    environment: str | None = None,
) -> Gate:
    """Look whether a potential is safe to be simulated with, in about ten seconds.

    Args:
        model: folder of a saved potential, a potential, or an ASE calculator.
        structures: an extended XYZ file, frames, or ASE structures: what the model was fitted to, or the crystals that
            it is meant for. The lowest of each composition are compressed, sheared and heated.
        teacher: folder of the model that it learnt from, a potential or a calculator; asked only where the model fails.
        temperature: the highest at which it is meant to be used, K; dynamics is run at twice that.
        ps: length of the dynamics, ps.
        seconds: wall time that the dynamics may take; it is shortened to that, and says so.
        out: folder for ``gate.json``; None writes nothing.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; this and the last two are for folders alone.
        progress: counts checks.
        trust_code: run what the folders name; see :func:`distill.load_potential`.
        environment: the Python interpreter that the model runs in, where that is another one.

    Returns:
        The checks, one row each; ``passed``, and the outcome in one ``sentence``.

    Raises:
        UserError: what is wrong with model, teacher, structures or a number, before anything is looked at.
    """
    from distill.exporting.gate import run_gate
    from distill.workflow.machine import resolve_device

    check_model(model, trust_code=trust_code, environment=environment)
    if teacher is not None:
        check_model(teacher)
    frames, _ = read_structures(structures, {})
    on = resolve_device(device)
    found = run_gate(
        open_model(model, on, trust_code, environment),
        frames,
        model=model_name(model),
        temperature=temperature,
        teacher=None if teacher is None else open_model(teacher, on, trust_code, None),
        teacher_name="" if teacher is None else model_name(teacher),
        ps=ps,
        seconds=seconds,
        progress=progress or Progress(),
    )
    if out is not None:
        found.write(Path(out))
    return found


def structures_of_run(model: str | Path) -> Path | None:
    """Return the file of structures that a run's model learnt from, beside ``models/``; None where there is none."""
    folder = Path(os.path.abspath(model))
    grown = folder.parents[1] / "synthetic.xyz" if folder.parent.name == "models" else folder
    return grown if grown.is_file() else None

"""Virtual environments of potentials whose packages conflict with ours: where they are and how they are made."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from distill.base.consent import Consent
from distill.base.errors import UserError
from distill.base.files import user_path
from distill.potentials import POTENTIALS
from distill.potentials.base import Architecture

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def environments() -> dict[str, type[Architecture]]:
    """Return the first row of those that share an interpreter of their own, by the name of its folder."""
    return {row.folder: row for row in reversed(list(POTENTIALS.values())) if row.own_environment}


def environment_folder(row: type[Architecture]) -> Path:
    """Return where :func:`commands` makes the environment of a row."""
    return Path("~", ".distill", "envs", row.folder or row.name)


def commands(row: type[Architecture], python: str | None = None) -> tuple[str, str]:
    """Return the two commands that make the environment of a row and install what it needs.

    The build of torch is the one that is installed here: where that is the one without CUDA, so is the other, which
    spares gigabytes.

    Args:
        row: of the table of potentials.
        python: an interpreter that exists, instead of the one that the first command makes.
    """
    folder = environment_folder(row)
    install = f"{python or folder / 'bin' / 'python'} -m pip install {' '.join(requirements(row))}"
    return f"python3 -m venv {folder}", install


def requirements(row: type[Architecture]) -> list[str]:
    """Return what ``pip install`` is given for the environment of a row."""
    own = row.packages or row.requires
    packages = [*own, "ase", "msgpack"]
    if own and (torch := _torch()):
        on_cpu = torch.endswith("+cpu")
        if row.same_torch:
            packages.insert(0, f"torch=={torch if on_cpu else torch.partition('+')[0]}")
        if on_cpu:
            packages[:0] = ["--extra-index-url", CPU_INDEX]
    return packages


def is_whole(folder: Path, row: type[Architecture]) -> bool:
    """Return whether an environment has an interpreter and the packages of its row; nothing in it is run."""
    names = [re.split("[=<>~!]", package)[0] for package in (*(row.packages or row.requires), "ase", "msgpack")]
    sites = list(folder.glob("lib/python*/site-packages"))
    installed = [any(site.glob(f"{name.replace('-', '_')}-*.dist-info")) for name in names for site in sites[:1]]
    return (folder / "bin" / "python").exists() and bool(installed) and all(installed)


def _torch() -> str:
    """Return the version of torch here, with its build after a plus sign; nothing where it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def remedy(row: type[Architecture], python: str | None) -> str:
    """Return what to do where an interpreter, or a package in it, is missing."""
    if python and Path(python).is_file():
        return f"Run: {commands(row, python)[1]}"
    return f"Run: {' && '.join(commands(row))}"


def interpreter(environment: str, row: type[Architecture]) -> str:
    """Return the path of the interpreter that a recipe names; a virtual environment's folder stands for its own.

    A link is not followed: a virtual environment's interpreter is one, and is found by its place.

    Raises:
        UserError: there is none.
    """
    path = _place(environment)
    if not os.access(path, os.X_OK):
        what = "there is no Python interpreter" if not path.exists() else "it cannot be executed"
        raise UserError(f"{what} at {path}", where="teacher.environment", remedy=remedy(row, None))
    return str(path)


def _place(environment: str) -> Path:
    """Return the absolute path of an interpreter; a folder stands for the interpreter in it."""
    path = Path(os.path.abspath(user_path(environment, "teacher.environment")))
    return path / "bin" / "python" if path.is_dir() else path


def allowed(consent: Consent, row: type[Architecture], said: str | None) -> str | None:
    """Return the interpreter to run a saved potential in, or None for this one.

    It is the caller's, or the one that the potential's folder says where the recipe names it too.

    Args:
        consent: of the caller or the recipe.
        row: the potential's row.
        said: what the folder says; None where it ran in the interpreter that made it.

    Raises:
        UserError: there is no interpreter where the caller says.
    """
    if consent.environment is not None:
        return interpreter(consent.environment, row)
    named = [code.environment for code in consent.named if code.kind == row.name and code.environment]
    return said if said and _place(said) in map(_place, named) else None

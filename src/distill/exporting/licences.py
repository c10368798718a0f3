"""Licences of what a student was made of: its code, its teacher's weights and its data; their texts beside the model.

Whether the licence of weights or data binds what has learnt from their labels is not settled; all are named, and the
strictest is given as that of the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from distill.base.files import write_text
from distill.base.licences import RESEARCH_ONLY, is_known, strictness
from distill.potentials import POTENTIALS

FOLDER = "LICENSES"
OWN = "mlip-distill"
"""The distribution of this package."""

ON_THE_HUB = (
    *("mit", "isc", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "unlicense"),
    *("zlib", "gpl", "gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "mpl-2.0", "odbl", "odc-by"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
)
"""Names of licences that the Hugging Face Hub knows."""


@dataclass(frozen=True)
class Part:
    """Something that a student was made of.

    Attributes:
        what: for instance ``weights of the teacher diep-2.0``.
        licence: its name; empty where it is not known.
        packages: distributions that bring the text.
    """

    what: str
    licence: str
    packages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the licence without what is said in parentheses."""
        return self.licence.partition(" (")[0].strip()


def parts_of(description: Mapping[str, Any], data_licence: str = "") -> tuple[Part, ...]:
    """Return what a student was made of.

    Args:
        description: its ``model.json``.
        data_licence: that of the structures it was fitted to, which their owner knows.
    """
    made, architecture = description.get("provenance", {}), description["architecture"]
    row = POTENTIALS.get(architecture) if architecture in POTENTIALS else None
    code = made.get("architecture_licence") or (row.licence if row is not None and row.role == "student" else "")
    packages = row.requires if row is not None else ()
    parts = [Part("distill", "MIT", (OWN,))]
    if packages:
        parts.append(Part(f"code of the student ({', '.join(packages)})", _known(code), packages))
    if teacher := made.get("teacher"):
        taught = POTENTIALS.get(teacher["name"]) if teacher["name"] in POTENTIALS else None
        weights = taught.requires if taught is not None else ()
        parts.append(Part(f"weights of the teacher {teacher['name']}", _known(teacher["licence"]), weights))
    return (*parts, Part("data", _known(data_licence)))


def _known(licence: str) -> str:
    return licence if is_known(licence) else ""


def strictest(parts: Sequence[Part]) -> Part:
    """Return the part of the strictest licence, the first where several are; one that is not known is none of them."""
    return max((part for part in parts if part.licence), key=lambda part: strictness(part.licence))


def hub_licence(parts: Sequence[Part]) -> dict[str, str]:
    """Return the licence as the front matter of a card has it.

    It is ``unknown`` where that of a part is not known, unless another part forbids commercial use.
    """
    found = strictest(parts)
    if not all(part.licence for part in parts) and strictness(found.licence) < RESEARCH_ONLY:
        return {"license": "unknown"}
    if found.name.lower() in ON_THE_HUB:
        return {"license": found.name.lower()}
    slug = re.sub(r"[^a-z0-9.]+", "-", found.name.lower()).strip("-")
    return {"license": "other", "license_name": slug, "license_link": FOLDER}


def write_licences(parts: Sequence[Part], folder: Path) -> list[Path]:
    """Write the texts that installed packages bring of the licences, one file a package, and a list; return the files.

    Args:
        parts: what the student was made of.
        folder: of the export.
    """
    files, lines = [], ["Licences of what this model was made of. Texts are those of the installed packages.", ""]
    for part in parts:
        said = []
        for package in part.packages:
            text = _text(package)
            if text:
                files.append(folder / FOLDER / f"{package}.txt")
                write_text(files[-1], text)
                said.append(files[-1].name)
        texts = f" ({', '.join(said)})" if said else ""
        lines.append(f"- {part.what}: {part.licence or 'not known'}{texts}")
    write_text(folder / FOLDER / "README.md", "\n".join([*lines, ""]))
    return [*files, folder / FOLDER / "README.md"]


def _text(package: str) -> str:
    """Return the licence files of a distribution, one after another; empty where it is not here or has none."""
    try:
        found: Distribution = distribution(package)
    except PackageNotFoundError:
        return ""
    files = [file for file in found.files or () if ".dist-info" in str(file) and _is_licence(file.name)]
    texts = [text for file in files if (text := file.read_text())]
    return "\n\n".join(texts)


def _is_licence(name: str) -> bool:
    return name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))

"""Whose code may run when a saved potential is opened.

A folder of a model is data, whoever made it: the class, the function, the interpreter and the pickle that it names run
only where the caller, or the recipe in its own text, names them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.base.errors import UserError
from distill.base.files import hash_file


@dataclass(frozen=True)
class Code:
    """Code that a recipe names.

    Attributes:
        kind: the potential that runs it, by its name in the table: ``"custom"``, ``"ase"``, ``"ace"`` ...
        reference: ``module:Class`` or ``module:function``; the function alone where there is a file of Python.
        file: file of Python code or of weights, absolute.
        environment: the Python interpreter that it runs in, where that is another one.
    """

    kind: str
    reference: str = ""
    file: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Consent:
    """What a caller lets run; nothing by default.

    Attributes:
        trust_code: whether classes, functions and pickles that the folder names may run.
        environment: the interpreter that the caller names.
        named: what a recipe names: exactly that may run.
    """

    trust_code: bool = False
    environment: str | None = None
    named: tuple[Code, ...] = ()

    def names(self, kind: str, reference: str) -> bool:
        """Return whether the recipe names a class or a function that needs no file."""
        return any((code.kind, code.reference, code.file) == (kind, reference, None) for code in self.named)

    def named_file(self, kind: str, reference: str, sha256: str) -> Path | None:
        """Return the file with this content that the recipe names, together with this function; None if it does not."""
        for code in self.named:
            if code.file is not None and (code.kind, code.reference) == (kind, reference):
                file = Path(code.file)
                if file.is_file() and hash_file(file) == sha256:
                    return file
        return None


def refused(what: str, folder: Path) -> UserError:
    """Return the error of a folder that would run something that nobody but the folder names.

    Args:
        what: what would run, for instance ``the class my_networks:MyNet``.
        folder: the potential's.
    """
    return UserError(
        f"opening this potential runs {what}, which its folder alone names",
        where=str(folder),
        remedy="If you trust whoever made the folder, allow it: trust_code=True, or --trust-code on the command line",
    )

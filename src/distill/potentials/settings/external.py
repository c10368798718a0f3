"""Which ASE calculator a potential asks, and where it runs."""

from __future__ import annotations

from distill.potentials.settings import PotentialSettings


class ExternalSettings(PotentialSettings):
    """Where the calculator is."""

    model: str = ""
    """Name of the model, as in a recipe; that of the row if empty."""
    file: str | None = None
    """File of weights or of Python code."""
    sha256: str = ""
    """Of that file."""
    function: str = ""
    """``module:function`` that returns the calculator, or the function alone where the file is a Python file."""
    environment: str | None = None
    """Python interpreter that it runs in; this one if null."""

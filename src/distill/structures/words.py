"""Words that are numbers in some program: what they mean, or what to do about them."""

from __future__ import annotations

import re

_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[dD]([+-]?\d+)|([+-]\d{3}))")


def real(word: str) -> float:
    """Return a number as Python or Fortran writes it (1.0D+00, 1.0-100); raises ValueError for anything else."""
    match = _FORTRAN.fullmatch(word)
    return float(f"{match[1]}e{match[2] or match[3]}") if match else float(word)


def is_real(word: str) -> bool:
    """Return whether a word is a number as Python or Fortran writes it."""
    try:
        real(word)
    except ValueError:
        return False
    return True


def advice(word: str) -> str | None:
    """Return what to do about a word that should be a number and is none; None where that is not known."""
    if re.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?", word):
        return "Write decimal points instead of commas: sed -E 's/([0-9]),([0-9])/\\1.\\2/g' INPUT > OUTPUT"
    if set(word) == {"*"}:
        return "The number did not fit into its column: remove the frame, or write it again with a wider format"
    return None

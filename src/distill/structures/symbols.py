"""What stands for an element in the files of other programs, and what to do about it.

Isotopes, ghost atoms, labels of atoms and names of pseudopotentials have a meaning in the field, which a likeness of
letters does not tell: deuterium is not dysprosium.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from ase.data import atomic_names, atomic_numbers, chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.textfile import Notes

_HYDROGEN = {"D": "deuterium", "T": "tritium", "2H": "deuterium", "3H": "tritium"}
_ISOTOPE = re.compile(r"(\d+)([A-Z][a-z]?)")
_GHOST = re.compile(
    r"(xx?\d*|q|(du|dum|dummy|bq|gh|ghost|va|vac)\d*|@.+|.+:|(gh|bq|x)[-_(].*|.+[-_](bq|gh|ghost))", re.I
)
_FRACTIONAL = re.compile(r"H\d*\.\d+")
_TYPE = re.compile(r"([HBCNOFPSIKVWYU])[A-Z][A-Z\d]*")
_SITE = re.compile(r"(m|mw|ep|epw|lp|vs)\d*", re.I)
_LABELLED = re.compile(r"([A-Z][a-z]?)(\d*[+-]|\d+[+-]?|[+-]\d+|\(.*\)|[*'\"]+|\d+[A-Za-z]?)")
_PSEUDO = re.compile(r"([A-Z][a-z]?)(_[A-Za-z\d_]+|\.(?!\d)\S+|\.\d+|\d*\.\d+|-[A-Za-z][\w.-]*)")


def symbol_fault(word: str) -> tuple[str, str]:
    """Return what a word is that is no chemical symbol, and what to do about it.

    For instance ``("'D' is deuterium, an isotope of hydrogen", "Write H; ...")``.
    """
    shown, light = f"{word!r}", "potentials do not depend on masses. Give the masses in the simulation"
    hydrogen, isotope = _HYDROGEN.get(re.sub(r"(?<=[DT])\d+$", "", word)), _ISOTOPE.fullmatch(word)
    if hydrogen:
        return f"{shown} is {hydrogen}, an isotope of hydrogen", f"Write H: {light}"
    if isotope and isotope[2] in atomic_numbers:
        return f"{shown} is an isotope of {isotope[2]}", f"Write {isotope[2]}: {light}"
    if _GHOST.fullmatch(word):
        return f"{shown} is a ghost or dummy atom, without a nucleus", "Remove it, and count one atom less in its frame"
    if _SITE.fullmatch(word):
        return f"{shown} looks like a massless site of a force field", "Remove it, and count one atom less in its frame"
    if _FRACTIONAL.fullmatch(word):
        return (
            f"{shown} is a pseudo-hydrogen of fractional charge",
            "Remove the structures that have it",
        )
    for pattern, what in ((_LABELLED, "a label of an atom"), (_PSEUDO, "a name of a pseudopotential or atom type")):
        match = pattern.fullmatch(word)
        if match and match[1] in atomic_numbers:
            return f"{shown} is {what}, not a chemical element", f"Write the element alone: {match[1]}"
    names = [name.lower() for name in atomic_names]
    if word.lower() in names[1:]:
        return f"{shown} is a name, not a symbol", f"Write {chemical_symbols[names.index(word.lower())]}"
    kind = _TYPE.fullmatch(word)
    if kind:
        return f"{shown} looks like a type of a force field", f"Write the element's symbol, which is perhaps {kind[1]}"
    remedy = "Write the chemical symbol of the element, such as H, O or Si; types of a force field are not known here"
    return f"{shown} is not a chemical element", remedy


def numbers_from_words(words: Sequence[str], where: str, notes: Notes) -> Array:
    """Return the atomic numbers ``[n]`` of symbols in any case, or of words that are all atomic numbers.

    Other words give 0. ``notes`` receives what was read otherwise than it is written.

    Raises:
        UserError: numbers that may be types 1, 2, ... of a simulation instead of elements.
    """
    if all(word.isascii() and word.isdigit() for word in words):
        numbers = sorted({int(word) for word in words})
        shown = ", ".join(f"{z} ({chemical_symbols[z]})" for z in numbers if z < len(chemical_symbols))
        if numbers == list(range(1, len(numbers) + 1)):
            what = f"numbers instead of symbols may be atomic numbers, here {shown}, or types of a simulation"
            raise UserError(what, f"{where}, key 'species'", "Write chemical symbols")
        notes.setdefault("species", f"{where}: numbers instead of symbols were read as atomic numbers: {shown}")
        return np.array([int(word) for word in words])
    for word in words:
        if len(word) == 2 and word.isalpha() and word.isupper():
            notes.setdefault(f"species {word}", f"{where}: {word} was read as the element {word.capitalize()}")
    return np.array([atomic_numbers.get(word.capitalize(), 0) for word in words])

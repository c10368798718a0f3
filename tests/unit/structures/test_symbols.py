"""What stands in the place of a symbol is understood as the field means it, and never as an element of like letters."""

from __future__ import annotations

import pytest
from ase.data import chemical_symbols

from distill.base.errors import UserError
from distill.structures.symbols import numbers_from_words, symbol_fault

MEANT = [
    *((word, "isotope of hydrogen", "Write H:") for word in ("D", "T", "2H", "D1")),
    ("13C", "isotope of C", "Write C:"),
    *((word, "ghost or dummy atom", "Remove it") for word in ("X", "Xx", "X1", "Bq", "Bq2", "Gh(O)", "@O", "O:", "DU")),
    *((word, "massless site", "Remove it") for word in ("M", "MW", "EP", "LP1")),
    *((word, "label of an atom", "alone: O") for word in ("O1", "O2-", "O-2", "O(3)", "O1A")),
    *((word, "pseudopotential", "alone: Si") for word in ("Si_pv", "Si.pbe-n-kjpaw", "Si-q4")),
    *((word, "force field", "perhaps O") for word in ("OW", "OW1", "OH2")),
    ("H1.25", "pseudo-hydrogen", "Remove the structures"),
    ("oxygen", "name, not a symbol", "Write O"),
    ("Sj", "not a chemical element", "Write the chemical symbol"),
]


@pytest.mark.parametrize(("word", "what", "remedy"), MEANT)
def test_what_is_meant(word: str, what: str, remedy: str) -> None:
    said, advice = symbol_fault(word)
    assert what in said and repr(word) in said
    assert advice.startswith(remedy) or advice.endswith(remedy)


@pytest.mark.parametrize("suffix", ["1", "2+", "_pv", "_GW", "(a)"])
def test_every_element_with_a_label(suffix: str) -> None:
    """The element is named whatever it is; none but hydrogen's isotopes has letters of another meaning."""
    for symbol in chemical_symbols[1:]:
        assert symbol_fault(symbol + suffix)[1] == f"Write the element alone: {symbol}"


def test_numbers_and_symbols_in_any_case() -> None:
    """Numbers 1, 2, ... without a gap are more likely types than hydrogen, helium, ...; 1 and 8 are water's."""
    notes: dict[str, str] = {}
    assert numbers_from_words(["8", "1", "1"], "x", notes).tolist() == [8, 1, 1] and "8 (O)" in notes["species"]
    assert numbers_from_words(["si", "SI", "Si", "D"], "x", notes).tolist() == [14, 14, 14, 0]
    assert "SI was read as the element Si" in notes["species SI"]
    for types in (["1", "2", "1"], ["1", "1"]):
        with pytest.raises(UserError, match="types of a simulation"):
            numbers_from_words(types, "x", notes)

"""What a licence allows, as far as its name tells; no advice of a lawyer."""

from __future__ import annotations

FREE = ("mit", "isc", "cc0-1.0", "unlicense", "zlib", "bsl-1.0", "mpich")
"""What names of licences begin with that ask for no more than their text."""
PERMISSIVE = ("bsd", "apache-2.0", "cc-by-4.0")
"""Likewise, which ask for a little more: not to advertise with names, to say what was changed."""
RESEARCH_ONLY = 3
"""How strict a licence is that forbids commercial use."""
RESEARCH = ("academic", "non-commercial", "noncommercial", "not for commercial", "-nc-")
"""What stands in names of licences that do not allow commercial use."""
UNKNOWN = ("", "as the file", "as the data", "of the calculator", "of the class", "of its members", "unknown")
"""What is said where nobody knows."""


def is_academic(licence: str) -> bool:
    """Return whether a licence does not allow commercial use."""
    return any(word in licence.lower() for word in RESEARCH)


def research_only(what: str, licence: str) -> tuple[str, ...]:
    """Return a sentence where the licence of something does not allow commercial use, else nothing."""
    if not is_academic(licence):
        return ()
    return (f"{what} are not for commercial use ({licence}); what is made with them may not be either",)


def is_known(licence: str) -> bool:
    """Return whether it is a licence, and not a word for one that nobody knows."""
    return licence.lower() not in UNKNOWN


def strictness(licence: str) -> int:
    """Return how strict a licence is, from 0 for the MIT licence over 2 for terms of its own to :data:`RESEARCH_ONLY`.

    Of several, divided by semicolons, it is that of the strictest.
    """
    if is_academic(licence):
        return RESEARCH_ONLY
    names = [name.strip().lower() for name in licence.split(";")]
    return max(0 if name.startswith(FREE) else 1 if name.startswith(PERMISSIVE) else 2 for name in names)

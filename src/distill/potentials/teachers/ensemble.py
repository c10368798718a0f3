"""An ensemble of teachers: how it is put together, and how it is opened again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.consent import Consent
from distill.base.errors import UserError
from distill.base.files import read_json
from distill.potentials.base import Architecture
from distill.potentials.settings import PotentialSettings
from distill.potentials.settings.ensemble import EnsembleSettings

if TYPE_CHECKING:
    from distill.potentials.interface.ensemble import Ensemble
    from distill.potentials.interface.potential import Potential


class JoinedTeachers(Architecture):
    """The weighted mean of several teachers; its folder has theirs in it."""

    name = "ensemble"
    role = "teacher"
    reference = "L. K. Hansen and P. Salamon, IEEE Trans. Pattern Anal. Mach. Intell. 12, 993 (1990)"
    licence = "of its members"
    level_of_theory = "of its members"
    trains = False
    Settings = EnsembleSettings

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path, consent: Consent) -> Potential:
        """Return the ensemble that was saved in ``folder``; each member asks ``consent`` as it would by itself.

        An interpreter that the caller names is for the members that run in one.

        Raises:
            UserError: an interpreter is named, and no member has a use for one.
        """
        from distill.potentials.interface.saving import PARTS, open_saved

        if not isinstance(settings, EnsembleSettings):
            raise TypeError(f"these are no settings of {cls.name}")
        folders = {name: folder / PARTS / name for name in settings.members}
        elsewhere = {name for name, one in folders.items() if _environment(one) is not None}
        if consent.environment is not None and not elsewhere:
            raise UserError("its members run in this interpreter", str(folder), "Leave the environment out")
        here = replace(consent, environment=None)
        members = {
            name: open_saved(one, "cpu", consent if name in elsewhere else here) for name, one in folders.items()
        }
        return join(members, settings.shares)


def join(members: Mapping[str, Potential], shares: Sequence[float]) -> Ensemble:
    """Return the weighted mean of potentials, which can be saved.

    Args:
        members: by name; names become those of folders.
        shares: the weight of each; they add up to 1.
    """
    from distill.potentials.interface.ensemble import Ensemble

    ensemble = Ensemble(members, shares)
    ensemble.architecture = JoinedTeachers.name
    ensemble.settings = EnsembleSettings(members=tuple(members), shares=tuple(float(share) for share in shares))
    ensemble.origin = {"name": f"mean of {', '.join(members)}"} | {
        key: "; ".join(dict.fromkeys(one.origin[key] for one in members.values() if one.origin.get(key)))
        for key in ("licence", "level_of_theory", "weights", "sha256")
    }
    return ensemble.eval()


def _environment(folder: Path) -> Any:
    """Return the interpreter that the potential saved in a folder says it runs in, or None."""
    return read_json(folder / "model.json")["settings"].get("environment")

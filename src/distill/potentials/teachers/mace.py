"""MACE, the teachers of the MACE-MP, MACE-OMAT and MACE-OFF families and any model file that the package wrote.

A published model is a pickle, which only the package ``mace-torch`` can read. It is read once: what builds the network
becomes :class:`MACESettings`, its numbers become our weights, and what we save holds no pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from distill.potentials.base import MATERIALS_PROJECT, OwnSettings, TeacherSource
from distill.potentials.settings.mace import MACESettings
from distill.potentials.teachers.weights import Weights, fetch

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

ASL = "ASL (academic, not for commercial use)"
MP_THEORY = "PBE and PBE+U (Materials Project)"
OFF_THEORY = "ωB97M-D3(BJ)/def2-TZVPPD"
RELEASES = "https://github.com/ACEsuit/mace-mp/releases/download"
OFF_FILES = "https://raw.githubusercontent.com/ACEsuit/mace-off/main"


class MACE(OwnSettings):
    """A MACE model from a file that ``mace-torch`` wrote, named as ``mace:<file>``; it keeps the file's precision."""

    name = "mace"
    role = "teacher"
    reference = "I. Batatia et al., Adv. Neural Inf. Process. Syst. 35, 11423 (2022)"
    licence = "as the file"
    level_of_theory = "as the file"
    requires = ("mace-torch",)
    install = "pip install 'mlip-distill[mace]'"
    argument = "file"
    fits_elsewhere = True
    Settings = MACESettings

    @classmethod
    def network(cls, settings: MACESettings) -> Potential:
        """Return MACE without its weights."""
        from distill.potentials.networks.mace import MACEPotential

        return MACEPotential(settings)

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the model in the file that the user named, which is a pickle: it may run code.

        Raises:
            UserError: there is no such file, or it holds no MACE model that can be used here.
        """
        file = source.existing_file()
        from distill.base.files import hash_file
        from distill.potentials.published.mace import read_model

        return read_model(cls, file, None, {"weights": str(file), "sha256": hash_file(file)})


class PublishedMACE(MACE):
    """A published MACE model, downloaded on first use and run in single precision."""

    argument = ""
    reference = "I. Batatia et al., arXiv:2401.00096 (2023)"
    licence = "MIT"
    elements = MATERIALS_PROJECT
    level_of_theory = MP_THEORY
    weights: ClassVar[Weights]

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the published model.

        Raises:
            UserError: the file is not the published one.
            WorkError: it cannot be downloaded.
        """
        from distill.potentials.published.mace import read_model

        return read_model(cls, fetch(cls.weights), "float32", cls.weights.origin())


def _mp(path: str, sha256: str, size: int | None, licence: str = "MIT", theory: str = MP_THEORY) -> Weights:
    """Return a file of the MACE-MP and MACE-OMAT families.

    The authors publish no checksums; those here are recorded alike by several independent users of the files.
    """
    return Weights(f"{RELEASES}/{path}", licence, theory, sha256, size)


def _off(path: str, sha256: str, size: int | None) -> Weights:
    """Return a file of the MACE-OFF family; for the checksums see :func:`_mp`."""
    return Weights(f"{OFF_FILES}/{path}", ASL, OFF_THEORY, sha256, size)


class MACEMP0aSmall(PublishedMACE):
    """MACE-MP-0a, scalar features."""

    name = "mace-mp-0a-small"
    parameters = 3_847_696
    weights = _mp(
        "mace_mp_0/2023-12-10-mace-128-L0_energy_epoch-249.model",
        "2ddb079cee0e131eaaf6912ba581b394551ead283e95c99cfe78c605d10b5736",
        32_581_838,
    )


class MACEMP0aMedium(PublishedMACE):
    """MACE-MP-0a, scalar and vector features."""

    name = "mace-mp-0a-medium"
    parameters = 4_688_656
    weights = _mp(
        "mace_mp_0/2023-12-03-mace-128-L1_epoch-199.model",
        "01bfe22100139f424713cf921144e5509cbe353d67aa9fa1be9c6e1e0ed35845",
        44_422_970,
    )


class MACEMP0a(MACEMP0aMedium):
    """MACE-MP-0a, medium."""

    name = "mace-mp-0a"


class MACEMP0aLarge(PublishedMACE):
    """MACE-MP-0a, the file that the package calls large."""

    name = "mace-mp-0a-large"
    weights = _mp(
        "mace_mp_0/MACE_MPtrj_2022.9.model",
        "f80e992b65ab8f88fdf26964511357c022e92704e4d9bcd086652635a8495b32",
        133_803_220,
    )


class MACEMP0b3(PublishedMACE):
    """MACE-MP-0b3, medium: repulsion at short distances, better phonons."""

    name = "mace-mp-0b3"
    parameters = 9_063_204
    weights = _mp(
        "mace_mp_0b3/mace-mp-0b3-medium.model",
        "2f2be696351ac9e94fbe01cdfb6f017679acdbd2db7645209ef55fec9826b012",
        79_472_952,
    )


class MACEMPA0(PublishedMACE):
    """MACE-MPA-0, medium: Materials Project and Alexandria."""

    name = "mace-mpa-0"
    level_of_theory = "PBE and PBE+U (Materials Project, Alexandria)"
    parameters = 9_063_204
    weights = _mp(
        "mace_mpa_0/mace-mpa-0-medium.model",
        "75428afe3a1d7d8062e19bcaabd5c433623cabf308242ec9fb493e38604fb638",
        79_462_305,
        theory=level_of_theory,
    )


class MACEOMAT0(PublishedMACE):
    """MACE-OMAT-0, medium."""

    name = "mace-omat-0"
    reference = "I. Batatia et al., arXiv:2401.00096 (2023); L. Barroso-Luque et al., arXiv:2410.12771 (2024)"
    licence = ASL
    level_of_theory = "PBE and PBE+U (OMat24)"
    weights = _mp(
        "mace_omat_0/mace-omat-0-medium.model",
        "d4b14be9afa294eebdbe31a0280b26a0fa29715771e978cbfd3ca24e0d90307a",
        None,
        licence,
        level_of_theory,
    )


class MACEOMAT0Small(MACEOMAT0):
    """MACE-OMAT-0, small."""

    name = "mace-omat-0-small"
    weights = _mp(
        "mace_omat_0/mace-omat-0-small.model",
        "0abfde07862cf1e93b8b4d03cb702f29ce9c344ff2fc4de2ec0d7166d6c113a5",
        67_630_500,
        MACEOMAT0.licence,
        MACEOMAT0.level_of_theory,
    )


class _MACEOFF(PublishedMACE):
    """What the models for organic molecules share."""

    reference = "D. P. Kovács et al., arXiv:2312.15211 (2023)"
    licence = ASL
    elements = (1, 6, 7, 8, 9, 15, 16, 17, 35, 53)
    level_of_theory = OFF_THEORY


class MACEOFF23Small(_MACEOFF):
    """MACE-OFF23, small."""

    name = "mace-off23-small"
    parameters = 694_320
    weights = _off(
        "mace_off23/MACE-OFF23_small.model",
        "165cce4cfec5a34b9c64d4ebf95de15d71106bb584b7291c8470f0749977c46f",
        7_347_350,
    )


class MACEOFF23Medium(_MACEOFF):
    """MACE-OFF23, medium."""

    name = "mace-off23-medium"
    weights = _off(
        "mace_off23/MACE-OFF23_medium.model",
        "4842c52ad210d6e1f84d6cf1ffa70fae25a7e0d755ed55cf223f43913f587db7",
        18_350_596,
    )


class MACEOFF23(MACEOFF23Medium):
    """MACE-OFF23, medium."""

    name = "mace-off23"


class MACEOFF23Large(_MACEOFF):
    """MACE-OFF23, large."""

    name = "mace-off23-large"
    weights = _off(
        "mace_off23/MACE-OFF23_large.model",
        "a29e397dbf3e7a24ac50a9b0dfc919bd5a62efa346f5895a6237b0950c1d76f4",
        None,
    )


class MACEOFF24(_MACEOFF):
    """MACE-OFF24, medium."""

    name = "mace-off24"
    weights = _off(
        "mace_off24/MACE-OFF24_medium.model",
        "e5ccf5837f685899811a68754e7c994393bfd1a81720393b03c643b46c70bc69",
        18_375_569,
    )

"""The folder ``lammps/`` of an export: the model file, an input to begin with, and how to run it."""

from __future__ import annotations

from pathlib import Path

from ase.data import atomic_masses, atomic_numbers
from ase.io import write

from distill.base.files import replacing, write_text
from distill.exporting.lammps.styles import Style
from distill.exporting.target import Wanted
from distill.potentials.interface.potential import Potential

INPUT, DATA, README = "in.example", "structure.data", "README.md"


def write_folder(potential: Potential, folder: Path, style: Style, wanted: Wanted) -> list[Path]:
    """Write what LAMMPS needs for a student, and return the files.

    Args:
        potential: a student that the pair style computes.
        folder: where; made if need be.
        style: the pair style.
        wanted: precision; the structure that ``in.example`` begins from, ``structure.data`` if given; what the input
            and the README say of the student's safety.

    Raises:
        UserError: the pair style does not compute the student.
    """
    symbols = style.check(potential, wanted.precision)
    files = [folder / style.file, folder / INPUT, folder / README]
    if wanted.structure is not None:
        files.append(folder / DATA)
        symbols = [symbol for symbol in symbols if symbol in wanted.structure.get_chemical_symbols()]
        with replacing(folder / DATA) as temporary:
            options = {"specorder": symbols, "atom_style": "atomic", "units": "metal"}
            write(temporary, wanted.structure, format="lammps-data", **options)
    style.write(potential, folder / style.file, wanted.precision)
    write_text(folder / INPUT, input_text(style, symbols, wanted.safety))
    write_text(folder / README, readme_text(style, symbols, wanted))
    return files


def input_text(style: Style, symbols: list[str], safety: str) -> str:
    """Return an input of LAMMPS for atom types that are the given elements: 1 000 steps at 300 K."""
    masses = "\n".join(
        f"mass {k} {atomic_masses[atomic_numbers[symbol]]:.6g}  # {symbol}" for k, symbol in enumerate(symbols, 1)
    )
    return f"""# Dynamics with a student of distill; see README.md.
# {safety}
units metal
atom_style atomic
newton on
boundary p p p
read_data {DATA}
{masses}
pair_style {style.command}
pair_coeff {style.coefficients} {" ".join(symbols)}
timestep 0.0005
velocity all create 300 1 mom yes rot no
fix 1 all nvt temp 300 300 0.1
thermo 100
run 1000
"""


def readme_text(style: Style, symbols: list[str], wanted: Wanted) -> str:
    """Return what a user reads who has this folder alone."""
    order = ", ".join(f"'{symbol}'" for symbol in symbols)
    written = (
        'python -c "from ase.io import read, write; '
        f"write('{DATA}', read('my.xyz'), format='lammps-data', "
        f"specorder=[{order}], atom_style='atomic', units='metal')\""
    )
    holds, needed = style.readme(wanted.precision)
    run = " ".join(["lmp", *filter(None, [style.options]), "-in", INPUT])
    return f"""# A student of distill for LAMMPS

{wanted.safety}

{holds} Its elements, in the order of the atom types of `{INPUT}`: {" ".join(symbols)}. Only those of your structure
have to be named, one for each atom type.

{needed} Then, in this folder:

```sh
{run}                        # on several processors: mpiexec -n 4 lmp ...
```

`{INPUT}` reads `{DATA}`. If it is not here, ASE writes it from a structure of any format:

```sh
{written}
```
"""

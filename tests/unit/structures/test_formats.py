"""Files of other formats and encodings are read, or refused with a command that makes them readable.

Every command of a message is run on the file it was given for.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cli.main import main as ase_main

from distill.base.errors import UserError
from distill.structures.read import read_frames

Write = Callable[..., Path]


@pytest.fixture
def atoms() -> Atoms:
    """A labelled crystal."""
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    crystal.calc = SinglePointCalculator(crystal, energy=-6.0, forces=[[0.1, 0, 0], [-0.1, 0, 0]])
    return crystal


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_frames(path)
    return caught.value


# ── encodings ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_encodings(encoding: str, tmp_path: Path, good: str) -> None:
    """Letters of Western Europe come back; where bytes are not UTF-8, line and byte are said."""
    path = tmp_path / "some.xyz"
    path.write_bytes(good.replace("energy", 'note="in Å, größer" energy').encode(encoding))
    frames, source = read_frames(path)
    assert frames.info[0]["note"] == "in Å, größer" and frames.energy == pytest.approx([-3.5])
    guessed = encoding in ("latin-1", "cp1252")
    assert len(source.notes) == guessed
    if guessed:
        line = path.read_bytes().splitlines()[1]
        assert f"line 2 is not UTF-8 at its byte {line.index(0xC5) + 1} (0xc5)" in source.notes[0]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_ends_of_lines_and_tabs(newline: str, tmp_path: Path, good: str) -> None:
    path = tmp_path / "some.xyz"
    path.write_bytes(re.sub(r"(?<=\d) (?=[-\d])", "\t", good).replace("\n", newline).encode())
    assert read_frames(path)[0].positions[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed(pack: Callable[[bytes], bytes], tmp_path: Path, good: str) -> None:
    path = tmp_path / "some.xyz.packed"
    whole = pack(good.encode() * 50)
    path.write_bytes(whole)
    assert len(read_frames(path)[0]) == 50
    path.write_bytes(whole[:-9])
    assert "is damaged" in refusal(path).what


# ── other formats ────────────────────────────────────────────────────────────────────────────────────────────────────


FORMATS = ["vasp", "cif", "proteindatabank", "lammps-data", "traj", "db", "json"]


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats(name: str, tmp_path: Path, atoms: Atoms) -> None:
    """Written by ASE, and converted back by the command of the message, whatever a file is called, but a database."""
    path = tmp_path / ("some.db" if name == "db" else "some.xyz")
    ase.io.write(tmp_path / f"other.{name}", atoms, format=name)
    shutil.move(tmp_path / f"other.{name}", path)
    error = refusal(path)
    command = re.search(r"ase convert .*?structures\.extxyz", str(error.remedy))
    assert command and f"-i {name} " in command[0]
    words = [w.replace("structures.extxyz", str(tmp_path / "structures.extxyz")) for w in shlex.split(command[0])]
    ase_main(args=words[1:])
    frames, source = read_frames(tmp_path / "structures.extxyz", labels="optional")
    assert len(frames.numbers) == 2
    assert (source.energy is None) == ("no energies" in str(error.remedy))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("ITEM: TIMESTEP\n0\n", "a dump of LAMMPS"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n', "a vasprun.xml"),
        (" vasp.6.3.0 20Jan22\n", "an OUTCAR"),
        ("\n     Program PWSCF v.7.2 starts\n", "an output of Quantum ESPRESSO"),
    ],
)
def test_outputs_of_calculations(start: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "some.xyz"
    path.write_text(start)
    assert said in refusal(path).what


def test_text_and_binaries_of_no_known_format(tmp_path: Path) -> None:
    path = tmp_path / "some.xyz"
    for content, said in ((b"import os\n", "is 'import os'"), (b"\0\1\2\3" * 9, "binary"), (b"PK\3\4\0", "unzip")):
        path.write_bytes(content)
        assert said in str(refusal(path))


# ── what is near extended XYZ ────────────────────────────────────────────────────────────────────────────────────────


def test_exponents_of_fortran(file: Write, good: str) -> None:
    text = good.replace("-3.5", "-3.5D+00").replace("5 0 0", "0.5D1 0.D0 0d+00").replace("2.0 2.0", "0.2d+01 2.0-000")
    frames, _ = read_frames(file(text))
    assert frames.energy == pytest.approx([-3.5]) and frames.cells[0, 0, 0] == 5.0
    assert frames.positions[1].tolist() == [2, 2, 2]


def test_decimal_commas(file: Write, good: str, tmp_path: Path) -> None:
    """In the table, the lattice or the energy: the command of the message makes the file readable."""
    for old, new in (
        (r"(\d)\.(\d)", r"\1,\2"),
        (r"-3\.5", "-3,5"),
        (r"5 0 0 0 5 0 0 0 5", "5,0 0,0 0,0 0,0 5,0 0,0 0,0 0,0 5,0"),
    ):
        path = file(re.sub(old, new, good))
        command = re.search(r"sed .*", str(refusal(path).remedy))
        assert command
        out = tmp_path / "out.xyz"
        line = command[0].rstrip(".").replace("INPUT", shlex.quote(str(path))).replace("OUTPUT", shlex.quote(str(out)))
        subprocess.run(["sh", "-c", line], check=True)
        assert read_frames(out)[0].energy == pytest.approx([-3.5])


@pytest.mark.parametrize("quoted", ['Lattice="5 0 0 0 5 0 0 0 5"', 'pbc="T T F"', 'stress="0.1 0 0 0 0 0"'])
def test_values_without_quotes(quoted: str, file: Write, good: str) -> None:
    """Of ``pbc=T T F`` only the first T would be read, for all three directions."""
    key = quoted.partition("=")[0]
    text = re.sub(rf'{key}="[^"]*"', "", good).replace("energy", f"{quoted} energy")
    assert len(read_frames(file(text))[0]) == 1
    error = refusal(file(text.replace(quoted, quoted.replace('"', ""))))
    assert "not in quotes" in error.what and f"line 2, key {key!r}" in str(error)


@pytest.mark.parametrize("comment", ["step 5 energy=-3.5", "energy=-3.5 7 T", 'note="pbc=T T T" energy=-3.5'])
def test_words_that_belong_to_no_key(comment: str, file: Write, good: str) -> None:
    frames, _ = read_frames(file(good.replace("energy=-3.5", comment)))
    assert frames.energy == pytest.approx([-3.5])


def test_no_properties(file: Write, good: str) -> None:
    bare = good.replace("Properties=species:S:1:pos:R:3:forces:R:3 ", "")
    error = refusal(file(bare))
    assert "no Properties" in error.what
    added = re.search(r"Properties=\S+?(?=,)", str(error.remedy))
    assert added
    assert read_frames(file(bare.replace("energy", f"{added[0]} energy")))[0].forces is not None


@pytest.mark.parametrize("key", ["cell", "Cell", "lattice_vectors", "box"])
def test_a_lattice_of_another_name(key: str, file: Write, good: str) -> None:
    text = good.replace("Lattice", key).replace(' pbc="T T T"', "")
    error = refusal(file(text))
    assert f"no Lattice but a key {key!r}" in error.what
    assert read_frames(file(text.replace(key, "Lattice")))[0].pbc.all()


def test_numbers_as_species(file: Write, good: str) -> None:
    frames, source = read_frames(file(good.replace("Si ", "14 ")))
    assert frames.elements == (14,) and "14 (Si)" in source.notes[0]
    error = refusal(file(good.replace("Si ", "1 ")))
    assert "types of a simulation" in error.what
    assert read_frames(file(good.replace("Si ", "1 ").replace("\n1 ", "\nH ")))[0].elements == (1,)
    _, source = read_frames(file(good.replace("Si ", "CA ")))
    assert "CA was read as the element Ca" in source.notes[0]


def test_a_truncated_file_keeps_its_whole_frames(file: Write, good: str, tmp_path: Path) -> None:
    path = file(good, good, good.rsplit("\n", 2)[0] + "\n")
    command = re.search(r"head -n \d+ ", str(refusal(path).remedy))
    assert command
    whole = subprocess.run(["sh", "-c", command[0] + shlex.quote(str(path))], check=True, capture_output=True).stdout
    path.write_bytes(whole)
    assert len(read_frames(path)[0]) == 2

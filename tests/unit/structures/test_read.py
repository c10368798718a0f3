"""What is read is what the file says, and whatever is wrong is named with file, frame and key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest

from distill.base.errors import UserError
from distill.structures.extxyz import parse_comment
from distill.structures.read import LabelKeys, LabelSource, read_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon"
Write = Callable[..., Path]


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_agrees_with_ase_on_the_shipped_data(name: str) -> None:
    """ASE's reader is the independent truth; both parse the same decimals, so equality is exact."""
    frames, source = read_frames(SILICON / f"{name}.xyz")
    structures = ase.io.read(SILICON / f"{name}.xyz", ":")
    assert source == LabelSource("energy", "forces", "stress")
    assert frames.stress is not None and frames.energy is not None
    assert len(frames) == len(structures)
    for one, atoms in zip(frames, structures, strict=True):
        assert (one.numbers == atoms.numbers).all()
        assert (one.positions == atoms.positions).all()
        assert (one.cells[0] == atoms.cell.array).all()
        assert (one.pbc[0] == atoms.pbc).all()
        assert one.energy[0] == atoms.get_potential_energy()  # type: ignore[index]
        assert (one.forces == atoms.get_forces()).all()
        # the file's nine values differ in the last digit across the diagonal; ours is their mean
        assert one.stress[0] == pytest.approx(atoms.get_stress(voigt=False), abs=1e-12)  # type: ignore[index]
        assert one.info[0] == atoms.info


def test_labels_come_from_known_prefixes(file: Write, good: str) -> None:
    text = good.replace("forces", "REF_forces").replace("energy", "REF_energy")
    frames, source = read_frames(file(text))
    assert source == LabelSource("REF_energy", "REF_forces", None)
    assert frames.energy == pytest.approx([-3.5])
    assert frames.info == ({},)


def test_energy_and_forces_come_from_one_prefix(file: Write, good: str) -> None:
    """An ``energy`` without ``forces`` beside it is not paired with forces of another origin."""
    _, source = read_frames(file(good.replace("forces", "dft_forces").replace("energy=", "energy=9 dft_energy=")))
    assert (source.energy, source.forces, source.unused) == ("dft_energy", "dft_forces", ("energy",))


def test_energy_is_preferred_to_free_energy_and_said(file: Write, good: str) -> None:
    frames, source = read_frames(file(good.replace("energy=-3.5", "free_energy=-4 energy=-3.5")))
    assert frames.energy == pytest.approx([-3.5])
    assert source.unused == ("free_energy",)
    only, source = read_frames(file(good.replace("energy=-3.5", "free_energy=-4")))
    assert only.energy == pytest.approx([-4.0])
    assert source.energy == "free_energy"


def test_named_keys_win(file: Write, good: str) -> None:
    text = good.replace("energy=-3.5", "energy=-3.5 pbe=-7").replace("forces:R:3", "forces:R:3:F:R:3")
    text = re.sub(r"(Si .*)", r"\1 0.5 0.25 0", text)
    frames, source = read_frames(file(text), LabelKeys(energy="pbe", forces="F"))
    assert frames.energy == pytest.approx([-7.0])
    assert frames.forces is not None and (frames.forces == [0.5, 0.25, 0]).all()
    assert source.text() == "energy from 'pbe', forces from 'F', no stress"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stress", "1 2 3 4 5 6", [[1, 6, 5], [6, 2, 4], [5, 4, 3]]),
        ("stress", "1 6 5 6 2 4 5 4 3", [[1, 6, 5], [6, 2, 4], [5, 4, 3]]),
        ("virial", "125 0 0 0 250 0 0 0 0", [[-1, 0, 0], [0, -2, 0], [0, 0, 0]]),
        ("REF_virials", "125 250 0 0 0 0", [[-1, 0, 0], [0, -2, 0], [0, 0, 0]]),
    ],
)
def test_stress_in_every_form(file: Write, good: str, key: str, value: str, expected: list[list[int]]) -> None:
    """Voigt order is ASE's; a virial is -stress times volume, here 125 Å³."""
    frames, source = read_frames(file(good.replace("energy", f'{key}="{value}" energy')))
    assert source.stress == key
    assert frames.stress is not None and frames.stress[0] == pytest.approx(np.array(expected), abs=1e-12)


def test_a_missing_stress_is_nan(file: Write, good: str) -> None:
    frames, _ = read_frames(file(good.replace("energy", 'stress="1 1 1 0 0 0" energy'), good))
    assert frames.stress is not None
    assert np.isfinite(frames.stress).all(axis=(1, 2)).tolist() == [True, False]


def test_labels_can_be_left_alone_or_optional(file: Write, good: str) -> None:
    path = file(good)
    assert read_frames(path, labels="none")[0].energy is None
    assert read_frames(path, labels="optional")[0].energy is not None
    bare = file("1\nplain XYZ\nAr 0 0 0\n")
    frames, source = read_frames(bare, labels="optional")
    assert frames.energy is None and frames.forces is None and source == LabelSource()
    assert not frames.pbc.any() and not frames.cells.any()


def test_periodicity_defaults(file: Write, good: str) -> None:
    """A lattice means periodic unless ``pbc`` says otherwise."""
    assert read_frames(file(good.replace(' pbc="T T T"', "")))[0].pbc.all()
    assert read_frames(file(good.replace('"T T T"', '"T F T"')))[0].pbc.tolist() == [[True, False, True]]
    assert not read_frames(file(good.replace('"T T T"', "F")))[0].pbc.any()


def test_crlf_blank_lines_and_byte_order_mark(tmp_path: Path, good: str) -> None:
    path = tmp_path / "windows.xyz"
    path.write_bytes(b"\xef\xbb\xbf" + (good + "\n" + good + "\n\n").replace("\n", "\r\n").encode())
    assert len(read_frames(path)[0]) == 2


def test_comment_line_grammar() -> None:
    """The cases of ASE's documentation."""
    line = r"""a=1 b=2.5 c="1 2" d={1.5 2} e=[3,4] flag g=T h="T F" "odd key"=x """
    line += r"""q="say \"hi\"" j="_JSON {\"k\": [1]}" s = v=w"""
    assert parse_comment(line) == {
        "a": 1,
        "b": 2.5,
        "c": [1, 2],
        "d": [1.5, 2.0],
        "e": [3, 4],
        "flag": True,
        "g": True,
        "h": [True, False],
        "odd key": "x",
        "q": 'say "hi"',
        "j": {"k": [1]},
        "s": "v=w",
    }


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def refusal(path: Path, keys: LabelKeys = LabelKeys()) -> str:
    """Return the message with which a file is refused, without the folder."""
    with pytest.raises(UserError) as caught:
        read_frames(path, keys)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "nowhere.xyz: no such file" in refusal(tmp_path / "nowhere.xyz")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no structures"),
        (b"\n \n", "holds no structures"),
        (b"\x89PNG\r\n\x00\x00", "binary file"),
        (b"caf\xe9 au lait\n" * 3, "first line should be a number of atoms, and is 'café au lait'"),
        (b"import os\nos.system('true')\n", "first line should be a number of atoms, and is 'import os'"),
        (b"3.5\n\nSi 0 0 0\n", "number of atoms"),
        (b"-2\n\nSi 0 0 0\n", "number of atoms"),
        (b"0\n\n", "frame 0 (counted from 0), line 1: has no atoms"),
    ],
)
def test_what_is_not_extended_xyz(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "some.xyz"
    path.write_bytes(content)
    assert said in refusal(path)


def test_truncated_last_frame(file: Write, good: str) -> None:
    message = refusal(file(good, good.rsplit("\n", 2)[0] + "\n"))
    assert "some.xyz, frame 1 (counted from 0), line 7: the file ends after 1 of 2 atoms" in message


def test_wrong_number_of_atoms(file: Write, good: str) -> None:
    message = refusal(file(good, good.replace("2\n", "1\n", 1)))
    assert "frame 2 (counted from 0), line 8" in message and "Frame 1 may have more atoms" in message
    assert "frame 0 (counted from 0), line 5, key 'pos': 1 columns" in refusal(file("3" + good[1:], good))


SPOILT = [
    ("energy=-3.5", "", "key 'energy': has no energy as others have"),
    ("energy=-3.5", "REF_energy=-3.5", "key 'energy': has its energy as 'REF_energy', other frames as 'energy'"),
    (":forces:", ":dft_forces:", "key 'forces': has its forces as 'dft_forces', other frames as 'forces'"),
    ("energy=-3.5", "energy=inf", "key 'energy': not finite: inf"),
    ("energy=-3.5", 'energy="1 2"', "key 'energy': '[1, 2]' should be 1 number"),
    ("energy=-3.5", "energy=soon", "key 'energy': 'soon' should be 1 number"),
    ("energy=-3.5", "energy", "key 'energy': 'True' should be 1 number"),
    ("-0.1 0.0 0.0\n", "inf 0.0 0.0\n", "line 8, key 'forces': not finite: inf 0 0"),
    ("-0.1 0.0 0.0\n", "******** 0.0 0.0\n", "line 8, key 'forces': '********' is not a number"),
    ("-0.1 0.0 0.0\n", "-0.1 0.0\n", "line 8, key 'forces': 6 columns where Properties="),
    ("-0.1 0.0 0.0\n", "-0.1 0.0 0.0 7\n", "line 8, key 'forces': 8 columns where Properties="),
    ("2.0 2.0 2.0", "2.0 inf 2.0", "line 8, key 'pos': not finite: 2 inf 2"),
    ("forces:R:3", "forces:R:2:x:R:1", "key 'forces': has shape (2, 2) of numbers, expected (2, 3)"),
    ("forces:R:3", "forces:S:3", "key 'forces': has shape (2, 3) of other things than real numbers"),
    ("forces:R:3", "forces:R", "key 'Properties': 'species:S:1:pos:R:3:forces:R' is not a list of name:type:columns"),
    (
        "forces:R:3",
        "move_mask:R:3",
        "key 'move_mask': should be one or three columns of T (free to move)",
    ),
    ("species:S:1", "name:S:1", "key 'species': no chemical symbols"),
    ("pos:R:3", "where:R:3", "key 'pos': no positions"),
    ("Si 2.0", "Sj 2.0", "line 8, key 'species': 'Sj' is not a chemical element"),
    ("Si 2.0", "X 2.0", "key 'species': 'X' is a ghost or dummy atom"),
    ('Lattice="5 0 0 0 5 0 0 0 5" ', "", "key 'Lattice': is periodic along lattice vectors that are zero"),
    ("5 0 0 0 5 0 0 0 5", "5 0 0 0 5 0 5 5 0", "key 'Lattice': is periodic along lattice vectors"),
    ("5 0 0 0 5 0 0 0 5", "5 0 0 0 5 0 0 0 nan", "key 'Lattice': not finite"),
    ("5 0 0 0 5 0 0 0 5", "5 5 5", "key 'Lattice': '[5, 5, 5]' should be 9 numbers"),
    ('pbc="T T T"', 'pbc="T T"', "key 'pbc': should be three of T and F"),
    ("energy", 'stress="1 2 3" energy', "key 'stress': '[1, 2, 3]' should be 6 or 9 numbers"),
    ("energy", 'stress="1 2 0 0 1 0 0 0 1" energy', "key 'stress': is not symmetric"),
    ("energy", 'stress="inf 0 0 0 0 0" energy', "key 'stress': not finite"),
]


@pytest.mark.parametrize(("old", "new", "said"), SPOILT)
def test_one_spoilt_frame_is_named(file: Write, good: str, old: str, new: str, said: str) -> None:
    assert old in good
    message = refusal(file(good, good.replace(old, new)))
    assert "some.xyz, frame 1 (counted from 0), " in message
    assert said in message


def test_a_mix_of_stress_and_virial_is_refused(file: Write, good: str) -> None:
    one, other = (good.replace("energy", f'{key}="1 1 1 0 0 0" energy') for key in ("stress", "virial"))
    assert "frame 1 (counted from 0), key 'stress': has its stress as 'virial'" in refusal(file(one, other))


def test_no_energies_or_forces_lists_what_there_is(file: Write, good: str) -> None:
    message = refusal(file(good.replace("energy=", "E_tot=")))
    assert "some.xyz, key 'energy': no energy" in message and "REF_energy, dft_energy, REF_free_energy" in message
    assert "data.keys.energy" in message and "The file has: E_tot" in message
    message = refusal(file(good.replace("forces", "force")))
    assert "some.xyz, key 'forces': no forces" in message and "The file has: force" in message


def test_a_named_key_that_is_not_there(file: Write, good: str) -> None:
    message = refusal(file(good), LabelKeys(forces="force"))
    assert "key 'force': no forces" in message and "Did you mean 'forces'?" in message
    message = refusal(file(good), LabelKeys(energy="forces"))
    assert "'forces' stands among the per-atom columns" in message
    assert "no stress" in refusal(file(good), LabelKeys(stress="virial"))


def test_stress_without_cell(file: Write) -> None:
    text = '1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1 stress="1 1 1 0 0 0"\nAr 0 0 0 0 0 0\n'
    assert "frame 0 (counted from 0), key 'stress': is given for a structure without a cell" in refusal(file(text))


def test_nothing_in_a_file_is_executed(tmp_path: Path, good: str) -> None:
    """Words that some reader might evaluate stay text."""
    marker = tmp_path / "executed"
    call = f"__import__('pathlib').Path('{marker}').touch()"
    path = tmp_path / "evil.xyz"
    path.write_text(good.replace("energy", f'note="{call}" j="_JSON {call}" energy'))
    frames, _ = read_frames(path)
    assert frames.info[0]["note"] == call
    assert not marker.exists()

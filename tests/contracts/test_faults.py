"""Every fault of :mod:`faults` is found with a true word, and its remedy, applied, leaves nothing to be found.

The teacher is opened once and asked once for each structure.
"""

from __future__ import annotations

from pathlib import Path

import faults
import pytest

from distill.base.errors import WorkError
from distill.cli import main
from distill.structures.frames import Frames


@pytest.fixture(scope="module")
def teacher() -> faults.Teacher:
    return faults.Teacher()


def test_every_fault(teacher: faults.Teacher, tmp_path: Path) -> None:
    """No wrong number without a word, no wrong remedy and no false alarm."""
    cases = faults.all_faults(teacher)
    assert len(cases) > 110 and len({fault.name for fault in cases}) == len(cases)
    assert sum(fault.mend is not None for fault in cases) > 70
    wrong = [f"{fault.name}: {said}" for fault in cases if (said := faults.verdict(fault, tmp_path, teacher))]
    assert wrong == []


def test_without_a_teacher(tmp_path: Path) -> None:
    """Lengths, formats and orders need none: what is not compared is said."""

    def absent(frames: Frames) -> Frames:
        raise WorkError("its weights cannot be downloaded")

    for fault in list(faults.length_faults(faults.silicon(), "silicon"))[:7]:  # all that geometry alone is sure of
        found = faults.found(fault.content, tmp_path, absent)
        named = [text for severity, kind, text in found if kind == fault.kind and severity == "error"]
        assert named and fault.words[0] in named[0], found
        assert any(kind == "units-unchecked" for _, kind, _ in found)


def test_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is refused ends the command with status 2 and one sentence that names file and line."""
    fault = next(f for f in faults.text_faults(faults.silicon()) if f.name == "decimal commas")
    path = tmp_path / "train.xyz"
    path.write_text(str(fault.content))
    assert main(["check", str(path)]) == 2
    message = capsys.readouterr().err
    assert "train.xyz, frame 0 (counted from 0)" in message and "sed -E" in message and "Traceback" not in message

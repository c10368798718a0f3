"""ACE students in LAMMPS: python-ace's own evaluator, compiled as a plugin of these tests, says what ours does.

LAMMPS' package ML-PACE is not in the wheel of PyPI. The plugin (``pace_plugin``) is made of python-ace's sources, which
are of an academic licence: they are fetched when the tests are run, and stay in the folder of what tests keep.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from distill.base.errors import UserError
from distill.doctor import missing_packages
from distill.exporting.lammps.build import Lammps as Installed
from distill.exporting.lammps.build import compiler_of, find_lammps
from distill.exporting.lammps.target import Lammps
from distill.exporting.target import Wanted
from distill.potentials.settings.ace import ACESettings
from distill.potentials.students.ace import ACE
from distill.potentials.workers.ace_potential import ACEPotential
from distill.structures.frames import Frames

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("lammps") is None, reason="there is no LAMMPS"),
    pytest.mark.skipif(bool(missing_packages(ACE)), reason="the extra ace is not installed"),
]
PLUGIN = Path(__file__).parent / "pace_plugin" / "pace_plugin.cpp"


def sources(folder: Path) -> Path:
    """Where python-ace's evaluator is, fetched into a folder."""
    version = metadata.version("python-ace")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    fetch += ["--no-binary", "python-ace", f"python-ace=={version}", "--dest", str(folder)]
    done = subprocess.run(fetch, capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        pytest.skip(f"python-ace's sources could not be fetched: {done.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.glob("*/lib/ace/ace-evaluator")
    return found


def compiled(lammps: Installed, plugin: Path, work: Path) -> None:
    """Compile the plugin, all files of a library as one."""
    code = sources(work)
    yaml = code / "lib" / "yaml-cpp"

    def unit(name: str, files: Iterable[Path]) -> Path:
        (work / name).write_text("".join(f'#include "{file}"\n' for file in sorted(files)))
        return work / name

    units = [
        unit("yaml.cpp", (yaml / "src").glob("*.cpp")),
        unit("ace.cpp", (code / "src/ace-evaluator").glob("*.cpp")),
    ]
    headers = [lammps.headers, *filter(None, [lammps.mpi_headers]), code / "src", yaml / "include", yaml / "src"]
    options = ["-O1", "-w", "-fPIC", "-std=c++17", "-shared", *(f"-I{folder}" for folder in headers)]
    built = work / plugin.name
    command = [compiler_of(lammps), *options, str(PLUGIN), *map(str, units), "-o", str(built)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    plugin.parent.mkdir(parents=True, exist_ok=True)
    os.replace(built, plugin)


@pytest.fixture(scope="module")
def pace(kept: Path) -> Path:
    """The folder of the plugin; compiled once, within a minute, and kept."""
    lammps = find_lammps()
    parts = [PLUGIN.read_text(), metadata.version("python-ace"), lammps.version]
    folder = kept / f"pace-{hashlib.sha256(''.join(parts).encode()).hexdigest()[:16]}"
    if not (folder / "paceplugin.so").exists():
        work = folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        compiled(lammps, folder / "paceplugin.so", work)
    return folder


@pytest.fixture(scope="module")
def expansion() -> ACEPotential:
    """An expansion with random coefficients, repulsion of nuclei and energies of single atoms."""
    sizes = {"functions": 30, "nradmax": (5, 3, 2), "lmax": (0, 2, 1), "cutoff": 4.0}
    potential = ACE.create(ACESettings(elements=["Si", "O"], **sizes))
    assert isinstance(potential, ACEPotential)
    with torch.no_grad():
        potential.reference_energies[8], potential.reference_energies[14] = -430.25, -100.5
    crystal = bulk("NaCl", "rocksalt", a=4.4, cubic=True)
    crystal.symbols[:] = ["O", "Si"] * 4
    basis = potential.make_basis({"O O": 1.0, "O Si": 1.3, "Si Si": 1.6}, seed=1)  # a crystal that holds together
    potential.adopt(basis, Frames.from_atoms([crystal]))
    return potential


def test_the_certificate_shows_agreement(
    expansion: ACEPotential, pace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames, of which one has a pair within the repulsion, ranks, derivative and dynamics, in double precision."""
    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", str(pace))
    program, wanted = Lammps(), Wanted(structure=bulk("Si", cubic=True))
    program.check(expansion, wanted)
    files = program.write(expansion, tmp_path, wanted)
    assert {file.name for file in files} == {"model.yace", "in.example", "README.md", "structure.data"}
    assert "pair_style pace product\npair_coeff * * model.yace Si\n" in (tmp_path / "in.example").read_text()
    certificate = program.certify(expansion, tmp_path, wanted)
    assert certificate["verdict"] == "passed", certificate
    assert {name for name in certificate["checks"] if "rank" in name} == {"2 ranks", "4 ranks"}
    lammps = find_lammps()
    run = [str(lammps.executable), "-in", "in.example", "-log", "none"]
    done = subprocess.run(run, cwd=tmp_path, env=lammps.environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "1000 steps with 8 atoms" in done.stdout, done.stdout[-500:] + done.stderr


def test_without_the_package_it_is_not_run(
    expansion: ACEPotential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)
    Lammps().write(expansion, tmp_path, Wanted())
    verdict = Lammps().certify(expansion, tmp_path, Wanted())["verdict"]
    assert verdict.startswith("not run: this LAMMPS was built without its package ML-PACE")
    assert "built without" in (tmp_path / "README.md").read_text()


def test_what_pair_style_pace_does_not_compute_is_refused(expansion: ACEPotential) -> None:
    with pytest.raises(UserError, match="in double precision alone"):
        Lammps().check(expansion, Wanted("single"))
    with pytest.raises(UserError, match="the student does not know Ge"):
        Lammps().check(expansion, Wanted(structure=Atoms("Ge", cell=[9] * 3, pbc=True)))
    with pytest.raises(UserError, match="it was not fitted"):
        Lammps().check(ACE.create(ACESettings(elements=["Si"]), seed=0), Wanted())

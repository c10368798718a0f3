"""The command line: one verb, one call of :mod:`distill.api`; the rest is text.

Nothing heavy is imported before a verb needs it, so that help and errors come at once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from distill.base.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    INTERRUPTED,
    DistillError,
    UserError,
)
from distill.base.streams import tolerant_streams
from distill.cli_exports import add_export_commands, export_model, look_for_holes

if TYPE_CHECKING:
    from distill.api import Sweep
    from distill.workflow.estimate import StageCost
    from distill.workflow.plan import Plan
    from distill.workflow.recipe import Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed at work, 2 bad input, 130 interrupted.

    A reader that has gone (``| head``) changes nothing. Other output that cannot be written is a failure of a command
    that only shows, but not of one that worked. Without ``arguments`` it is the program itself, whose signals it takes
    over; with them it leaves those of its caller alone.
    """
    with tolerant_streams() as output:
        options = _parser().parse_args(arguments)
        status = _status_of(options, is_program=arguments is None)
        output.flush()
        if output.error is None or isinstance(output.error, BrokenPipeError):
            return status
        print(f"distill: the output cannot be written: {output.error}", file=sys.stderr)
        worked = (_run, _sweep, _search, _evaluate, _md, look_for_holes, export_model)
        return status if options.verb in worked else status or EXIT_FAILED


def _status_of(options: argparse.Namespace, is_program: bool) -> int:
    """Return the exit status of a command, once it is done."""
    if is_program:
        _heed_signals()
    try:
        return int(options.verb(options))
    except KeyboardInterrupt:
        if is_program:
            _ignore_signals()
        print(options.interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        from distill.base.disk import disk_error

        known = error if isinstance(error, DistillError) else disk_error(error)
        text = str(known) if known else f"{type(error).__name__}: {error}. --debug shows where"
        print(f"distill: {text}", file=sys.stderr)
        return known.exit_code if known else EXIT_FAILED


def _heed_signals() -> None:
    """Let a termination, and a terminal that goes away, end the work as an interrupt does; ``nohup`` stays."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _ignore_signals() -> None:
    """Let no further signal disturb the end of the program: one is enough."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="distill", description="Distil a foundation model into a fast potential.")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the full traceback of an error")

    def verb(name: str, function: Any, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=f"{text}.", parents=[common, *parents])
        added.set_defaults(verb=function, interrupted=INTERRUPTED)
        return added

    verb("run", _run, "Do everything of a recipe that is not done yet", _recipe_options(), _run_options())
    plan = "Show the tasks of a recipe, which are cached, and why the others are not"
    verb("plan", _plan, plan, _recipe_options(), _device_options())
    sweep = verb("sweep", _sweep, "Run variants of a recipe, what they share once", _recipe_options(), _run_options())
    sweep.add_argument("vary", nargs="*", metavar="KEY=A,B,C", help="a key and its values; several are multiplied")
    sweep.add_argument("--seeds", type=int, metavar="N", help="seeds of every student")
    sweep.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="do the whole chain N times, with other seeds"
    )
    sweep.add_argument("--until", default="evaluate", metavar="STAGE", help="the last stage (default: evaluate)")
    sweep.add_argument("--name", help="of the sweep and its folder (default: the recipe's and what is varied)")
    sweep.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    search = verb("search", _search, "Search for a recipe's best settings", _recipe_options(), _run_options())
    search.add_argument("--trials", type=int, metavar="N", help="trials in all (default: as the recipe says)")
    search.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    check = verb("check", _check, "Check a recipe's data, or one file of structures, before anything expensive")
    check.add_argument("source", metavar="RECIPE_OR_XYZ", help="a recipe (.yaml) or an extended XYZ file")
    check.add_argument("--set", **_SET)
    check.add_argument("--json", action="store_true", help="print the findings as JSON and nothing else")
    evaluate = verb(
        "evaluate", _evaluate, "Predict a file of structures and compare with its labels", _device_options()
    )
    evaluate.set_defaults(interrupted="Interrupted. No file is left half written.")
    evaluate.add_argument("model", metavar="MODEL", help="folder of a model, e.g. runs/quickstart/models/painn")
    evaluate.add_argument("data", metavar="DATA", help="extended XYZ file, with or without labels")
    evaluate.add_argument(
        "--out",
        metavar="FOLDER",
        help="where predictions.xyz and errors.csv go (default: DATA-MODEL, of a run DATA-RUN-MODEL)",
    )
    evaluate.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="LABEL=NAME",
        help="key of a label in the file, e.g. energy=my_energy; may be given for energy, forces and stress",
    )
    evaluate.add_argument(
        "--trust-code",
        action="store_true",
        help="run the class, the function or the pickle that the model's folder names, because you trust its maker",
    )
    evaluate.add_argument(
        "--environment",
        metavar="PYTHON",
        help="Python interpreter that the model runs in, where its packages are not here (see: distill doctor)",
    )
    evaluate.add_argument("--json", action="store_true", help="print the errors as JSON and nothing else")
    _add_dynamics(verb)
    add_export_commands(verb, _device_options())
    status = verb("status", _status, "Show how far a run is")
    status.add_argument("run", metavar="RUN", help="the run's folder, or its name")
    status.add_argument("--runs", default="runs", metavar="DIR", help="folder of the runs (default: runs)")
    verb("models", _models, "List the potentials: teachers and students")
    doctor = verb("doctor", _doctor, "Show what this machine offers and what is missing, or make an environment")
    doctor.set_defaults(interrupted="Interrupted. Nothing is left half made; the same command begins again.")
    doctor.add_argument(
        "--make",
        metavar="ENVIRONMENT",
        help="make the environment that models need whose packages conflict with ours, e.g. sevennet",
    )
    return parser


def _add_dynamics(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands for dynamics with a saved potential."""
    md = verb("md", _md, "Run molecular dynamics with a saved potential, or continue it", _device_options())
    md.add_argument("model", metavar="MODEL", help="folder of a model, e.g. runs/quickstart/models/painn")
    md.add_argument("structure", metavar="STRUCTURE", help="a file that ASE reads; its last structure is taken")
    md.add_argument("--ps", type=float, required=True, help="length, ps; a longer one continues a run")
    for option, kind, default, text in (
        ("thermostat-fs", float, 100.0, "time in which the thermostat acts, fs"),
        ("pressure", float, 0.0, "of npt, GPa"),
        ("barostat-fs", float, 1000.0, "time in which the barostat acts, fs"),
        ("timestep-fs", float, 1.0, "time step, fs"),
        ("save-every-fs", float, 20.0, "time between two samples, fs"),
        ("checkpoint-ps", float, 1.0, "time between two checkpoints, ps"),
        ("seed", int, 0, "of the first velocities and the thermostat"),
    ):
        md.add_argument(f"--{option}", type=kind, default=default, help=f"{text} (default: {default:g})")
    for option, choices, text in (
        ("ensemble", ("nvt", "nve", "npt"), "what is held constant"),
        ("thermostat", ("langevin", "bussi"), "of nvt: for averages of structures, or for diffusion and spectra"),
        ("barostat", ("isotropic", "full"), "of npt: for liquids, or for crystals"),
    ):
        md.add_argument(f"--{option}", choices=choices, default=choices[0], help=f"{text} (default: {choices[0]})")
    md.add_argument(
        "--temperature", type=float, nargs="+", default=[300.0], metavar="K", help="one, or with --replicas several"
    )
    md.add_argument(
        "--programme",
        type=_node,
        nargs="+",
        default=(),
        metavar="PS:K",
        help="temperatures that follow, as in 10:600 60:300",
    )
    md.add_argument("--replicas", type=int, metavar="N", help="so many runs at each temperature, on a GPU all at once")
    md.add_argument("--together", type=int, metavar="N", help="replicas in one pass (default: all on a GPU, else 1)")
    md.add_argument("--repeat", type=int, nargs=3, default=(1, 1, 1), metavar="N", help="repetitions of the cell")
    md.add_argument("--velocities", action="store_true", help="keep velocities with the samples")
    md.add_argument("--compiled", action="store_true", help="have torch compile the network, on a GPU")
    md.add_argument("--out", metavar="FOLDER", help="of the run (default: after structure, model and temperature)")
    md.add_argument("--trust-code", action="store_true", help="run the code that the model's folder names")
    md.add_argument("--environment", metavar="PYTHON", help="Python interpreter that the model runs in")
    trajectory = verb("trajectory", _trajectory, "Write the trajectory of a run of dynamics as one file")
    trajectory.add_argument("folder", metavar="FOLDER", help="of distill md")
    trajectory.add_argument("file", metavar="FILE", help="named .xyz (extended XYZ) or .traj, or as ASE knows others")
    trajectory.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th sample (default: 1)")


_SET: dict[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "KEY=VALUE",
    "help": "replace a value of the recipe, e.g. synthetic.structures=200; may be given several times",
}


def _recipe_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("recipe", metavar="RECIPE", help="the recipe, a YAML file")
    parser.add_argument("--set", **_SET)
    parser.add_argument("--runs", default="runs", metavar="DIR", help="folder of the runs (default: runs)")
    parser.add_argument("--store", metavar="DIR", help="folder of finished work (default: .store in the runs' folder)")
    parser.add_argument(
        "--force",
        action="append",
        default=[],
        metavar="STAGE",
        help="do this stage again, and all that depends on it; may be given several times",
    )
    return parser


def _run_options() -> argparse.ArgumentParser:
    parser = _device_options()
    parser.add_argument("--quiet", action="store_true", help="show errors only")
    return parser


def _device_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N (default: auto, a GPU where there is one)",
    )
    return parser


def _load(path: str, options: argparse.Namespace) -> Recipe:
    """Return the recipe, and say what the user should know of it."""
    from distill.workflow.recipe import load_recipe

    recipe = load_recipe(path, options.set)
    for note in recipe.notes if not getattr(options, "quiet", False) else ():
        print(f"warning: {note}", file=sys.stderr)
    return recipe


def _run(options: argparse.Namespace) -> int:
    from distill.api import Sweep, run
    from distill.base.progress import duration
    from distill.results import Run

    recipe = _load(options.recipe, options)
    if recipe.settings.search is not None:
        return _run_search(recipe, options)
    if recipe.settings.sweep is not None:
        return _run_sweep(Sweep(recipe), options)
    result = run(recipe, **_how(options))
    if options.quiet or not isinstance(result, Run):
        return EXIT_OK
    if result.ran:
        took = duration(result.summary["totals"]["this_run_s"])
        print(f"Done in {took}: {len(result.ran)} tasks run, {len(result.cached)} cached.")
    else:
        print(f"Nothing to do: all {len(result.cached)} tasks are finished.")
    for path in sorted(result.links):
        print(f"  {path}")
    made_with = [task["made_with"] for task in result.summary["tasks"].values() if "made_with" in task]
    if made_with:
        print(f"{len(made_with)} cached tasks were made with {made_with[0]}; --force check makes all of it anew.")
    return EXIT_OK


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """Return how a recipe is run, as keyword arguments."""
    how = {name: getattr(options, name) for name in ("runs", "store", "device", "force")}
    return how | {"progress": not options.quiet}


def _sweep(options: argparse.Namespace) -> int:
    from distill.api import sweep

    recipe = _load(options.recipe, options)
    grid = dict(_varied(text) for text in options.vary)
    how = {name: getattr(options, name) for name in ("seeds", "repeat", "until", "name")}
    found = sweep(recipe, grid, **how)
    return _show_costs(found, options) if options.plan else _run_sweep(found, options)


def _varied(text: str) -> tuple[str, list[Any]]:
    """Return the key and the values of ``KEY=A,B,C``; each value is YAML."""
    from distill.workflow.yaml_text import parse_document

    key, equals, values = text.partition("=")
    if not (key and equals and values):
        raise UserError("must be KEY=A,B,C", where=text, remedy="For example students.painn.cutoff=4,5")
    return key, parse_document(f"[{values}]", text).value


def _run_sweep(sweep: Sweep, options: argparse.Namespace) -> int:
    """Run a sweep, say what came of it, and end with 1 where something failed."""
    result = sweep.run(**_how(options))
    lost = result.failures
    for row in lost.itertuples():
        print(f"distill: {row.sweep}: {row.task or row.model}: {row.status}: {row.message}", file=sys.stderr)
    if not options.quiet:
        print(f"{len(result.variants)} variants: {len(result.ran)} tasks run, {len(result.cached)} cached.")
        for name in ("report.html", "metrics.csv", "models.csv", "failures.csv", "variants"):
            print(f"  {result.folder / name}")
    return EXIT_FAILED if len(lost) else EXIT_OK


def _search(options: argparse.Namespace) -> int:
    recipe = _load(options.recipe, options)
    if recipe.settings.search is not None and options.trials is not None:
        recipe = recipe.override({"search.trials": options.trials}, recipe.name)
    return _show_search(recipe, options) if options.plan else _run_search(recipe, options)


def _run_search(recipe: Recipe, options: argparse.Namespace) -> int:
    """Run a search, and say who won."""
    from distill.api import search

    result = search(recipe, **_how(options))
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if not options.quiet:
        print(f"{result.headline}\n{result.verdict}")
        for name in ("report.html", "trials.csv", "best.yaml", "variants"):
            print(f"  {result.folder / name}")
    return EXIT_OK


def _show_search(recipe: Recipe, options: argparse.Namespace) -> int:
    """Say what a search does, and what of it is known before costs."""
    from distill.searching import Search

    search = Search(recipe)
    print(search.text())
    return _costs(search.plan(options.device), options)


def _show_costs(sweep: Sweep, options: argparse.Namespace) -> int:
    """Say how many tasks a sweep has, how many are done, and how long the others take."""
    print(f"{len(sweep.variants)} variants: {', '.join(list(sweep.variants)[:6])}{', ...' * (len(sweep.variants) > 6)}")
    return _costs(sweep.plan(options.device), options)


def _costs(plan: Plan, options: argparse.Namespace) -> int:
    """Say how many tasks a plan has, how many are done, and how long the others take."""
    from distill.base.progress import duration
    from distill.workflow.estimate import costs
    from distill.workflow.runner import store_of

    rows = costs(plan, store_of(options.runs, options.store))
    head = ["stage", "tasks", "distinct", "cached", "to run", "time"]
    lines = [[c.stage, *map(str, (c.planned, c.distinct, c.cached, c.distinct - c.cached)), _time(c)] for c in rows]
    _table(head, lines)
    total, unknown = sum(cost.seconds for cost in rows), sum(cost.unknown for cost in rows)
    waiting = sum(cost.distinct - cost.cached for cost in rows)
    counts = f"{sum(c.planned for c in rows)} tasks, {sum(c.distinct for c in rows)} distinct, {waiting} to run"
    said = f", about {duration(total)} one after another" if total else ""
    more = f"; of {unknown} nothing like them was done here before" if unknown else ""
    print(f"{counts}{said}{more}.")
    return EXIT_OK


def _time(cost: StageCost) -> str:
    from distill.base.progress import duration

    if cost.unknown:
        return "unknown"
    return duration(cost.seconds) if cost.seconds else ""


def _plan(options: argparse.Namespace) -> int:
    from distill.api import Sweep, explain, plan

    recipe = _load(options.recipe, options)
    if recipe.settings.search is not None:
        return _show_search(recipe, options)
    if recipe.settings.sweep is not None:
        return _show_costs(Sweep(recipe), options)
    planned = plan(recipe, options.device)
    for note in planned.notes():
        print(f"warning: {note}", file=sys.stderr)
    verdicts = explain(planned, runs=options.runs, store=options.store, force=options.force)
    _table(
        ["task", "state", "why"],
        [[name, "cached" if v.cached else "will run", v.note if v.cached else v.why] for name, v in verdicts.items()],
    )
    waiting = sum(not verdict.cached for verdict in verdicts.values())
    print(f"{len(verdicts)} tasks, {waiting} to run, {len(verdicts) - waiting} cached.")
    return EXIT_OK


def _check(options: argparse.Namespace) -> int:
    from distill.api import check, is_recipe

    try:
        findings = check(_load(options.source, options) if is_recipe(options.source) else options.source)
    except UserError as error:
        if not options.json:
            raise
        from distill.structures.checks.finding import Finding

        findings = [Finding.of_error(error, "unreadable", options.source)]
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in ("error", "warning")}
    if options.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            print(finding.text())
        print(", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items()) + ".")
    return EXIT_BAD_INPUT if counts["error"] else EXIT_OK


def _evaluate(options: argparse.Namespace) -> int:
    from pathlib import Path

    from distill.api import evaluate
    from distill.bar import Bar
    from distill.given import model_name

    default = f"{Path(options.data).stem}-{model_name(options.model)}"
    keys = dict(_label_key(text) for text in options.key)
    with Bar() as bar:
        result = evaluate(
            options.model,
            options.data,
            out=default if options.out is None else options.out,
            device=options.device,
            keys=keys,
            progress=bar,
            trust_code=options.trust_code,
            environment=options.environment,
        )
    for finding in result.findings:
        if finding.severity != "info":
            print(f"warning: {finding.sentence}", file=sys.stderr)
    strange = result.not_finite()
    if strange:
        print(f"warning: {len(strange)} predictions are not finite, the first for frame {strange[0]}", file=sys.stderr)
    if options.json:
        print(json.dumps(result.rows(), indent=2, ensure_ascii=False))
        return EXIT_OK
    n = len(result.predicted)
    rate = n / max(result.seconds, 1e-9)
    print(f"{n} structures in {result.seconds:.3g} s, {rate:.3g} a second; {result.labels.text()}.")
    if result.errors:
        _table(*result.table())
        print("In brackets: 95 % bootstrap intervals over structures.")
    for path in result.files:
        print(f"  {path}")
    return EXIT_OK


def _node(text: str) -> tuple[float, float]:
    ps, colon, kelvin = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text} is no time and temperature: write 10:600 for 600 K at 10 ps")
    return float(ps), float(kelvin)


def _md(options: argparse.Namespace) -> int:
    from distill.bar import Bar
    from distill.simulation import md, md_replicas

    left_out = ("verb", "interrupted", "debug", "model", "structure", "temperature", "replicas", "together")
    how = {name: value for name, value in vars(options).items() if name not in left_out}
    single = options.replicas is None
    if single and (len(options.temperature) > 1 or options.together is not None):
        raise UserError(
            "several temperatures and --together are for replicas", remedy="Add --replicas, as in --replicas 4"
        )
    with Bar() as bar:
        if single:
            done = [md(options.model, options.structure, progress=bar, temperature=options.temperature[0], **how)]
        else:
            how |= {"temperatures": options.temperature, "replicas": options.replicas, "together": options.together}
            done = md_replicas(options.model, options.structure, progress=bar, **how)
    for one in done:
        if one.broke:
            print(f"distill: {one.folder}: {one.broke}", file=sys.stderr)
        else:
            time = "nothing to do" if one.ms_per_step is None else f"{one.ms_per_step:.3g} ms a step"
            print(f"{one.steps} steps, {time}.\n  {one.folder}")
    return EXIT_FAILED if any(one.broke for one in done) else EXIT_OK


def _trajectory(options: argparse.Namespace) -> int:
    from distill.simulation import write_trajectory

    n = write_trajectory(options.folder, options.file, options.every)
    print(f"{n} structures.\n  {options.file}")
    return EXIT_OK


def _label_key(text: str) -> tuple[str, str]:
    label, equals, name = text.partition("=")
    if not (label and equals and name):
        raise UserError("must be LABEL=NAME", where=f"--key {text}", remedy="For example --key energy=my_energy")
    return label, name


def _status(options: argparse.Namespace) -> int:
    from distill.api import status

    states = status(options.run, options.runs)
    _table(["task", "state", ""], [[one.id, one.state, one.text] for one in states])
    done = sum(one.state == "done" for one in states)
    print(f"{done} of {len(states)} tasks are done.")
    return EXIT_OK


def _models(options: argparse.Namespace) -> int:
    from distill.doctor import MODEL_COLUMNS, model_rows

    _table(MODEL_COLUMNS, model_rows())
    return EXIT_OK


def _doctor(options: argparse.Namespace) -> int:
    if options.make is not None:
        from distill.base.streams import say
        from distill.potentials.workers.environment_maker import make_environment

        print(make_environment(options.make, say))
        return EXIT_OK
    from distill.doctor import diagnose

    _table(["", ""], diagnose())
    return EXIT_OK


def _table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows in aligned columns; the head is left out where it is empty."""
    lines = [head, *rows] if any(head) else rows
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())

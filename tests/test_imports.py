"""The layers of the package, read from its source: who may import whom, what may be imported early, and no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from distill.exporting import TARGETS
from distill.observables import OBSERVABLES
from distill.potentials import POTENTIALS
from distill.stages import STAGES

ROOT = Path(__file__).parents[1] / "src"
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "distill").rglob("*.py"))
}
MAY_IMPORT = {
    "base": {"base"},
    "structures": {"structures", "base"},
    "analysis": {"analysis", "structures", "base"},
    "potentials": {"potentials", "structures", "base"},
    "observables": {"observables", "analysis", "structures", "base"},
    "dynamics": {"dynamics", "potentials", "structures", "analysis", "base"},
    "statics": {"statics", "potentials", "structures", "analysis", "base"},
    "sampling": {"sampling", "potentials", "structures", "analysis", "base"},
    "training": {"training", "potentials", "structures", "analysis", "base"},
    "exporting": {"exporting", "dynamics", "statics", "potentials", "structures", "analysis", "base"},
    "reporting": {"reporting", "analysis", "structures", "base"},
    "studies": {"studies", "reporting", "analysis", "structures", "base"},
    "stages": {
        *("stages", "reporting", "exporting", "training", "sampling", "dynamics", "observables", "statics"),
        *("potentials", "analysis", "structures", "base"),
    },
    "workflow": {"workflow", "stages", "base"},
}
LIGHT = {"pydantic", "pydantic_core", "yaml", "distill"}
"""What stages, the workflow and the rows of the table of potentials may import at their top, besides Python's own."""


WINGS = {
    "settings": {"settings"},
    "interface": {"interface", "settings", "table"},
    "networks": {"networks", "interface", "settings"},
    "native": {"native", "networks", "interface"},
    "published": {"published", "networks", "interface", "settings", "base"},
    "workers": {"workers", "interface", "settings", "base", "table"},
    "students": {"students", "native", "networks", "workers", "interface", "settings", "base"},
    "teachers": {"teachers", "published", "networks", "workers", "interface", "settings", "base", "table"},
    "base": {"base", "interface", "settings", "table"},
    "table": set[str](),
}
"""Which wing of the potentials may import which; the table is the package itself, ``base`` what its rows are."""


def is_type_checking(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(nodes: Iterable[ast.AST], early: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements, those in functions and for type checkers too; or those executed on import alone."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif early and isinstance(node, ast.If) and is_type_checking(node):
            yield from statements(node.orelse, early)
        elif not (early and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from statements(ast.iter_child_nodes(node), early)


@cache
def imports(module: str, early: bool = False) -> set[str]:
    """The modules that a module imports; a name imported from a package counts as the module that it is."""
    found = set()
    for node in statements([ast.parse(SOURCES[module].read_text())], early):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0 and node.module, f"{module}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else node.module for name in names}
    return found


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in SOURCES and name != module}


@pytest.mark.parametrize("module", SOURCES)
def test_layers(module: str) -> None:
    parts = module.split(".")
    assert "distill" not in imports(module), "import the module that is needed, not the package"
    if len(parts) == 1 or parts[1] not in MAY_IMPORT:
        return
    for imported in ours(module):
        layer = imported.split(".")[1]
        assert layer in MAY_IMPORT[parts[1]], f"{module} imports {imported}"


def wing(module: str) -> str:
    """The wing of the potentials that a module is in."""
    return [*module.split("."), "table"][2]


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("distill.potentials")])
def test_wings_of_the_potentials(module: str) -> None:
    for imported in ours(module):
        if imported.startswith("distill.potentials"):
            assert wing(imported) in WINGS[wing(module)], f"{module} imports {imported}"


SCRIPTS = ["calculator", "ace", "ace_fit", "networks", "networks_mace", "networks_sevennet", "protocol"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_other_interpreters_run_stands_alone(script: str) -> None:
    """Python's own modules at the top, the neighbours that are beside it as files, and nothing else of ours."""
    module, workers = f"distill.potentials.workers.{script}", "distill.potentials.workers"
    neighbours = {f"{workers}.{name}" for name in SCRIPTS}
    assert ours(module) <= neighbours
    tops = imports(module, early=True) - neighbours - set(SCRIPTS)
    assert {name.split(".")[0] for name in tops} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("distill.stages.")])
def test_no_stage_imports_another(module: str) -> None:
    others = {row.partition(":")[0] for row in STAGES.rows.values()} - {module}
    assert not ours(module) & others


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("distill.workflow")])
def test_the_workflow_knows_only_the_table_and_the_contract_of_stages(module: str) -> None:
    assert {m for m in ours(module) if m.startswith("distill.stages")} <= {"distill.stages", "distill.stages.base"}


def early_modules() -> list[str]:
    """Modules that must be cheap: stages, workflow, base, the command line, settings, and rows of the tables."""
    tables = (POTENTIALS, OBSERVABLES, TARGETS)
    rows = {row.partition(":")[0] for table in tables for row in table.rows.values()}
    settings = ("distill.potentials.settings", "distill.training.ace.settings", "distill.training.refinement")
    layers = ("distill.stages", "distill.workflow", "distill.base", *settings)
    top = ("cli", "cli_exports", "api", "doctor", "potentials", "potentials.base")
    own = {"distill", *(f"distill.{name}" for name in top)}
    return sorted(rows | own | {m for m in SOURCES if m.startswith(layers)})


@pytest.mark.parametrize("module", early_modules())
def test_early_modules_import_nothing_heavy_at_their_top(module: str) -> None:
    tops = {name.split(".")[0] for name in imports(module, early=True)}
    assert tops <= LIGHT | set(sys.stdlib_module_names)


def test_the_command_line_starts_with_the_standard_library_alone() -> None:
    first = {m for m in imports("distill.cli", early=True) if m in SOURCES}
    assert first == {"distill.base.errors", "distill.base.streams", "distill.cli_exports"}
    assert {m for name in first for m in imports(name, early=True) if m in SOURCES} <= first


def test_there_are_no_cycles() -> None:
    """Imports in functions and those for type checkers counted."""
    graph = {module: ours(module) for module in SOURCES}
    while free := [module for module, needed in graph.items() if not needed & graph.keys()]:
        for module in free:
            del graph[module]
    assert graph == {}


def test_planning_loads_nothing_heavy() -> None:
    """The same rule seen from outside: everything that planning needs is loaded, and no numerical library with it."""
    code = (
        "import sys, distill.api, distill.doctor\n"
        "from distill.stages import STAGES\n"
        "from distill.potentials import POTENTIALS\n"
        "list(STAGES.values()), list(POTENTIALS.values())\n"
        "heavy = {'torch', 'ase', 'numpy', 'scipy', 'pandas', 'matplotlib', 'lightning', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_public_names_exist() -> None:
    import distill

    for name in distill.__all__:
        assert getattr(distill, name) is not None
    assert set(STAGES.rows) and not hasattr(distill, "no_such_name")

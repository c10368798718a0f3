"""What tasks read that is not an artifact: files of the user's, and code that the recipe names.

The plan hashes both; a task compares them again before and after its work, so that what it wrote is of what was hashed.
Code is the source of the user's modules, found as Python finds them but not imported, and of those modules of theirs
that they import; of an installed package it is the version.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from distill.base.consent import Code
from distill.base.errors import WorkError
from distill.base.files import hash_file
from distill.workflow.machine import PACKAGES

OURS = "distill"
"""Our own modules are left out: the version of a stage stands for them."""


def fingerprint(codes: Iterable[Code]) -> dict[str, str]:
    """Return what the code is that a recipe names: SHA-256 by module, version by package.

    A package that the user's code imports counts unless its version is recorded with every artifact. Of what runs in
    another interpreter only the user's own modules are known here. What a module reads besides is not seen.
    """
    found: dict[str, str] = {}
    for code in codes:
        path = [str(Path.cwd())]
        named: list[str] = []
        if code.file is not None and code.file.endswith(".py"):
            path = [str(Path(code.file).parent)]
            named = sorted(imported(Path(code.file).read_bytes(), "", is_package=False))
        elif module := code.reference.partition(":")[0]:
            named = [module]
            if code.environment is None:
                found |= _installed(module, path, recorded=True)
        sources = _sources(named, path)
        found |= {name: hash_file(source) for name, source in sources.items() if source}
        if code.environment is None:
            for name in {name.partition(".")[0] for name, source in sources.items() if source is None}:
                found |= _installed(name, path, recorded=False)
    return dict(sorted(found.items()))


def _sources(named: Sequence[str], path: Sequence[str]) -> dict[str, Path | None]:
    """Return the source of the user's modules among ``named`` and of those that they import; None for all others."""
    found: dict[str, Path | None] = {}
    waiting = list(named)
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        waiting += [whole for k in range(1, len(parts)) if (whole := ".".join(parts[:k])) not in found]
        if name in found:
            continue
        spec = find(name, path)
        origin = (spec.origin if spec is not None else None) or ""
        source = Path(origin) if origin.endswith(".py") else None
        if source is None or parts[0] in sys.stdlib_module_names or parts[0] == OURS or _is_installed(source):
            found[name] = None
            continue
        found[name] = source
        package = spec is not None and spec.submodule_search_locations is not None
        waiting += sorted(imported(source.read_bytes(), name, package))
    return found


def find(name: str, path: Sequence[str]) -> ModuleSpec | None:
    """Return where Python finds a module, without importing it or a package around it; None where there is none.

    Args:
        name: dotted.
        path: where to look after everything else.
    """
    PathFinder.invalidate_caches()
    parts = name.split(".")
    spec = next((found for finder in sys.meta_path if (found := finder.find_spec(parts[0], None))), None)
    spec = spec or PathFinder.find_spec(parts[0], list(path))
    for k in range(1, len(parts)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        # by its last name alone: for a package without __init__.py Python asks after the module around it
        spec = PathFinder.find_spec(parts[k], list(spec.submodule_search_locations))
    return spec


def imported(source: bytes, name: str, is_package: bool) -> set[str]:
    """Return the modules that a module's source may import, anywhere in it; nothing where it is not Python.

    Args:
        source: its text.
        name: its dotted name, which relative imports begin at.
        is_package: whether it is the ``__init__.py`` of a package.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    return {one for node in ast.walk(tree) for one in _names(node, name.split(".") if name else [], is_package)}


def _names(node: ast.AST, parts: Sequence[str], is_package: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        up = node.level - is_package
        around = list(parts[: len(parts) - up]) if node.level else []
        base = ".".join([*around, *([node.module] if node.module else [])])
        if base:
            yield base
        yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names if alias.name != "*")


def _is_installed(source: Path) -> bool:
    """Whether a source lies where packages are installed, and not in a folder that somebody edits."""
    return any(source.is_relative_to(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))


def _installed(module: str, path: Sequence[str], recorded: bool) -> dict[str, str]:
    """Return the version of the package that a module is of, by the package's name; nothing where there is none.

    ``recorded``: also of those whose versions are recorded with every artifact.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == OURS:
        return {}
    spec = find(top, path)
    if spec is None or spec.origin is None or not _is_installed(Path(spec.origin)):
        return {}
    name = {package.replace("-", "_"): package for package in PACKAGES}.get(top)
    if name is not None and not recorded:
        return {}
    try:
        name = name or _distributions().get(top, [top])[0]
        return {name: version(name)}
    except PackageNotFoundError:
        return {}


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def refuse_changed(hashed: Mapping[str, Any], inputs: Mapping[str, Any], codes: Iterable[Code]) -> None:
    """Refuse files and code that are not, or no longer, those that were hashed.

    Args:
        hashed: what the hash of the task covers.
        inputs: the task's inputs; files are paths.
        codes: the code of the task.

    Raises:
        WorkError: a file or a module has changed since the run was planned.
    """
    remedy = "Run again: it is planned with its new content"
    for name, one in hashed["inputs"].items():
        if isinstance(one, Mapping) and "file" in one:
            path = Path(str(inputs[name]))
            if not path.is_file():
                raise WorkError("the file is gone since the run was planned", str(path), "Put it back, and run again")
            if hash_file(path) != one["file"]:
                raise WorkError("the file has changed since the run was planned", str(path), remedy)
    before, now = hashed.get("code", {}), fingerprint(codes)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise WorkError("the code has changed since the run was planned", name, remedy)

"""Time planning: how long many variants of one recipe take in one process, as a sweep over its keys makes them.

Every variant is read, validated against the settings of all stages, and planned with the hashes of its tasks, as
``distill plan`` does; each differs from all others in two keys. The time is that of the processor.

    python tests/benchmarks/planning.py --plans 1000
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from distill.workflow.plan import make_plan
from distill.workflow.recipe import load_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


def planned(recipe: Path, plans: int) -> Iterator[tuple[float, float, frozenset[str]]]:
    """Yield seconds of reading and of planning, and the hashes of the tasks, of each variant."""
    for number in range(plans):
        overrides = [f"students.painn.cutoff={4 + number / plans}", f"synthetic.structures={300 + number}"]
        begin = time.process_time()
        read = load_recipe(recipe, overrides)
        between = time.process_time()
        hashes = frozenset(task.hash for task in make_plan(read))
        yield between - begin, time.process_time() - between, hashes


def table(recipe: Path, plans: int) -> Iterator[str]:
    """Yield the lines of the table: the first plan, which makes the settings classes, and the mean of the others."""
    (first_read, first_plan, _), *others = found = list(planned(recipe, plans))
    distinct = len({hashes for _, _, hashes in found})
    yield f"{'':16}{'reading':>10}{'planning':>10}   ms of CPU"
    yield f"{'first':16}{1000 * first_read:10.1f}{1000 * first_plan:10.1f}"
    read, plan = (sum(column) / max(len(others), 1) for column in list(zip(*others, strict=True))[:2] or ((0,), (0,)))
    yield f"{'each further':16}{1000 * read:10.1f}{1000 * plan:10.1f}"
    total = sum(read + plan for read, plan, _ in found)
    yield f"{plans} plans, {distinct} of them distinct: {total:.1f} s of CPU"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=int, default=1000, help="variants (default 1000)")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="a recipe with a student named painn")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}\n")
    for line in table(arguments.recipe, arguments.plans):
        print(line)


if __name__ == "__main__":
    main()

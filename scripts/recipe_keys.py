"""Print docs/recipe-keys.md, the reference of all keys of a recipe, from the settings that validate them.

    python scripts/recipe_keys.py > docs/recipe-keys.md

Needs the extra ace, whose settings are among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from distill.observables import OBSERVABLES
from distill.potentials import POTENTIALS, student_names, student_row
from distill.stages import STAGES
from distill.workflow.recipe import recipe_schema

HEAD = """\
# All keys of a recipe

After this page you can look up every key: what it means, what it may be, and what it is where the recipe says nothing.

This page is made from the settings that validate recipes, by `python scripts/recipe_keys.py > docs/recipe-keys.md`.
What belongs together is explained in the [guide](recipes.md).
"""

SECTIONS = {
    "data": "files and how they are read, judged and divided: [Your data](data.md)",
    "teacher": "the foundation model and its fine-tuning: [Teachers](teachers.md), [Fine-tuning](fine-tuning.md). "
    "Where there are [several](teachers.md#several-teachers), below `teachers.<name>`",
    "synthetic": "how structures are grown and labelled: [Growing structures](growing-structures.md)",
    "students": "below `students.<name>`, what every network takes: [Students](students.md), [Training](training.md)",
    "simulate": "a list, each entry of a kind: [Simulations and speed](simulations.md)",
    "observe": "below `observe.<name>`, each of a kind: [The verdict](verdict.md), [Observables](observables.md)",
    "relabel": "what the teacher says of structures of the students' own dynamics: [The verdict](verdict.md)",
    "benchmark": "time of a step of dynamics: [Simulations and speed](simulations.md#speed)",
    "export": "students for other programs: [Exports](export.md)",
    "trainer": "all fits of a recipe: [Training](training.md#devices-and-loggers)",
    "sweep": "values that are varied: [Sweeps](sweeps.md)",
    "search": "values that are searched for: [Search](search.md)",
    "executor": "where tasks run: [The pipeline](pipeline.md#tasks-and-the-store)",
}
MEANING = {
    "name": "Name of the run, and of its folder in `runs/`.",
    "seed": "Everything random derives from it.",
    "kind": "Which of the kinds it is.",
}
"""Of keys whose settings do not say it."""

Row = tuple[str, str, str, str]
"""Key, what it may be, default, meaning."""


class Page:
    """Rows of keys from a JSON schema.

    Args:
        schema: of the whole recipe, or of one class of settings.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.definitions = schema.get("$defs", {})

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference."""
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        return {**self.definitions[name], **schema} if name else schema

    def rows(self, schema: dict[str, Any], prefix: str, whole: dict[str, Any] | None = None) -> Iterator[Row]:
        """Yield a row for every property, those of settings inside settings too.

        Args:
            schema: of the settings.
            prefix: of their keys.
            whole: their values where the recipe does not name them at all, if there are such.
        """
        schema = self.resolve(schema)
        for name, value in schema.get("properties", {}).items():
            field = self.resolve(value)
            options = [self.resolve(one) for one in field.get("anyOf", field.get("oneOf", []))]
            inner = next((one for one in [field, *options] if "properties" in one), None)
            key = f"{prefix}{name}"
            default = value.get("default")
            text = "required" if name in schema.get("required", ()) else self.default(default, inner is not None)
            if whole is not None and inner is None and whole.get(name, default) != default:
                text = f"{self.default(whole[name], False)}; {text} where `{prefix[:-1]}` is given"
            meaning = value.get("description", field.get("description", "")) or MEANING.get(key, "")
            if not meaning.startswith("Filled in"):
                yield key, self.kind(field), text, meaning
            if inner is not None:
                yield from self.rows(inner, f"{key}.", default if isinstance(default, dict) else None)

    @staticmethod
    def default(value: Any, has_own: bool) -> str:
        """Return a default as a recipe would write it; settings inside settings say theirs key by key."""
        if value == "" or (has_own and value is not None):
            return ""
        return f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")

    def kind(self, field: dict[str, Any]) -> str:
        """Return in words what a value may be."""
        field = self.resolve(field)
        if options := field.get("anyOf", field.get("oneOf")):
            return " or ".join(dict.fromkeys(self.kind(one) for one in options))
        if "enum" in field or "const" in field:
            return ", ".join(f"`{one}`" for one in field.get("enum", [field.get("const")]))
        if field.get("type") == "array":
            entries = field.get("prefixItems")
            of = self.kind(entries[0] if entries else field.get("items", {}))
            return f"{len(entries)} × {of}" if entries else f"list of {of}"
        if field.get("type") == "object":
            return "keys below" if "properties" in field else "mapping"
        words = {"string": "text", "number": "number", "integer": "integer", "boolean": "true, false", "null": "null"}
        return words.get(field.get("type", ""), "any") + self.bounds(field)

    @staticmethod
    def bounds(field: dict[str, Any]) -> str:
        """Return the range of a number."""
        signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
        return "".join(f" {sign} {field[name]:g}" for name, sign in signs.items() if name in field)


def plain(text: str) -> str:
    """Return the text of a docstring as Markdown: one line, nothing in it that is taken for a tag."""
    parts = " ".join(text.split()).replace("``", "`").replace("|", "\\|").split("`")
    return "`".join(part if code % 2 else part.replace("<", "&lt;") for code, part in enumerate(parts))


def table(rows: list[Row]) -> str:
    """Return a table of Markdown."""
    lines = ["| key | is | default | meaning |", "| --- | --- | --- | --- |"]
    for key, kind, default, meaning in rows:
        lines.append(f"| `{key}` | {kind} | {default} | {plain(meaning)} |")
    return "\n".join(lines) + "\n"


def sections() -> Iterator[str]:
    """Yield the parts of the page."""
    schema = recipe_schema({"students": {arch: {"arch": arch} for arch in student_names()}}, STAGES).model_json_schema()
    page = Page(schema)
    yield HEAD
    yield table(
        [row for row in page.rows({k: v for k, v in schema.items() if k != "$defs"}, "") if row[0] in "name seed"]
    )
    for section, words in SECTIONS.items():
        yield f"## {section}\n\n{words[0].upper()}{words[1:]}.\n"
        given = schema["properties"][section]
        field = page.resolve(given.get("anyOf", [given])[0])  # an optional section is null where it is not there
        if section == "students":
            yield from students(page, field)
        elif section == "observe":
            yield from observables()
        elif field.get("type") == "array":
            for kind in page.resolve(field["items"])["oneOf"]:
                name = page.resolve(kind)["properties"]["kind"]["const"]
                yield f"### {name}\n\n{page.resolve(kind)['description']}\n"
                yield table(list(page.rows(kind, "")))
        else:
            yield table(list(page.rows(field, f"{section}.")))


def observables() -> Iterator[str]:
    """Yield what all observables take, then what each kind takes besides."""
    schemas = {kind: OBSERVABLES[kind].model_json_schema() for kind in OBSERVABLES}
    rows = {kind: list(Page(schema).rows(schema, "")) for kind, schema in schemas.items()}
    common = [row for row in next(iter(rows.values())) if all(row in of for of in rows.values())]
    yield table(common)
    for kind, own in rows.items():
        yield f"### {kind}\n\n{plain(schemas[kind]['description'])}\n"
        yield table([row for row in own if row not in common])


def students(page: Page, field: dict[str, Any]) -> Iterator[str]:
    """Yield what all networks take, then what each architecture takes besides."""
    rows = {arch: list(page.rows(field["properties"][arch], "")) for arch in student_names()}
    networks = [arch for arch in rows if student_row(arch).trainer == "gradient"]
    common = [row for row in rows[networks[0]] if all(row in rows[arch] for arch in networks)]
    yield table(common)
    for arch in rows:
        yield f"### {arch}\n\n{plain(student_row(arch).__doc__.splitlines()[0])}\n"
        own = [row for row in rows[arch] if row not in common] if arch in networks else rows[arch]
        yield table(own) if own else "Nothing besides.\n"
    custom = POTENTIALS["custom"]
    yield f"### module:Class\n\n{plain(custom.__doc__.splitlines()[0])}\n"
    own_schema = custom.Settings.model_json_schema()
    yield table([row for row in Page(own_schema).rows(own_schema, "") if row[0] != "model"])


if __name__ == "__main__":
    print("\n".join(sections()), end="")

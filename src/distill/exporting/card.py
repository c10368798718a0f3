"""The card of an export, ``README.md``: what the model is, where it holds, what is wrong with it, whose it is.

Numbers stand with their intervals; what was not evaluated says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from distill.analysis.agreement import agreements
from distill.analysis.verdicts import LEVELS
from distill.exporting.card_front import AGAINST, NAMES, SETS, front_matter
from distill.exporting.domain import Domain
from distill.exporting.facts import Facts, Measured, Row
from distill.exporting.gate import UNSAFE
from distill.exporting.licences import FOLDER, OWN, strictest
from distill.potentials import POTENTIALS

FILE = "README.md"
NOT_EVALUATED = "Not evaluated."


def card(facts: Facts) -> str:
    """Return the text of the card, with front matter for the Hugging Face Hub."""
    sections = {
        "": _begin(facts),
        "Use": _use(facts),
        "Where it holds": _domain(facts),
        "Errors": _errors(facts),
        "Verdict by physics": _verdict(facts.measured.verdict),
        "Safety gate": _gate(facts.gate),
        "Certificate": _certificate(facts.certificate),
        "Speed": _speed(facts.measured),
        "Licences": _licences(facts),
        "Cite": _cite(facts),
    }
    body = [f"## {name}\n\n{text}" if name else text for name, text in sections.items()]
    return front_matter(facts) + "\n" + "\n\n".join([f"# {facts.title}", *body]) + "\n"


def _begin(facts: Facts) -> str:
    made = facts.description.get("provenance", {})
    said = f"An interatomic potential (energies, forces, stresses) made by distill {_version()}"
    if made.get("made_by"):
        said += f": {made['made_by']} on {made['structures']} structures"
    if facts.teacher:
        level = facts.teacher.get("level_of_theory") or "level of theory not known"
        said += f". Its teacher is {facts.teacher['name']} ({level})"
    safety = f"**{facts.safety}**" if facts.safety.startswith(UNSAFE) else facts.safety
    return f"{said}.\n\n{safety}"


def _use(facts: Facts) -> str:
    here = """In Python, in the folder above this one:

```python
import distill

atoms.calc = distill.load_potential("FOLDER").calculator()  # of ASE
```""".replace("FOLDER", facts.name)
    programs = [
        f"{program.title}, in `{name}/`" + (f":\n\n{program.usage}" if program.usage else "; see its `README.md`.")
        for name, program in facts.programs.items()
    ]
    return "\n\n".join([here, *programs])


def _domain(facts: Facts) -> str:
    domain, gate = facts.domain, facts.gate
    heat = f"Meant for at most {gate['temperature']:g} K; the gate ran dynamics at twice that." if gate else ""
    if domain is None:
        return f"The structures it was fitted to are not known here. {heat}".strip()
    return "\n\n".join(filter(None, [_fitted(domain), heat, _distances(domain)]))


def _fitted(domain: Domain) -> str:
    said = f"Fitted to, or chosen by, {domain.structures} structures of {', '.join(domain.elements)}"
    if domain.volumes is None:
        return f"{said}, no crystal or liquid among them."
    low, high = domain.volumes
    return f"{said}; crystals and liquids among them have {low:.3g} to {high:.3g} Å³ an atom."


def _distances(domain: Domain) -> str:
    """Return the table of the smallest distances."""
    beyond = f"none within {domain.reach:.2g}"
    rows = [
        (one.pair, f"{one.together:.2f}" if one.together else beyond, f"{one.alone:.2f}" if one.alone else "none")
        for one in domain.closest
    ]
    return _table(("smallest distance (Å)", "in structures", "in isolated pairs"), rows)


def _errors(facts: Facts) -> str:
    rows = [
        (NAMES[row["quantity"]], AGAINST[row["reference"]], f"{row['n']} {SETS[row['split']]}", *_value(row))
        for row in facts.mean_errors()
    ]
    if not rows:
        return NOT_EVALUATED
    said = "Mean absolute errors; in brackets bootstrap intervals over structures (95 % where the recipe says nothing)."
    return f"{said}\n\n{_table(('quantity', 'against', 'on', 'error', 'unit'), rows)}"


def _value(row: Row) -> tuple[str, str]:
    """Return an error with its interval, and its unit."""
    interval = f"[{float(row['low']):.3g}, {float(row['high']):.3g}]" if row["low"] and row["high"] else "(no interval)"
    return f"{float(row['value']):.3g} {interval}", row["unit"]


def _verdict(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return NOT_EVALUATED
    rows = [(f"{level} {LEVELS[int(level)]}", outcome) for level, outcome in verdict["levels"].items()]
    return f"{_sentence(verdict['sentence'])}\n\n{_table(('level', 'outcome'), rows)}"


def _gate(gate: Mapping[str, Any] | None) -> str:
    if gate is None:
        return f"{NOT_EVALUATED} Nobody has looked for holes."
    word = {True: "passed", False: "FAILED"}
    rows = [
        (word[row["passed"]] if not row["warns"] or row["passed"] else "warned", row["name"], row["sentence"])
        for row in gate["rows"]
    ]
    return f"{gate['sentence']}.\n\n{_table(('', 'check', 'found'), rows)}"


def _certificate(certificate: Mapping[str, Any] | None) -> str:
    if certificate is None:
        return NOT_EVALUATED
    each = [_program(one) for one in certificate["programs"].values()]
    return "\n\n".join([*each, "Every structure by itself is in `certificate.json`."])


def _program(one: Mapping[str, Any]) -> str:
    """Return what the certificate of one program says: of each quantity the difference nearest to its limit."""
    about = " ".join(filter(None, [one["engine"], one.get("version"), f"({one['precision']} precision)"]))
    said = f"{about}, {one['date'][:10]}: {one['verdict']}."
    rows = [
        (row.what, _short(row.difference), _short(row.limit), row.outcome) for row in agreements(one.get("checks", {}))
    ]
    table = _table(("against this package", "largest difference", "limit", "outcome"), rows) if rows else ""
    return "\n\n".join(filter(None, [said, table]))


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _speed(measured: Measured) -> str:
    timed = [row for row in measured.speed if row["ms_per_step"]]
    if not timed:
        return NOT_EVALUATED
    said = "Molecular dynamics through ASE with a student of these settings, timed once and so without an interval"
    said += f", on {measured.machine}" if measured.machine else ""
    rows = [(row["atoms"], f"{float(row['ms_per_step']):.3g}", row["n_steps"]) for row in timed]
    return f"{said}.\n\n{_table(('atoms', 'ms a step', 'steps'), rows)}"


def _licences(facts: Facts) -> str:
    rows = [(part.what, part.licence or "not known") for part in facts.parts]
    found = strictest(facts.parts)
    said = f"The strictest that is known is {found.licence}, of: {found.what}. Texts are in `{FOLDER}/`."
    unknown = [part.what for part in facts.parts if not part.licence]
    more = [f"Not known: {', '.join(unknown)}; it may be stricter."] if unknown else []
    more += [program.licence for program in facts.programs.values() if program.licence]
    return "\n\n".join([_table(("part", "licence"), rows), " ".join([said, *more])])


def _cite(facts: Facts) -> str:
    lines = [f"- this tool: distill {_version()}"]
    row = POTENTIALS.get(facts.architecture) if facts.architecture in POTENTIALS else None
    if row is not None:
        lines.append(f"- the architecture: {row.reference}")
    if facts.teacher:
        name = facts.teacher["name"]
        known = POTENTIALS[name].reference if name in POTENTIALS else "as its authors ask"
        lines.append(f"- the teacher, {name}: {known}")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; a bar in a cell would end it."""
    lines = [list(head), ["---"] * len(head), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _version() -> str:
    try:
        return version(OWN)
    except PackageNotFoundError:
        return "(source tree)"

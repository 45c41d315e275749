"""Write the API reference, docs/api.md, from the docstrings.

python docs/build_api.py > docs/api.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import griffe

#: Chapter, module, and which of its names; None is all of ``__all__`` that has a docstring.
CHAPTERS: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    (
        "Python API",
        "splicebert_vep",
        (
            "Annotator",
            "Beside",
            "ScoredVariant",
            "Profile",
            "map_region",
            "RegionMap",
            "dependency_of",
            "Dependency",
            "oligos_of",
            "Oligos",
            "Oligo",
            "Embeddings",
            "Embedding",
            "finetune_splice_sites",
            "finetune_branchpoints",
            "finetune_sequences",
            "Source",
            "FineTuneRecipe",
            "SequenceRecipe",
            "Stage",
            "SpliceSiteModel",
            "BranchpointModel",
            "SequenceModel",
            "Variant",
            "Summary",
            "Settings",
            "DeltaSettings",
            "WindowShape",
        ),
    ),
    ("Errors", "splicebert_vep.errors", ()),
    ("Contract for plugins", "splicebert_vep_spec", None),
    (
        "Hooks",
        "splicebert_vep_spec._hooks",
        (
            "register_scorers",
            "register_adapters",
            "register_joins",
            "register_backends",
            "register_commands",
            "run_started",
            "run_finished",
        ),
    ),
    ("Tests for plugins", "splicebert_vep_spec.testing", None),
)
HEAD = """# API reference

Made from the docstrings by `python docs/build_api.py > docs/api.md`; a test holds it to them.
Coordinates are 0-based half-open unless said otherwise.
"""


def main() -> None:
    """Print the reference."""
    print(HEAD)
    for title, name, chosen in CHAPTERS:
        module = griffe.load(name, resolve_aliases=True, resolve_external=True)
        assert isinstance(module, griffe.Module)
        print(f"## {title}: `{name}`\n")
        print(_docstring(module))
        exported = [str(item) for item in module.exports or ()] if chosen is None else chosen
        for member in exported:
            found = _target(module, member)
            if isinstance(found, griffe.Class | griffe.Function) and found.docstring:
                print(_object(found, member, "###"))


def _target(module: griffe.Module, name: str) -> griffe.Object | None:
    """Return a member of a module, or what an import of that name leads to; None for what griffe cannot follow."""
    found = module[name]
    try:
        return found.final_target if isinstance(found, griffe.Alias) else found
    except griffe.AliasResolutionError:  # names that are unpacked from a range: the token ids
        return None


def _object(item: griffe.Class | griffe.Function, name: str, level: str) -> str:
    parts = [f"{level} `{name}`\n"]
    shown = _signature(item, name)
    if shown:
        parts.append(f"```text\n{shown}\n```\n")
    parts.append(_docstring(item))
    if isinstance(item, griffe.Class):
        for found in item.all_members.values():
            member = found.final_target if isinstance(found, griffe.Alias) else found  # an inherited one is an alias
            if member.name.startswith("_") and member.name != "__getitem__" or not member.docstring:
                continue
            if isinstance(member, griffe.Function):
                parts.append(_object(member, f"{name}.{member.name}", "####"))
            elif isinstance(member, griffe.Attribute):
                kind = f": `{member.annotation}`" if member.annotation else ""
                parts.append(f"#### `{name}.{member.name}`{kind}\n\n{_docstring(member)}")
    return "\n".join(parts)


def _signature(item: griffe.Class | griffe.Function, name: str) -> str:
    parameters = [p for p in item.parameters if p.name not in ("self", "cls")]
    if isinstance(item, griffe.Class) and not parameters:
        return ""
    cells = []
    starred = False
    for parameter in parameters:
        if parameter.kind is griffe.ParameterKind.keyword_only and not starred:
            cells.append("*")
            starred = True
        default = f" = {parameter.default}" if parameter.default is not None else ""
        kind = f": {parameter.annotation}" if parameter.annotation else ""
        stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(
            parameter.kind, ""
        )
        cells.append(f"{stars}{parameter.name}{kind}{'' if stars else default}")
    returns = f" -> {item.returns}" if isinstance(item, griffe.Function) and item.returns else ""
    line = f"{name}({', '.join(cells)}){returns}"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(cells) + f",\n){returns}"


def _docstring(item: griffe.Object) -> str:
    if item.docstring is None:
        return ""
    return "\n".join(_sections(item.docstring))


def _sections(docstring: griffe.Docstring) -> Iterator[str]:
    for section in docstring.parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            yield _prose(section.value)
        elif section.kind in (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.raises):
            title = "Arguments" if section.kind is griffe.DocstringSectionKind.parameters else "Raises"
            yield f"**{title}**\n"
            for entry in section.value:
                name = entry.name if title == "Arguments" else entry.annotation
                yield f"- `{str(name).strip('()')}`: {' '.join(_code(entry.description).split())}"
            yield ""
        elif section.kind is griffe.DocstringSectionKind.returns:
            yield "**Returns** " + " ".join(_code(entry.description) for entry in section.value) + "\n"
        elif section.kind is griffe.DocstringSectionKind.examples:
            lines = "\n".join(text for _, text in section.value)
            yield f"**Example**\n\n```text\n{lines}\n```\n"


def _prose(text: str) -> str:
    """Return a docstring's text as Markdown; an indented block after ``::`` becomes a fenced one."""
    parts = inspect.cleandoc(text).split("::\n\n")
    made = _code(parts[0])
    for part in parts[1:]:
        block, _, rest = part.partition("\n\n") if not part.startswith("    ") else _indented(part)
        made = made.rstrip(": \n") + f"\n\n```text\n{block}\n```\n{_code(rest)}"
    return made.strip() + "\n"


def _indented(text: str) -> tuple[str, str, str]:
    lines = text.splitlines()
    count = next((i for i, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    return inspect.cleandoc("\n".join(lines[:count])), "", "\n".join(lines[count:])


def _code(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    main()

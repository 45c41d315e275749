"""``splicebert-vep doctor``: whether this installation can work, with a remedy for whatever cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import cloup

from .complete import PATH
from .console import print_json, print_table, put
from .options import annotation_option, device_option, json_option, model_option

if TYPE_CHECKING:
    from .checks import Finding

_COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "FAIL": "red"}
_BROKEN_CODE = 1
_EPILOG = """\b
Examples:
  splicebert-vep doctor
  splicebert-vep doctor -R GRCh38.fa -A grch38 --model SpliceBERT.1024nt --device cuda
  splicebert-vep doctor --json | jq '.checks[] | select(.state != "ok")'
"""


@cloup.command(epilog=_EPILOG)
@cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Look at this reference too.")
@annotation_option
@model_option
@device_option
@json_option
def doctor(reference: str | None, annotation: str, model: str, device: str, as_json: bool) -> int:
    """Check whether this installation can work.

    Looks at versions, device, model, genes, reference, plugins, cache, disk and environment. Nothing goes over a
    network. Exit code 1 when a check fails; a warning is no failure.
    """
    from .checks import examine

    found: list[Finding] = []
    for group, findings in examine(model=model, device=device, annotation=annotation, reference=reference):
        found += findings
        if not as_json:
            put(click.style(group, bold=True))
            print_table(((_state(finding), finding.name, _text(finding)) for finding in findings), "  ", wrap=True)
    failed = [finding for finding in found if finding.state == "FAIL"]
    warned = [finding for finding in found if finding.state == "warn"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(finding) for finding in found]})
    else:
        put(f"{len(found)} checks: {len(failed)} failed, {len(warned)} with a warning")
    return _BROKEN_CODE if failed else 0


def _state(finding: Finding) -> str:
    return click.style(finding.state, fg=_COLOURS[finding.state])


def _text(finding: Finding) -> str:
    return f"{finding.found}; {finding.remedy}" if finding.remedy else finding.found

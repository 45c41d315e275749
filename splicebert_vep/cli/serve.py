"""``splicebert-vep serve``: a page on this machine that scores what is typed into it, and JSON for programs."""

from __future__ import annotations

from typing import Any

import click
import cloup

from ..errors import require
from .options import (
    annotation_option,
    computed_options,
    introduce,
    join_option,
    machine_options,
    open_annotator,
    reference_option,
    say,
    store_option,
    warn,
)

_SERVE_EPILOG = """\b
Examples:
  splicebert-vep serve -R GRCh38.fa --store scores.sqlite
  splicebert-vep serve -R GRCh37.fa -A grch37 --port 8037
\b
From another terminal:
  curl 'http://127.0.0.1:8038/splice?variant=17-43047641-A-C&assembly=GRCh38'
  curl --data-binary @variants.txt http://127.0.0.1:8038/score
"""


@cloup.command(epilog=_SERVE_EPILOG)
@cloup.option_group("Input", reference_option, annotation_option, join_option, store_option)
@cloup.option_group(
    "Server",
    cloup.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
                 help="Address to listen on; the default is reached from this machine only."),
    cloup.option("--port", default=8038, show_default=True, type=click.IntRange(0, 65535), metavar="N",
                 help="Port; 0 is any free one."),
    cloup.option("--most", default=200, show_default=True, type=click.IntRange(1), metavar="N",
                 help="So many variants in one request."),
    cloup.option("--rate", default=600, show_default=True, type=click.IntRange(1), metavar="N",
                 help="So many requests a minute from one address."),
)  # fmt: skip
@computed_options
@machine_options
def serve(host: str, port: int, most: int, rate: int, join: tuple[str, ...], **model: Any) -> None:
    """Look variants up in a browser, or as JSON.

    A page at / takes a variant, an HGVS name, or a pasted list or VCF; /splice and /score answer with JSON. The model
    stays in memory, and --store keeps what was scored. Nothing leaves this machine. Ctrl-C ends it.
    """
    require("starlette", "uvicorn", "jinja2", "matplotlib", extra="serve")
    from ..tools.serve.app import build_app, is_local, listen, run

    with listen(host, port) as where, open_annotator(**model) as annotator, annotator.open_joins(join) as joins:
        introduce(annotator.backend.info, annotator.note)
        local = is_local(host)
        hosts = ("localhost", "127.0.0.1", "[::1]", host) if local else ("*",)
        app = build_app(annotator, joins, most=most, rate=rate, hosts=hosts)
        if not local:
            warn(f"whoever reaches {host} can ask: there is no password, and nothing is encrypted")
        shown = f"[{host}]" if ":" in host else host
        say(f"serving http://{shown}:{where.getsockname()[1]}/ ; Ctrl-C ends it")
        run(app, where)

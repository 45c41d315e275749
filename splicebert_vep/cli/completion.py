"""``splicebert-vep completion``: the script that lets a shell complete commands, options, names and files."""

from __future__ import annotations

import click
import cloup
from click.shell_completion import get_completion_class

_EPILOG = """\b
Examples, one line to put into a shell's start-up file:
  eval "$(splicebert-vep completion bash)"                      # ~/.bashrc
  eval "$(splicebert-vep completion zsh)"                       # ~/.zshrc, after compinit
  splicebert-vep completion fish | source                       # ~/.config/fish/config.fish
\b
Or write it to a file once, so that a new shell does not wait for Python:
  splicebert-vep completion bash > ~/.local/share/bash-completion/completions/splicebert-vep
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("shell", metavar="bash|zsh|fish", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands.

    It completes commands, options, models, gene tables, scores, statuses and files.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # the three shells of the choice are click's own
    click.echo(kind(ctx.find_root().command, {}, "splicebert-vep", "_SPLICEBERT_VEP_COMPLETE").source())

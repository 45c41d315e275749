"""Commands of plugins, as click sees them."""

from __future__ import annotations

from typing import Any

import click

from splicebert_vep.contract import Origin
from splicebert_vep_spec import Command


class PluginCommand(click.Command):
    """A command of a plugin; every word after its name goes to it untouched, ``--help`` too.

    Args:
        origin: where it comes from.
        command: what it does.
    """

    def __init__(self, origin: Origin, command: Command) -> None:
        super().__init__(origin.name, short_help=f"{command.summary} (plugin {origin.plugin})", add_help_option=False)
        self._origin, self._command = origin, command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to the plugin."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and return its exit code.

        Raises:
            SettingsError: it refused what the user asked for.
            PluginError: it raised anything else, or returned no exit code.
        """
        with self._origin.guarding("run"):
            try:
                code: object = self._command.run(ctx.args)
            except SystemExit as ended:  # as argparse ends after --help and after wrong usage
                code = 0 if ended.code is None else ended.code
        if not isinstance(code, int) or isinstance(code, bool):
            raise self._origin.broken("run", needed="an exit code, an int", found=repr(code))
        return code

"""The group of all commands: it ends quietly in a pipe, and takes in the commands of plugins."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click
import cloup

from splicebert_vep.errors import SpliceBertError
from splicebert_vep.plugins import inspect_plugins

from .console import folded, warn
from .extensions import PluginCommand

_SIGPIPE_CODE = 128 + signal.SIGPIPE
_MEMORY = "splicebert_vep.cli.extensions"


class Program(cloup.Group):
    """A group whose commands come from this program and, by name, from plugins.

    Plugins are imported only for a word that is no command of the program's own, for ``--help``, and when the shell
    asks for the commands there are.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe ends with the code a shell gives for SIGPIPE, as Unix filters do."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # What is left in Python's buffer would fail once more at exit and be reported then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(_SIGPIPE_CODE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of the program's own, else of a plugin.

        Raises:
            SettingsError: the environment names a plugin that is not installed.
        """
        return super().get_command(ctx, cmd_name) or self._plugin_commands(ctx)[0].get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands; without those of plugins when the environment does not tell which."""
        try:
            return [*super().list_commands(ctx), *self._plugin_commands(ctx)[0]]
        except SpliceBertError:
            return super().list_commands(ctx)

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        """Suggest a similar name, and say which plugins are broken: the command may be one of theirs."""
        ctx = click.get_current_context()
        commands, broken = self._plugin_commands(ctx)
        for name in broken:
            warn(_broken(name))
        return super().handle_bad_command_name(bad_name, [*valid_names, *commands], error)

    def list_sections(self, ctx: click.Context, include_default_section: bool = True) -> list[cloup.Section]:
        """Return the sections of the help page; a plugin that is broken is named on stderr and left out."""
        sections = super().list_sections(ctx, include_default_section)
        try:
            commands, broken = self._plugin_commands(ctx)
        except SpliceBertError as error:
            warn(f"{folded(error.problem)} See 'splicebert-vep plugins'.")
            return sections
        for name in broken:
            warn(_broken(name))
        return [*sections, cloup.Section("Commands of plugins", list(commands.values()))]

    def _plugin_commands(self, ctx: click.Context) -> tuple[dict[str, PluginCommand], list[str]]:
        """Return the commands of plugins, and the names of broken plugins; looked up once for a command line."""
        if _MEMORY not in ctx.meta:
            plugins = inspect_plugins(builtins=False)
            origins = plugins.origins("command")
            commands = {name: PluginCommand(origins[name], item) for name, item in plugins.commands.items()}
            ctx.meta[_MEMORY] = commands, [plugin.name for plugin in plugins.installed if plugin.error]
        found: tuple[dict[str, PluginCommand], list[str]] = ctx.meta[_MEMORY]
        return found


def _broken(name: str) -> str:
    return f"plugin {name} is broken, and its commands are missing; 'splicebert-vep plugins' says why"

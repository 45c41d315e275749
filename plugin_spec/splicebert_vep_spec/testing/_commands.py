"""What every command has to do."""

from __future__ import annotations

from .._commands import Command
from ._named import check_named, subject


class CommandConformance:
    """Subclass it and set ``command = MyCommand()``."""

    command: Command

    def test_it_has_a_name_and_a_summary(self) -> None:
        command: Command = subject(self, "command", "MyCommand()")
        check_named(command)
        summary = command.summary
        assert isinstance(summary, str) and summary and "\n" not in summary, f"summary is {summary!r}; needed one line"

    def test_it_explains_itself(self) -> None:
        command: Command = subject(self, "command", "MyCommand()")
        try:
            code: object = command.run(["--help"])
        except SystemExit as exit:  # as argparse ends
            code = exit.code or 0
        assert code == 0, f"run(['--help']) returned {code!r}; needed 0"

"""How a command that connects to a service is told what lets it in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def token_options(command: Command) -> Command:
    """`--invitation`, `--invitation-file` and `--token-command`."""
    for option in (
        click.option(
            "--token-command",
            metavar="COMMAND",
            help="command that prints a token, run anew for each connection, without a shell",
        ),
        click.option(
            "--invitation-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="file with the invitation, read anew for each connection",
        ),
        click.option(
            "--invitation",
            metavar="TOKEN",
            help="the invitation that lets in [default: WG_ORCHESTRATOR_INVITATION in the environment, if it is there]",
        ),
    ):
        command = option(command)
    return command


def token_source(invitation: str | None, invitation_file: Path | None, token_command: str | None) -> Any:
    """The TokenSource that the options name. Raises BadParameter."""
    from wg_orchestrator.client import tokens  # It loads what `--help` does not need.

    if sum(one is not None for one in (invitation, invitation_file, token_command)) > 1:
        raise click.UsageError("--invitation, --invitation-file and --token-command: one of them is enough")
    try:
        if invitation is not None:
            return tokens.given(invitation)
        if invitation_file is not None:
            return tokens.from_file(invitation_file)
        if token_command is not None:
            return tokens.from_command(token_command)
        return tokens.from_environment()
    except ValueError as error:
        hint = "--invitation" if token_command is None else "--token-command"
        raise click.BadParameter(str(error), param_hint=hint) from None

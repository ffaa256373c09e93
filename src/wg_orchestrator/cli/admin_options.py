"""How a command is told where the operators' API is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def admin_options(command: Command) -> Command:
    """`--admin`, `--admin-token-file` and `--json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="print the API's answer as JSON"),
        admin_token_option(),
        click.option("--admin", metavar="URL", required=True, help="the operators' API (http://127.0.0.1:9100)"),
    ):
        command = option(command)
    return command


def admin_token_option() -> Callable[[Command], Command]:
    """`--admin-token-file`."""
    return click.option(
        "--admin-token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="file whose first line is the token for it",
    )

"""What all commands of the agent have in common."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_INTERFACE = "wgo0"
DEFAULT_STATE_DIR = Path("/var/lib/wg-orchestrator")


def _interface_name(_: click.Context, __: click.Parameter, name: str) -> str:
    # What the kernel takes, without what would be awkward in a path or a unit (IFNAMSIZ).
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}", name):
        raise click.BadParameter("a name has 1 to 15 letters, digits, and _ . -")
    return name


def interface_options(command: Command) -> Command:
    """`--interface` and `--state-dir`."""
    state_dir = click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        default=DEFAULT_STATE_DIR,
        show_default=True,
        help="directory for the private key and the session, which never leave it",
    )
    interface = click.option(
        "--interface",
        default=DEFAULT_INTERFACE,
        show_default=True,
        callback=_interface_name,
        help="name of the WireGuard interface",
    )
    return interface(state_dir(command))

import io
import sys
from importlib import import_module

import click

_COMMANDS = (
    "demo", "down", "events", "history", "invitations", "invite", "join", "keygen", "kick", "peers", "ping-all",
    "revoke", "serve", "status", "tenants", "unit", "up",
)  # fmt: skip
"""Each is a function of that name in a module of that name beside this one."""


class _Commands(click.Group):
    """Loads a command when it is asked for: who joins does not wait for what only a service needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"wg_orchestrator.cli.{name}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wg-orchestrator", prog_name="wg-orchestrator")
def main() -> None:
    """The control plane of a WireGuard network: who is in it, at which virtual IP."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # What others are called may not be in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")

import io
import sys

import click


class _Commands(click.Group):
    """Loads a command when it is asked for: who joins does not wait for what only a service needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["demo", "join", "serve"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        match cmd_name:
            case "demo":
                from wg_orchestrator.cli.demo import demo

                return demo
            case "join":
                from wg_orchestrator.cli.join import join

                return join
            case "serve":
                from wg_orchestrator.cli.serve import serve

                return serve
            case _:
                return None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wg-orchestrator", prog_name="wg-orchestrator")
def main() -> None:
    """The control plane of a WireGuard network: who is in it, at which virtual IP."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # What others are called may not be in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")

from pathlib import Path

import click

from wg_orchestrator.cli.interface_options import interface_options


@click.command("ping-all")
@click.option("--json", "as_json", is_flag=True, help="print it as JSON")
@interface_options
def ping_all(as_json: bool, interface: str, state_dir: Path) -> None:
    """Ping each peer of this machine's tenant.

    Exit status: 0 all have answered, 1 one has not, or pings can't be sent, 4 there is no agent running.
    """
    from wg_orchestrator.cli.agent_commands import ping_peers  # It loads what `--help` does not need.

    ping_peers(interface, state_dir, as_json)

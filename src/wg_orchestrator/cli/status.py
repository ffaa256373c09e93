from pathlib import Path

import click

from wg_orchestrator.cli.interface_options import interface_options


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print it as JSON")
@interface_options
def status(as_json: bool, interface: str, state_dir: Path) -> None:
    """Show this machine's peers, and how each is reached.

    Exit status: 0 done, 1 the agent can't be asked, 4 there is no agent running.
    """
    from wg_orchestrator.cli.agent_commands import show_status  # It loads what `--help` does not need.

    show_status(interface, state_dir, as_json)

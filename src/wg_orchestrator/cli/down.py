from pathlib import Path

import click

from wg_orchestrator.cli.interface_options import interface_options


@click.command()
@interface_options
def down(interface: str, state_dir: Path) -> None:
    """Have the agent leave its tenant, remove its interface, and end. Removes an interface that an agent has left, too.

    Exit status: 0 done, 1 this machine does not let it, 4 there was nothing to end.
    """
    from wg_orchestrator.cli.agent_commands import take_down  # It loads what `--help` does not need.

    take_down(interface, state_dir)

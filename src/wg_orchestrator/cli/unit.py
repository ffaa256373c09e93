import sys
from pathlib import Path

import click

from wg_orchestrator.cli.interface_options import DEFAULT_INTERFACE, DEFAULT_STATE_DIR, interface_options


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("url")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--invitation-file",
    type=click.Path(path_type=Path, resolve_path=True),
    metavar="FILE",
    help="file with the invitation, which systemd reads at each start, so that it may be root's alone",
)
@interface_options
def unit(url: str, options: tuple[str, ...], invitation_file: Path | None, interface: str, state_dir: Path) -> None:
    """Print a unit for systemd that runs `wg-orchestrator up URL OPTIONS…` without root, with the one capability that
    it needs. Its state is kept in /var/lib/wg-orchestrator, which systemd makes.

    wg-orchestrator unit wss://vpn.example.com/tenants/acme > /etc/systemd/system/wg-orchestrator.service
    """
    from wg_orchestrator.agent.unit import unit as text  # It loads what `--help` does not need.

    if state_dir != DEFAULT_STATE_DIR:
        raise click.BadParameter(f"systemd keeps the state of a unit in {DEFAULT_STATE_DIR}", param_hint="--state-dir")
    if "--hosts" in options:
        raise click.BadParameter("the unit's user may not write to the hosts file", param_hint="--hosts")
    if any(option.partition("=")[0] == "--invitation" for option in options):
        raise click.BadParameter("everybody may read a unit: put it into a file", param_hint="--invitation")
    program = Path(sys.argv[0]).resolve()
    by = [sys.executable, "-m", "wg_orchestrator"] if program.name == "__main__.py" else [str(program)]
    command = [*by, "up", url, *options]
    if interface != DEFAULT_INTERFACE:
        command += ["--interface", interface]
    file = None if invitation_file is None else str(invitation_file)
    click.echo(text(url, command, file), nl=False)

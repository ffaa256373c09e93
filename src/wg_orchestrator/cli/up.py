import socket
from pathlib import Path
from urllib.parse import urlsplit

import click

from wg_orchestrator.cli.interface_options import interface_options
from wg_orchestrator.cli.token_options import token_options, token_source


@click.command()
@click.argument("url")
@click.option("--name", default=socket.gethostname, help="display name [default: this machine's name]")
@click.option(
    "--listen-port",
    type=click.IntRange(1, 65535),
    default=51820,
    show_default=True,
    help="UDP port of this machine's WireGuard",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="ADDR:PORT",
    help="where others can reach this machine besides its own addresses, as by a forwarded port; may be repeated",
)
@click.option("--userspace", is_flag=True, help="use wireguard-go, even if the kernel has WireGuard")
@click.option("--mtu", type=click.IntRange(1280, 9000), default=1420, show_default=True, help="of the interface")
@click.option("--hosts", is_flag=True, help="write the peers' names to the hosts file, as NAME.TENANT")
@click.option("--public-network", is_flag=True, help="take a tenant's network that is not of private addresses")
@click.option("--keep", is_flag=True, help="at the end, neither leave the tenant nor remove the interface")
@token_options
@interface_options
def up(
    url: str,
    name: str,
    listen_port: int,
    endpoints: tuple[str, ...],
    userspace: bool,
    mtu: int,
    hosts: bool,
    public_network: bool,
    keep: bool,
    invitation: str | None,
    invitation_file: Path | None,
    token_command: str | None,
    interface: str,
    state_dir: Path,
) -> None:
    """Make this machine a peer of the tenant at URL (wss://host/tenants/ID), with a WireGuard interface that leads to
    all others. Runs until Ctrl-C, SIGTERM, or `wg-orchestrator down`.

    Needs root, or the capability CAP_NET_ADMIN. Exit status: 0 done, 1 this machine does not let it, 2 usage, 3 the
    service refuses it for good.
    """
    # They load what `--help` does not need.
    from wg_orchestrator.agent.setup import Setup
    from wg_orchestrator.agent.start import Place
    from wg_orchestrator.cli.agent_commands import be_up
    from wg_orchestrator.domain.endpoint import HIGHEST_PORT, Endpoint, is_reachable
    from wg_orchestrator.domain.errors import InvalidEndpoint

    try:
        given = tuple(map(Endpoint.parse, endpoints))
    except InvalidEndpoint as error:
        raise click.BadParameter(str(error), param_hint="--endpoint") from error
    for endpoint in given:
        if not 1 <= endpoint.port <= HIGHEST_PORT or not is_reachable(endpoint.address):
            raise click.BadParameter(f"nobody can be reached at {endpoint}", param_hint="--endpoint")
    setup = Setup(interface, _tenant(url), listen_port, mtu, given, public_network, keep)
    token = token_source(invitation, invitation_file, token_command)
    be_up(Place(url, name, state_dir, userspace, hosts, token), setup)


def _tenant(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    start, _, tenant = parts.path.rpartition("/") if is_sound else ("", "", "")
    if not is_sound or not tenant or not start.endswith("/tenants"):
        raise click.BadParameter("not like wss://host/tenants/ID", param_hint="URL")
    return tenant

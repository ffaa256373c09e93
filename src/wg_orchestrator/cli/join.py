import socket
from pathlib import Path
from typing import Any

import click

from wg_orchestrator.cli.token_options import token_options, token_source


@click.command()
@click.argument("url")
@click.option("--name", default=socket.gethostname, help="display name [default: this machine's name]")
@click.option("--public-key", help="WireGuard public key [default: that of a new pair, shown with its private key]")
@click.option(
    "--protocol", type=click.Choice(["v1", "v2"]), default="v1", show_default=True, help="version of the protocol"
)
@click.option("--json", "as_json", is_flag=True, help="print the service's messages, one line of JSON each")
@token_options
@click.pass_obj
def join(
    limits: Any,
    url: str,
    name: str,
    public_key: str | None,
    protocol: str,
    as_json: bool,
    invitation: str | None,
    invitation_file: Path | None,
    token_command: str | None,
) -> None:
    """Join the tenant at URL (ws://host:port/tenants/ID) and show who is in it, until Ctrl-C.

    With protocol v2 the other peers do not hear of it when the connection is lost and comes back in time.
    """
    from wg_orchestrator.cli.following import show_tenant  # It loads the client library, which `--help` does not need.

    token = token_source(invitation, invitation_file, token_command)
    show_tenant(url, name, public_key, protocol, as_json, limits, token)

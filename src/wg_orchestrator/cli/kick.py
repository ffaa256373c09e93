from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_options


@click.command()
@click.argument("tenant")
@click.argument("ip")
@admin_options
def kick(tenant: str, ip: str, admin: str, admin_token_file: Path | None, as_json: bool) -> None:
    """Put the peer at IP out of TENANT. It may come back; `revoke` keeps it out.

    Exit status: 0 done, 1 refused, absent or unreachable, 2 usage.
    """
    from wg_orchestrator.cli.operator_tables import kick_peer  # It loads what `--help` does not need.

    kick_peer(admin, admin_token_file, tenant, ip, as_json)

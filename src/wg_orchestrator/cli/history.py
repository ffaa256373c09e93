from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_options


@click.command()
@click.argument("tenant")
@click.option("--virtual-ip", required=True, metavar="IP", help="the address")
@click.option("--at", metavar="TIME", help="who held it then, as 2026-11-27T10:00:00Z (RFC 3339)")
@admin_options
def history(
    tenant: str, virtual_ip: str, at: str | None, admin: str, admin_token_file: Path | None, as_json: bool
) -> None:
    """Say who held an address of TENANT, and when. The service needs --state or --nats-url for that.

    Exit status: 0 done, 1 refused, not kept or unreachable, 2 usage.
    """
    from wg_orchestrator.cli.operator_tables import show_history  # It loads what `--help` does not need.

    show_history(admin, admin_token_file, tenant, virtual_ip, at, as_json)

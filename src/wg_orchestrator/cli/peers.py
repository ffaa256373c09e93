from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_options


@click.command()
@click.argument("tenant")
@admin_options
def peers(tenant: str, admin: str, admin_token_file: Path | None, as_json: bool) -> None:
    """List the peers of TENANT: from where, since when, and what each has applied.

    Exit status: 0 done, 1 refused, absent or unreachable, 2 usage.
    """
    from wg_orchestrator.cli.operator_tables import show_peers  # It loads what `--help` does not need.

    show_peers(admin, admin_token_file, tenant, as_json)

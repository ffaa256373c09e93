from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_options


@click.command()
@admin_options
def tenants(admin: str, admin_token_file: Path | None, as_json: bool) -> None:
    """List the tenants that have peers, and how many peers have applied what is new.

    Exit status: 0 done, 1 refused or unreachable, 2 usage.
    """
    from wg_orchestrator.cli.operator_tables import show_tenants  # It loads what `--help` does not need.

    show_tenants(admin, admin_token_file, as_json)

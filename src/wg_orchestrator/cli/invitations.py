from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_options


@click.command()
@admin_options
def invitations(admin: str, admin_token_file: Path | None, as_json: bool) -> None:
    """List the invitations that somebody has come by, or that the operators' API has made.

    Exit status: 0 done, 1 refused or unreachable, 2 usage.
    """
    from wg_orchestrator.cli.operator_tables import show_invitations  # It loads what `--help` does not need.

    show_invitations(admin, admin_token_file, as_json)

from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_options


@click.command()
@click.option("--tenant", help="of this tenant alone")
@admin_options
def events(tenant: str | None, admin: str, admin_token_file: Path | None, as_json: bool) -> None:
    """Print what happens, one line each, until Ctrl-C. After a lost connection it goes on where it was.

    Exit status: 0 done, 1 refused or unreachable, 2 usage.
    """
    from wg_orchestrator.cli.operator_events import show_events  # It loads what `--help` does not need.

    show_events(admin, admin_token_file, tenant, as_json)

from typing import NoReturn

import click


def fail(message: str, status: int) -> NoReturn:
    """End the command with this one line on standard error, and this exit status."""
    from wg_orchestrator.client.terminal import visible  # Imported here, so that `serve` does not load the client.

    click.echo(f"wg-orchestrator: {visible(message)}", err=True)
    raise SystemExit(status)

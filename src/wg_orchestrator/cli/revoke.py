from pathlib import Path

import click

from wg_orchestrator.cli.admin_options import admin_token_option
from wg_orchestrator.cli.durations import Duration


@click.command()
@click.option("--invitation", metavar="ID", help="invitation: whoever came in by it is put out")
@click.option("--public-key", metavar="KEY", help="public key to put out, and to keep out")
@click.option("--tenant", help="tenant in which the key is revoked [default: all]")
@click.option("--for", "duration", type=Duration(), help="time after which it is over [default: never]")
@click.option("--admin", metavar="URL", help="the operators' API of the service")
@admin_token_option()
@click.option("--state", type=click.Path(path_type=Path), metavar="FILE", help="state file of the service")
@click.option("--nats", metavar="URL", help="servers of NATS that the service's nodes share")
@click.option("--json", "as_json", is_flag=True, help="print the receipt as JSON")
def revoke(
    invitation: str | None,
    public_key: str | None,
    tenant: str | None,
    duration: int | None,
    admin: str | None,
    admin_token_file: Path | None,
    state: Path | None,
    nats: str | None,
    as_json: bool,
) -> None:
    """Put out whoever came in by an invitation, or has a public key, and keep them out.

    It is told to the service by its operators' API, by its state file, or by NATS. By the last two a service that does
    not run now keeps to it when it starts. The receipt says how many nodes know of it, how many peers were put out, and
    how many of the others have taken them out of their WireGuard.

    Exit status: 0 done, 1 refused, or the API, the file or NATS can't be used, 2 usage.
    """
    # They load what `--help` does not need.
    from wg_orchestrator.cli.revoking import Target, by_api, by_records, revocation_of

    if sum(one is not None for one in (admin, state, nats)) != 1:
        raise click.UsageError("--admin, --state or --nats: one of them says how the service is told")
    target = Target(invitation, public_key, tenant, duration)
    revocation = revocation_of(target)
    if admin is not None:
        by_api(target, admin, admin_token_file, as_json)
    else:
        by_records(revocation, state, nats, as_json)

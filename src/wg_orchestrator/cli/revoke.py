from pathlib import Path

import click

from wg_orchestrator.cli.durations import Duration


@click.command()
@click.option("--invitation", metavar="ID", help="invitation: whoever came in by it is put out")
@click.option("--public-key", metavar="KEY", help="public key to put out, and to keep out")
@click.option("--tenant", help="tenant in which the key is revoked [default: all]")
@click.option("--for", "duration", type=Duration(), help="time after which it is over [default: never]")
@click.option("--state", type=click.Path(path_type=Path), metavar="FILE", help="state file of the service")
@click.option("--nats", metavar="URL", help="servers of NATS that the service's nodes share")
@click.option("--json", "as_json", is_flag=True, help="print the receipt as JSON")
def revoke(
    invitation: str | None,
    public_key: str | None,
    tenant: str | None,
    duration: int | None,
    state: Path | None,
    nats: str | None,
    as_json: bool,
) -> None:
    """Put out whoever came in by an invitation, or has a public key, and keep them out.

    It is told to the service by its state file, or by NATS, and lasts: a service that does not run now keeps to it when
    it starts. The receipt says how many nodes know of it, how many peers were put out, and how many of the others have
    taken them out of their WireGuard.

    Exit status: 0 done, 1 the state file or NATS can't be used, 2 usage.
    """
    # They load what `--help` does not need.
    from wg_orchestrator.cli.revoking import Target, carry_out, revocation_of

    if (state is None) == (nats is None):
        raise click.UsageError("--state or --nats: one of them says where the service remembers")
    carry_out(revocation_of(Target(invitation, public_key, tenant, duration)), state, nats, as_json)

from pathlib import Path
from urllib.parse import urlsplit

import click

from wg_orchestrator.cli.durations import Duration


@click.command()
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="private key, as `keygen` makes it",
)
@click.option("--tenant", required=True, help="tenant that it lets into")
@click.option("--name", help="display name of whoever comes in by it [default: any]")
@click.option(
    "--uses", type=click.IntRange(1, 1_000_000), help="public keys that may come in by it [default: any number]"
)
@click.option(
    "--expires", type=Duration(), default="24h", show_default=True, help="time until no new key comes in by it"
)
@click.option("--stay", type=Duration(), help="time that a key may stay, from its first welcome [default: for good]")
@click.option("--url", metavar="URL", help="the service's (wss://host): print the command for the new machine as well")
def invite(
    key_file: Path, tenant: str, name: str | None, uses: int | None, expires: int, stay: int | None, url: str | None
) -> None:
    """Make an invitation, and print it: whoever has it may come into the tenant. Its id, by which it is revoked, goes
    to standard error.

    The service has to be started with the key's public half (`serve --invitation-keys`). To count uses it needs
    `--state FILE`, or NATS.

    Exit status: 0 done, 1 the key can't be used, 2 usage.
    """
    # They load what `--help` does not need.
    from wg_orchestrator.cli.failure import fail
    from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidTenantId
    from wg_orchestrator.domain.peer import parse_display_name
    from wg_orchestrator.domain.tenant_id import parse_tenant_id
    from wg_orchestrator.wire.signing import BadKey, read_key, sign

    try:
        tenant_id = parse_tenant_id(tenant)
    except InvalidTenantId as error:
        raise click.BadParameter(str(error), param_hint="--tenant") from error
    try:
        display_name = None if name is None else parse_display_name(name)
    except InvalidDisplayName as error:
        raise click.BadParameter(str(error), param_hint="--name") from error
    service = None if url is None else _service(url)
    try:
        key = read_key(key_file)
    except (OSError, BadKey) as error:
        fail(f"can't use the key in {key_file}: {error.strerror if isinstance(error, OSError) else error}", 1)
    invitation, token = sign(key, tenant_id, display_name, uses, expires, stay)
    click.echo(f"invitation {invitation}", err=True)
    click.echo(token)
    if service is not None:
        click.echo(f"wg-orchestrator up {service}/tenants/{tenant_id} --invitation {token}")


def _service(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        is_sound &= not parts.query and not parts.fragment and url.isprintable() and " " not in url
    except ValueError:
        is_sound = False
    if not is_sound:
        raise click.BadParameter("not like wss://host", param_hint="--url")
    return url.rstrip("/")

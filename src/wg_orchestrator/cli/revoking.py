"""What `revoke` does."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol

import anyio
import click

from wg_orchestrator.cli.configuration import read_settings
from wg_orchestrator.cli.failure import fail
from wg_orchestrator.cli.operators_api import OperatorsApi
from wg_orchestrator.domain.admission import Revocation, RevocationId
from wg_orchestrator.domain.errors import InvalidInvitationId, InvalidPublicKey, InvalidTenantId, Unavailable
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.ports import AdmissionRecords
from wg_orchestrator.domain.receipt import Receipt
from wg_orchestrator.domain.stay import NO_INVITATION, parse_invitation_id
from wg_orchestrator.domain.tenant_id import parse_tenant_id
from wg_orchestrator.optional_adapters import nats_records, sqlite_records
from wg_orchestrator.settings.unusable import Unusable
from wg_orchestrator.telemetry.logs import configure_logging

_CONNECT = 5.0
"""Seconds for NATS to be reached."""
_FIRST = 2.0
"""Seconds to wait for the first node to say that it knows of the revocation."""
_LONGEST = 10.0
"""Seconds to wait for all peers to have applied it."""
_STEADY = 1.0
"""Seconds in which no further node says that it knows of it."""
_INTERVAL = 0.1


class _Records(AdmissionRecords, Protocol):
    def running(self) -> AbstractAsyncContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be revoked, as it was given."""

    invitation: str | None
    public_key: str | None
    tenant: str | None
    seconds: int | None


def revocation_of(target: Target) -> Revocation:
    """A new revocation. Raises UsageError or BadParameter."""
    if (target.invitation is None) == (target.public_key is None):
        raise click.UsageError("--invitation or --public-key: one of them says what is revoked")
    if target.tenant is not None and target.public_key is None:
        raise click.UsageError("--tenant is for a public key: an invitation is of one tenant")
    try:
        invitation = NO_INVITATION if target.invitation is None else parse_invitation_id(target.invitation)
        key = None if target.public_key is None else PublicKey.parse(target.public_key)
        tenant_id = None if target.tenant is None else parse_tenant_id(target.tenant)
    except InvalidInvitationId as error:
        raise click.BadParameter(str(error), param_hint="--invitation") from error
    except InvalidPublicKey as error:
        raise click.BadParameter(str(error), param_hint="--public-key") from error
    except InvalidTenantId as error:
        raise click.BadParameter(str(error), param_hint="--tenant") from error
    now = int(time.time())
    until = None if target.seconds is None else now + target.seconds
    return Revocation(RevocationId(token_hex(8)), invitation, key, tenant_id, now, until)


def by_records(revocation: Revocation, state: Path | None, nats: str | None, as_json: bool) -> None:
    """Store it where the service remembers, and print the receipt."""
    try:
        records = _records(state, nats)
        configure_logging("error", "console")
        receipt = asyncio.run(_revoke(records, revocation))
    except (Unusable, Unavailable) as error:
        fail(f"not revoked: {error}", 1)
    except ModuleNotFoundError as error:
        fail(f"there is no module {error.name}: install the extra nats", 1)
    click.echo(json.dumps(as_answer(receipt)) if as_json else _told(receipt))


def by_api(target: Target, admin: str, token_file: Path | None, as_json: bool) -> None:
    """Have the service do it, and print the receipt."""
    api = OperatorsApi(admin, token_file)
    given = {
        "invitation": target.invitation,
        "public_key": target.public_key,
        "tenant": target.tenant,
        "for": target.seconds,
    }
    made = api.post("revocations", body={name: value for name, value in given.items() if value is not None})

    async def read() -> Receipt:
        return _from_answer(await asyncio.to_thread(api.get, "revocations", str(made["id"])))

    receipt = asyncio.run(_awaited(read))
    click.echo(json.dumps(as_answer(receipt)) if as_json else _told(receipt))


def _from_answer(answer: dict[str, Any]) -> Receipt:
    applied = answer["applied"]
    since = applied["since"] and int(datetime.fromisoformat(applied["since"].replace("Z", "+00:00")).timestamp())
    return Receipt(answer["id"], answer["put_out"], answer["nodes"], applied["of"], applied["by"], since)


def as_answer(receipt: Receipt) -> dict[str, object]:
    """As the operators' API says it."""
    applied = {"by": receipt.by, "of": receipt.of, "since": _rfc3339(receipt.since)}
    return {"id": receipt.id, "put_out": receipt.put_out, "nodes": receipt.nodes, "applied": applied}


def _records(state: Path | None, nats: str | None) -> _Records:
    """Raises Unusable or ModuleNotFoundError."""
    if state is None:
        records: _Records = nats_records(read_settings({"nats_url": nats or ""}), may_be_made=False)
    elif state.exists():
        records = sqlite_records(state)
    else:
        raise Unusable(f"there is no state file {state}")
    return records


async def _revoke(records: _Records, revocation: Revocation) -> Receipt:
    """Raises Unavailable."""
    async with records.running():
        with anyio.move_on_after(_CONNECT):
            while not records.is_ready():  # noqa: ASYNC110 - it is asked seldom, and for a moment.
                await anyio.sleep(_INTERVAL)
        await records.revoke(revocation)

        async def read() -> Receipt:
            return Receipt.of_reports(revocation.id, await records.reports(revocation.id))

        return await _awaited(read)


async def _awaited(read: Callable[[], Awaitable[Receipt]]) -> Receipt:
    """What the nodes say, once they have all done it, or some time has passed."""
    began = changed = time.monotonic()
    nodes = 0
    while True:
        receipt = await read()
        now = time.monotonic()
        if receipt.nodes != nodes:
            nodes, changed = receipt.nodes, now
        is_steady = receipt.since is not None and now - changed > _STEADY
        if is_steady or now - began > (_LONGEST if receipt.nodes else _FIRST):
            return receipt
        await anyio.sleep(_INTERVAL)


def _told(receipt: Receipt) -> str:
    if not receipt.nodes:
        return f"revocation {receipt.id}: stored; no service has said that it knows of it yet"
    applied = f"applied by {receipt.by} of {receipt.of}"
    since = f" since {_rfc3339(receipt.since)}" if receipt.since is not None else ""
    return f"revocation {receipt.id}: {receipt.put_out} put out, known to {receipt.nodes} nodes, {applied}{since}"


def _rfc3339(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")

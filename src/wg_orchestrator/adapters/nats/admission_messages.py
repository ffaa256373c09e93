"""What the stream that remembers admissions has in its messages."""

import json
from dataclasses import dataclass
from typing import Any

from wg_orchestrator.adapters.nats.names import Unreadable
from wg_orchestrator.domain.admission import Grant, InvitationUse, Revocation, RevocationId
from wg_orchestrator.domain.errors import MembershipError
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import NO_INVITATION, InvitationId, parse_invitation_id
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id
from wg_orchestrator.domain.uses import Use

FOLLOWED = ("revocation", "sync")

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Stored:
    """What is on a subject: the message's sequence, 0 for none, and what it says."""

    sequence: int = 0
    use: Use | None = None
    by: str = ""
    """Which attempt has stored it."""


def encode_use(use: Use, by: str) -> bytes:
    return _to_json({"since": use.since, "pending": use.pending, "settled": use.is_settled, "by": by}).encode()


def read_use(sequence: int, payload: bytes) -> Stored:
    """Raises Unreadable."""
    if not payload:
        return Stored(sequence)
    fields = _object(payload)
    since, pending, settled, by = (fields.get(name) for name in ("since", "pending", "settled", "by"))
    if type(since) is not int or type(pending) is not int or type(settled) is not bool or not isinstance(by, str):
        raise Unreadable("no use of an invitation")
    return Stored(sequence, Use(since, pending, settled), by)


def encode_revocation(revocation: Revocation) -> bytes:
    fields: dict[str, Any] = {"at": revocation.at}
    if revocation.invitation:
        fields["invitation"] = revocation.invitation
    if revocation.public_key is not None:
        fields["key"] = revocation.public_key.text
    if revocation.tenant_id is not None:
        fields["tenant"] = revocation.tenant_id
    if revocation.until is not None:
        fields["until"] = revocation.until
    return _to_json(fields).encode()


def read_revocation(revocation_id: str, payload: bytes) -> Revocation | None:
    """None: it is withdrawn. Raises Unreadable."""
    if not payload:
        return None
    fields = _object(payload)
    at, until = fields.get("at"), fields.get("until")
    try:
        invitation = parse_invitation_id(fields["invitation"]) if "invitation" in fields else NO_INVITATION
        key = PublicKey.parse(fields["key"]) if "key" in fields else None
        tenant_id = parse_tenant_id(fields["tenant"]) if "tenant" in fields else None
    except (MembershipError, ValueError, TypeError) as error:
        raise Unreadable(f"no revocation: {error}") from None
    if type(at) is not int or (until is not None and type(until) is not int) or (not invitation and key is None):
        raise Unreadable("no revocation")
    return Revocation(RevocationId(revocation_id), invitation, key, tenant_id, at, until)


def encode_report(report: Report) -> bytes:
    fields = {"put_out": report.put_out, "of": report.of, "by": report.by, "since": report.since, "node": report.node}
    return _to_json(fields).encode()


def read_report(payload: bytes) -> Report | None:
    """None: nobody has said it in this way."""
    try:
        fields = _object(payload)
        numbers = (fields["put_out"], fields["of"], fields["by"])
        since, node = fields["since"], fields["node"]
    except (Unreadable, KeyError):
        return None
    if any(type(number) is not int for number in numbers) or type(since) not in (int, type(None)):
        return None
    return Report(str(node), *numbers, since)


def first_count(grant: Grant, tenant_id: TenantId, used: int = 1) -> bytes:
    """What is said of an invitation when it is heard of first."""
    fields = {"used": used, "tenant": tenant_id, "name": grant.display_name, "uses": grant.uses}
    return _to_json({**fields, "expires": int(grant.expires)}).encode()


def counted(payload: bytes, used: int) -> bytes:
    """The same with another number of uses that are taken. Raises Unreadable."""
    return _to_json({**_object(payload), "used": used}).encode()


def read_count(payload: bytes) -> int:
    """How many uses are taken. Raises Unreadable."""
    used = _object(payload).get("used") if payload else 0
    if type(used) is not int:
        raise Unreadable("no count of uses")
    return used


def read_invitation(invitation: InvitationId, payload: bytes) -> InvitationUse:
    """Raises Unreadable."""
    fields = _object(payload)
    name, uses, used, expires = (fields.get(one) for one in ("name", "uses", "used", "expires"))
    if type(used) is not int or type(expires) is not int or type(uses) not in (int, type(None)):
        raise Unreadable("no invitation")
    if not isinstance(name, str | None) or not isinstance(fields.get("tenant"), str):
        raise Unreadable("no invitation")
    return InvitationUse(invitation, TenantId(fields["tenant"]), name, uses, used, expires)


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found: Any = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable("no object")
    return found

import base64
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, TypeAlias

from wg_orchestrator.adapters.nats.names import Unreadable, is_name, process_of
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import MembershipError
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.ip_allocator import IPAllocator, Network
from wg_orchestrator.domain.peer import Peer, PublicKey, VirtualIP, parse_display_name
from wg_orchestrator.domain.session import DIGEST_BYTES, NO_SESSION, SessionDigest
from wg_orchestrator.domain.stay import NO_INVITATION, InvitationId, Stay, StayId, parse_invitation_id
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id

Place: TypeAlias = tuple[TenantId, VirtualIP]

Life: TypeAlias = tuple[StayId, int]
"""A stay, and which turn of it: what lives on one connection."""

MAX_PAYLOAD = 4096
"""Bytes of a claim: more than the longest name and all endpoints take."""

MAX_ENDPOINTS = 64
MAX_TURN = 2**53
MAX_TIME = 2**53
"""Seconds since 1970."""

_CAUSES = {cause.value: cause for cause in LeaveCause}

_from_json = json.JSONDecoder().decode
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Claim:
    """What the last message on an address's subject says: which peer has the address, or had it.

    It stands while its node has a lease. When the lease has ended, the address is free; if the stay has a session, it
    is free only when its grace is over. A claim of no node is what a peer leaves behind: its key gets the address back
    if it returns in time.
    """

    stay: Stay
    """Without an id if the peer has left."""
    node: str
    """The node that holds the peer's connection, as of one lease; empty if the peer has left."""
    sequence: int
    """The message's sequence in the stream. The next message on the subject names it, to prove that its sender has seen
    this one.
    """
    cause: LeaveCause = LeaveCause.LEFT
    """Why the peer has left, or is to leave."""

    @property
    def tenant_id(self) -> TenantId:
        return self.stay.tenant_id

    @property
    def peer(self) -> Peer:
        return self.stay.peer

    @property
    def place(self) -> Place:
        return self.stay.tenant_id, self.stay.peer.virtual_ip

    @property
    def life(self) -> Life:
        return self.stay.id, self.stay.turn

    def continues(self, earlier: "Claim") -> bool:
        """Whether it is a later claim of the same stay, or says the same of it."""
        stay, before = self.stay, earlier.stay
        is_same = (stay.id, stay.peer.public_key, stay.session) == (before.id, before.peer.public_key, before.session)
        return is_same and stay.turn >= before.turn

    def ends(self, earlier: "Claim") -> bool:
        """Whether it says of the earlier claim's session that its peer has left, or of any stay that its key is out by
        now: wherever that was, it is over.
        """
        is_later = self.sequence > earlier.sequence and self.peer.public_key == earlier.peer.public_key
        has_left = self.cause in (LeaveCause.LEFT, LeaveCause.GRACE) and earlier.stay.has_session
        return is_later and self.node == "" and (has_left or self.cause.is_of_key)

    def vacated(self) -> "Claim":
        """The claim that takes its place when its stay has ended."""
        stay = self.stay
        return replace(self, stay=Stay(StayId(""), stay.tenant_id, stay.peer), node="")

    def backed_by(self, node: str) -> "Claim":
        return replace(self, node=node)

    def ending(self, cause: LeaveCause) -> "Claim":
        return replace(self, cause=cause)


def encode(claim: Claim) -> bytes:
    """The payload for a claim's message on its address's subject. Of a session it has the digest, not the secret."""
    stay, peer = claim.stay, claim.peer
    fields: dict[str, Any] = {"name": peer.display_name, "key": peer.public_key.text}
    if claim.node:
        if peer.endpoints:
            fields["endpoints"] = list(map(str, peer.endpoints))
        if peer.proven:
            fields["proven"] = True
        fields.update(node=claim.node, session=stay.id)
        if stay.invitation:
            fields["invitation"] = stay.invitation
        if stay.until is not None:
            fields["until"] = stay.until
        if stay.has_session:
            fields.update(digest=base64.b64encode(stay.session).decode(), turn=stay.turn)
    elif claim.cause is LeaveCause.GRACE:
        fields["away"] = True  # To a node that does not know this, the peer has left.
    elif claim.cause is not LeaveCause.LEFT:
        fields["cause"] = claim.cause.value
    return _to_json(fields).encode()


class ClaimReader:
    """Reads claims as strictly as clients' joins are read: it refuses what a node would not write."""

    def __init__(self, network: Network) -> None:
        addresses = IPAllocator(network)

        # Most tenants are small and use the same lowest addresses. This cache lets them share the objects.
        @lru_cache(maxsize=4096)
        def address(token: str) -> VirtualIP:
            found = ip_address(token.replace("-", "."))
            if str(found).replace(".", "-") != token or not addresses.has(found):
                raise Unreadable("not the spelling of an address of the network")
            return found

        @lru_cache(maxsize=4096)
        def tenant_id(token: str) -> TenantId:
            return parse_tenant_id(token.replace("=", "."))

        self._address = address
        self._tenant_id = tenant_id

    def read(self, tenant: str, address: str, payload: bytes, sequence: int) -> Claim:
        """Read a claim from two tokens of its subject and its payload. Raises Unreadable."""
        if len(payload) > MAX_PAYLOAD:
            raise Unreadable("too long")
        try:
            fields = _from_json(payload.decode())
            name, key = fields["name"], fields["key"]
            node, stay_id = fields.get("node", ""), fields.get("session", "")
            cause = _CAUSES[fields.get("cause", LeaveCause.GRACE.value if "away" in fields else LeaveCause.LEFT.value)]
            endpoints = tuple(map(_read_endpoint, fields.get("endpoints", ())))
            is_proven = fields.get("proven", False)
            address_held = self._address(address)
            peer = Peer(parse_display_name(name), PublicKey.parse(key), address_held, endpoints, is_proven)
            session, turn = _read_session(fields)
            invitation, until = _read_admission(fields)
            tenant_id = self._tenant_id(tenant)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MembershipError) as error:
            raise Unreadable(f"{type(error).__name__}: {str(error)[:100]}") from None
        if peer.display_name != name:
            raise Unreadable("a name that is not in its normal form")
        if type(is_proven) is not bool or len(endpoints) > MAX_ENDPOINTS:
            raise Unreadable("no peer's endpoints, or too many")
        if (node, stay_id) == ("", ""):
            session, turn, invitation, until = NO_SESSION, 0, NO_INVITATION, None
        elif not is_name(node) or not is_name(stay_id):
            raise Unreadable("no name of a node and its stay")
        elif turn == 0 and process_of(node) != process_of(stay_id):
            raise Unreadable("a stay that began on another process")
        stay = Stay(StayId(stay_id), tenant_id, peer, session, turn, invitation, until)
        return Claim(stay, node, sequence, cause)


def _read_endpoint(text: str) -> Endpoint:
    endpoint = Endpoint.parse(text)
    if str(endpoint) != text:
        raise Unreadable("an endpoint that is not in its normal form")
    return endpoint


def _read_admission(fields: dict[str, Any]) -> tuple[InvitationId, int | None]:
    invitation, until = fields.get("invitation", ""), fields.get("until")
    if until is not None and (type(until) is not int or not 0 <= until < MAX_TIME):
        raise Unreadable("no time until which a stay may last")
    return parse_invitation_id(invitation) if invitation != "" else NO_INVITATION, until


def _read_session(fields: dict[str, Any]) -> tuple[SessionDigest, int]:
    text, turn = fields.get("digest", ""), fields.get("turn", 0)
    if text == "" and turn == 0:
        return NO_SESSION, 0
    digest = base64.b64decode(text, validate=True)
    if len(digest) != DIGEST_BYTES or type(turn) is not int or not 0 <= turn < MAX_TURN:
        raise Unreadable("no digest of a session, or no turn")
    return SessionDigest(digest), turn

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias

from wg_orchestrator.domain.errors import MembershipError
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.ip_allocator import IPAllocator, Network
from wg_orchestrator.domain.peer import Peer, PublicKey, VirtualIP, parse_display_name
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id

Place: TypeAlias = tuple[TenantId, VirtualIP]

MAX_PAYLOAD = 2048
"""Bytes of a claim: more than the longest name takes."""

# A process's random name, and a number: of its lease, or of a stay.
_NUMBERED = re.compile(r"[A-Za-z0-9]{1,32}-[0-9]{1,18}", re.ASCII)

_CAUSES = {cause.value: cause for cause in LeaveCause}

_from_json = json.JSONDecoder().decode
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Unreadable(ValueError):
    """A message in the stream that this version does not write."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the last message on an address's subject says: which peer has the address, or had it.

    It is worth as much as the lease of its node: once that has ended, the address is free. A claim of no node is what
    a peer leaves behind: its key gets the address back if it returns in time.
    """

    tenant_id: TenantId
    peer: Peer
    node: str
    """The node that holds the peer's connection, as of one lease; empty if the peer has left."""
    session: str
    """The id of the peer's stay. It stays the same when the node gets another lease. A later stay has another id."""
    sequence: int
    """The message's sequence in the stream. The next message on the subject names it, to prove that its sender has seen
    this one.
    """
    cause: LeaveCause = LeaveCause.LEFT
    """Why the peer has left, if the claim has no node."""

    @property
    def place(self) -> Place:
        return self.tenant_id, self.peer.virtual_ip

    @property
    def stay(self) -> Stay:
        return Stay(StayId(self.session), self.tenant_id, self.peer)

    def vacated(self, cause: LeaveCause) -> "Claim":
        """The claim that takes its place when its stay has ended."""
        return replace(self, node="", session="", cause=cause)

    def backed_by(self, node: str) -> "Claim":
        return replace(self, node=node)


class Subjects:
    """The subjects of one epoch of a stream: `<stream>.<epoch>.peer.<tenant>.<address>`, `….key.<tenant>.<key>`,
    `….node.<node>` and `….sync.<process>`; and `<stream>.epoch`, which says which epoch it is. Only the dots of tenants
    and addresses have to be spelled differently: `=` is not in a tenant id, `-` not in an address.
    """

    def __init__(self, stream: str, epoch: str) -> None:
        self.epoch = epoch
        self.which_epoch = f"{stream}.epoch"
        self._prefix = f"{stream}.{epoch}"
        self._kind = len(self._prefix) + 1
        self.feed = [self.which_epoch, *(f"{self._prefix}.{kind}.>" for kind in ("peer", "node", "sync"))]

    def peer(self, place: Place) -> str:
        return f"{self._prefix}.peer.{place[0].replace('.', '=')}.{str(place[1]).replace('.', '-')}"

    def key(self, tenant_id: TenantId, key: PublicKey) -> str:
        return f"{self._prefix}.key.{tenant_id.replace('.', '=')}.{key}"

    def node(self, node: str) -> str:
        return f"{self._prefix}.node.{node}"

    def sync(self, process: str) -> str:
        return f"{self._prefix}.sync.{process}"

    def split(self, subject: str) -> list[str]:
        """The tokens after the epoch. The first one is the kind of the subject."""
        return subject[self._kind :].split(".")


def process_of(numbered: str) -> str:
    """The process that made the name of this lease or stay."""
    return numbered.rpartition("-")[0]


def parse_node(token: str) -> str:
    """Raises Unreadable."""
    if not _NUMBERED.fullmatch(token):
        raise Unreadable("no name of a node")
    return token


def encode(claim: Claim) -> bytes:
    """The payload for a claim's message on its address's subject."""
    fields = {"name": claim.peer.display_name, "key": claim.peer.public_key.text}
    if claim.node:
        fields.update(node=claim.node, session=claim.session)
    elif claim.cause is not LeaveCause.LEFT:
        fields.update(cause=claim.cause.value)
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
            node, session = fields.get("node", ""), fields.get("session", "")
            cause = _CAUSES[fields.get("cause", LeaveCause.LEFT.value)]
            peer = Peer(parse_display_name(name), PublicKey.parse(key), self._address(address))
            tenant_id = self._tenant_id(tenant)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MembershipError) as error:
            raise Unreadable(f"{type(error).__name__}: {str(error)[:100]}") from None
        if peer.display_name != name:
            raise Unreadable("a name that is not in its normal form")
        if not node == session == "":
            if not (type(node) is type(session) is str and _NUMBERED.fullmatch(node) and _NUMBERED.fullmatch(session)):
                raise Unreadable("no name of a node and its session")
            if process_of(node) != process_of(session):
                raise Unreadable("a session of another process")
        return Claim(tenant_id, peer, node, session, sequence, cause)

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias

from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey, VirtualIP
from wg_orchestrator.domain.tenant_id import TenantId

Place: TypeAlias = tuple[TenantId, VirtualIP]

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Unreadable(ValueError):
    """A message of the stream is none of ours, or of a later version."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the last message on an address's subject says: whose it is or was.

    It is worth as much as the lease of its node: once that has ended, the address is free. A claim of no node is what
    a peer leaves behind: its key gets the address back if it returns in time.
    """

    tenant_id: TenantId
    peer: Peer
    node: str
    """The node that holds the peer's connection, as of one lease; empty if the peer has left."""
    session: str
    """The peer's one stay in the tenant, whatever lease its node has: a later stay of an equal peer is another one."""
    revision: int
    """The message's sequence in the stream, by which the next message on the subject proves that it knows this one."""

    @property
    def place(self) -> Place:
        return self.tenant_id, self.peer.virtual_ip

    def backed_by(self, node: str) -> "Claim":
        return replace(self, node=node)


class Subjects:
    """The subjects of one stream: `<stream>.peer.<tenant>.<address>`, `<stream>.key.<tenant>.<key>`,
    `<stream>.node.<node>` and `<stream>.sync.<node>`. Only the dots of tenants and addresses have to be spelled
    differently: `=` is not in a tenant id, `-` not in an address.
    """

    def __init__(self, stream: str) -> None:
        self.all = f"{stream}.>"
        self.feed = [f"{stream}.{kind}.>" for kind in ("peer", "node", "sync")]
        self._prefix = stream
        self._kind = len(stream) + 1

    def peer(self, place: Place) -> str:
        return f"{self._prefix}.peer.{place[0].replace('.', '=')}.{str(place[1]).replace('.', '-')}"

    def key(self, tenant_id: TenantId, key: PublicKey) -> str:
        return f"{self._prefix}.key.{tenant_id.replace('.', '=')}.{key}"

    def node(self, node: str) -> str:
        return f"{self._prefix}.node.{node}"

    def sync(self, process: str) -> str:
        return f"{self._prefix}.sync.{process}"

    def split(self, subject: str) -> list[str]:
        """The tokens after the stream's name: the kind first."""
        return subject[self._kind :].split(".")


@lru_cache(maxsize=4096)
def _address(token: str) -> VirtualIP:
    """Most tenants are small and have the same lowest addresses: they share them here."""
    return ip_address(token.replace("-", "."))


def encode(claim: Claim) -> bytes:
    """A claim as the payload of a message on its address's subject."""
    fields = {"name": claim.peer.display_name, "key": claim.peer.public_key.text}
    if claim.node:
        fields.update(node=claim.node, session=claim.session)
    return _to_json(fields).encode()


def decode(tenant: str, address: str, payload: bytes, revision: int) -> Claim:
    """A claim from the tokens of its subject and its payload. Raises Unreadable."""
    try:
        fields = json.loads(payload)
        peer = Peer(DisplayName(fields["name"]), PublicKey(fields["key"]), _address(address))
        tenant_id = TenantId(tenant.replace("=", "."))
        return Claim(tenant_id, peer, fields.get("node", ""), fields.get("session", ""), revision)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{tenant} {address}: {payload[:200]!r}") from error

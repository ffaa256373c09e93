"""From what the interface is like to what it should be like, by as few changes as there can be."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from wg_orchestrator.agent.tunnel import Actual, IPNetwork, Wished
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import PublicKey, VirtualIP


@dataclass(frozen=True, slots=True)
class SetAddress:
    """The interface has this address, and none of the others."""

    address: VirtualIP
    others: frozenset[VirtualIP] = frozenset()


@dataclass(frozen=True, slots=True)
class SetRoute:
    """Packets to this network go through the interface, those to the others do not."""

    network: Network
    others: frozenset[IPNetwork] = frozenset()


@dataclass(frozen=True, slots=True)
class SetTunnel:
    """A peer is as this says. What is None stays as it is."""

    public_key: PublicKey
    is_new: bool = False
    endpoint: Endpoint | None = None
    allowed_ips: frozenset[IPNetwork] | None = None
    keepalive: int | None = None
    """Seconds; 0 is off."""
    sends_now: bool = False
    """Have WireGuard send a packet to the peer at once, and a handshake before it if there is no session: unless it has
    begun one less than 5 seconds ago. `keepalive` is given then.
    """
    begins_anew: bool = False
    """Forget all that there was with the peer first: so a handshake can begin at any time. All but `is_new` and
    `sends_now` is given then.
    """
    preshared_key: str | None = field(default=None, repr=False)
    """A secret, in WireGuard's text form. Given with `begins_anew`, if there is one."""


@dataclass(frozen=True, slots=True)
class RemoveTunnel:
    """A peer is not configured any more."""

    public_key: PublicKey


Change: TypeAlias = SetAddress | SetRoute | SetTunnel | RemoveTunnel


def plan(wished: Wished, actual: Actual, keys: Iterable[PublicKey] | None = None) -> list[Change]:
    """The changes that make the interface as wished: only what differs, so no other tunnel notices anything.

    With `keys`, only the tunnels of these peers are looked at. Tunnels that are to go come first: WireGuard gives an
    allowed IP to whoever was given it last, so an address that moves to another peer must not be taken back.
    """
    changes: list[Change] = []
    if wished.address not in actual.addresses or len(actual.addresses) > 1:
        changes.append(SetAddress(wished.address, actual.addresses - {wished.address}))
    if wished.network not in actual.routes or len(actual.routes) > 1:
        changes.append(SetRoute(wished.network, actual.routes - {wished.network}))
    looked_at = list({**dict.fromkeys(actual.tunnels), **dict.fromkeys(wished.tunnels)}) if keys is None else list(keys)
    changes += [RemoveTunnel(key) for key in looked_at if key in actual.tunnels and key not in wished.tunnels]
    changes += [
        change
        for key in looked_at
        if key in wished.tunnels and (change := _difference(key, wished, actual)) is not None
    ]
    return changes


def _difference(key: PublicKey, wished: Wished, actual: Actual) -> SetTunnel | None:
    want, have = wished.tunnels[key], actual.tunnels.get(key)
    if have is None:
        return SetTunnel(key, True, want.endpoint, want.allowed_ips, want.keepalive)
    endpoint = want.endpoint if want.endpoint != have.endpoint else None
    allowed_ips = want.allowed_ips if want.allowed_ips != have.allowed_ips else None
    keepalive = want.keepalive if want.keepalive != have.keepalive or endpoint is not None else None
    if endpoint is None and allowed_ips is None and keepalive is None:
        return None
    return SetTunnel(key, False, endpoint, allowed_ips, keepalive, sends_now=endpoint is not None)

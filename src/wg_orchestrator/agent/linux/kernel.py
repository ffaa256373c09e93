"""WireGuard in the Linux kernel, by generic netlink (linux/wireguard.h)."""

import asyncio
import base64
import errno
import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic.wireguard import AsyncWireGuard

from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.linux.device import DeviceState
from wg_orchestrator.agent.plan import RemoveTunnel, SetTunnel
from wg_orchestrator.agent.tunnel import KEEPALIVE, IPNetwork, Observed
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey

_GONE = {errno.ENODEV, errno.ENOENT, errno.EOPNOTSUPP}


class KernelDevice:
    """The configuration of one interface of kind `wireguard`."""

    def __init__(self, interface: str, netlink: AsyncWireGuard | None = None) -> None:
        self._interface = interface
        self._netlink = netlink
        self._lock = asyncio.Lock()  # A netlink socket takes one request at a time.

    async def read(self) -> DeviceState:
        """Raises InterfaceLost."""
        try:
            async with self._lock:
                netlink = await self._socket()
                parts = [part async for part in await netlink.info(self._interface)]
        except NetlinkError as error:
            raise self._fault(error, "can't read it") from error
        return _read(parts)

    async def set_device(self, private_key: str | None, listen_port: int | None) -> None:
        """Raises InterfaceLost, or EnvironmentFault if the port is taken."""
        await self._set(f"can't use UDP port {listen_port}", private_key=private_key, listen_port=listen_port)

    async def set_tunnels(self, changes: Iterable[SetTunnel | RemoveTunnel]) -> None:
        """Raises InterfaceLost, or EnvironmentFault."""
        for change in changes:
            for peer in _peers(change):
                try:
                    await self._set(f"can't configure {self._interface}", peer=peer)
                except EnvironmentFault as error:
                    # A peer that is to be changed may have gone by another's hand.
                    if not (peer.get("update_only") and isinstance(error.__cause__, NetlinkError)):
                        raise

    async def _set(self, failure: str, **values: Any) -> None:
        try:
            async with self._lock:
                netlink = await self._socket()
                await netlink.set(self._interface, **values)
        except NetlinkError as error:
            raise self._fault(error, failure) from error

    async def _socket(self) -> AsyncWireGuard:
        if self._netlink is None:
            netlink = AsyncWireGuard()
            try:
                await netlink.setup_endpoint()
            except NetlinkError as error:
                raise self._fault(error, "no WireGuard") from error
            self._netlink = netlink
        return self._netlink

    def _fault(self, error: NetlinkError, failure: str) -> EnvironmentFault:
        if error.code in _GONE:
            return InterfaceLost(f"{self._interface} is not there any more")
        return EnvironmentFault(f"{failure}: {os.strerror(error.code)}")


def _peers(change: SetTunnel | RemoveTunnel) -> Iterator[dict[str, Any]]:
    """The messages that make this change, one after the other."""
    key = change.public_key.text
    if isinstance(change, RemoveTunnel):
        yield {"public_key": key, "remove": True}
        return
    if change.begins_anew:
        yield {"public_key": key, "remove": True}
    peer: dict[str, Any] = {"public_key": key, "update_only": not (change.is_new or change.begins_anew)}
    if change.preshared_key is not None:
        peer["preshared_key"] = change.preshared_key
    if change.endpoint is not None:
        peer["endpoint_addr"], peer["endpoint_port"] = str(change.endpoint.address), change.endpoint.port
    if change.allowed_ips is not None:
        peer["replace_allowed_ips"] = True
        peer["allowed_ips"] = sorted(map(str, change.allowed_ips))
    if not change.sends_now:
        if change.keepalive is not None:
            peer["persistent_keepalive"] = change.keepalive
        yield peer
        return
    # WireGuard sends a packet at once when this is turned on.
    yield {**peer, "persistent_keepalive": 0}
    yield {"public_key": key, "update_only": True, "persistent_keepalive": change.keepalive or KEEPALIVE}
    if not change.keepalive:
        yield {"public_key": key, "update_only": True, "persistent_keepalive": 0}


def _read(parts: Iterable[Any]) -> DeviceState:
    """A device of many peers comes in parts, and a peer of many addresses may be split between two of them."""
    private_key, listen_port = "", 0
    tunnels: dict[PublicKey, Observed] = {}
    for part in parts:
        if (key := part.get("private_key")) is not None and any(base64.b64decode(key)):
            private_key = bytes(key).decode()
        listen_port = part.get("listen_port") or listen_port
        for peer in part.get("peers") or ():
            found = _observed(peer)
            before = tunnels.get(found.public_key)
            tunnels[found.public_key] = found if before is None else _joined(before, found)
    return DeviceState(private_key, listen_port, tunnels)


def _joined(first: Observed, rest: Observed) -> Observed:
    return Observed(
        first.public_key,
        first.allowed_ips | rest.allowed_ips,
        first.endpoint,
        first.keepalive,
        first.latest_handshake,
        first.rx_bytes,
        first.tx_bytes,
    )


def _observed(peer: Any) -> Observed:
    endpoint, handshake = peer.get("endpoint"), peer.get("last_handshake_time")
    seconds = 0.0 if handshake is None else handshake["tv_sec"] + handshake["tv_nsec"] / 1e9
    return Observed(
        PublicKey(bytes(peer.get("public_key")).decode()),
        frozenset(_networks(peer.get("allowedips") or ())),
        None if endpoint is None else Endpoint(ip_address(endpoint["addr"]), endpoint["port"]).unmapped(),
        peer.get("persistent_keepalive_interval") or 0,
        seconds or None,
        peer.get("rx_bytes") or 0,
        peer.get("tx_bytes") or 0,
    )


def _networks(allowed: Iterable[Any]) -> Iterator[IPNetwork]:
    for one in allowed:
        yield ip_network(one["addr"])

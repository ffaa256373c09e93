"""Links, addresses and routes of this machine (rtnetlink(7))."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, TypeAlias

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.tunnel import IPInterface, IPNetwork
from wg_orchestrator.domain.endpoint import IPAddress
from wg_orchestrator.domain.peer import VirtualIP

_UP = 1
_UNICAST = 1
_LOCAL_TABLE = 255
LONGEST_ALIAS = 254
"""Bytes: the kernel takes 255 with the NUL at the end (IFALIASZ)."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    name: str
    kind: str
    """The kernel's word for what it is: `wireguard`, `tun`, or "" for a real one."""
    alias: str
    mtu: int
    is_up: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Where packets to a network leave."""

    index: int
    """The interface's."""
    network: IPNetwork
    gateway: IPAddress | None


class Links:
    """Asks the kernel, and has it change what belongs to one of its interfaces."""

    def __init__(self, netlink: AsyncIPRoute) -> None:
        self._netlink = netlink
        self._lock = asyncio.Lock()  # A netlink socket takes one request at a time.

    async def find(self, name: str) -> Link | None:
        """The interface of that name, if there is one."""
        return next((link for link in await self.all() if link.name == name), None)

    async def all(self) -> list[Link]:
        """All interfaces."""
        return [_link(message) for message in await self._dump(self._netlink.link)]

    async def add(self, name: str, kind: str) -> bool:
        """Make an interface. False if the kernel does not know its kind. Raises EnvironmentFault."""
        try:
            await self._send(self._netlink.link, "add", ifname=name, kind=kind)
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                return False
            raise _fault(error, f"can't make {name}") from error
        return True

    async def set_up(self, index: int, alias: str, mtu: int) -> None:
        """Raises EnvironmentFault."""
        try:
            await self._send(self._netlink.link, "set", index=index, IFLA_IFALIAS=alias)
            await self._send(self._netlink.link, "set", index=index, mtu=mtu, state="up")
        except NetlinkError as error:
            raise _fault(error, "can't set the interface up") from error

    async def remove(self, index: int) -> None:
        """Raises EnvironmentFault. One that has gone is no error."""
        try:
            await self._send(self._netlink.link, "del", index=index)
        except NetlinkError as error:
            if error.code not in (errno.ENODEV, errno.EINVAL):
                raise _fault(error, "can't remove the interface") from error

    async def addresses(self) -> list[tuple[int, IPInterface, int]]:
        """Each address with the index of its interface and its flags (`IFA_F_…`)."""
        found = []
        for message in await self._dump(self._netlink.addr):
            # On a link with two ends `address` is the other end.
            text = message.get("local") or message.get("address")
            if text is not None:
                address = ip_interface(f"{text}/{message['prefixlen']}")
                found.append((message["index"], address, message.get("flags") or 0))
        return found

    async def routes(self) -> list[Route]:
        """The routes by which unicast packets leave; local addresses aside."""
        found: list[Route] = []
        for family, everything in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            for message in await self._dump(self._netlink.route, family=family):
                if message["type"] != _UNICAST or (message.get("table") or message["table"]) == _LOCAL_TABLE:
                    continue
                destination = message.get("dst")
                network = ip_network(everything if destination is None else f"{destination}/{message['dst_len']}")
                found += [Route(index, network, gateway) for index, gateway in _hops(message)]
        return found

    async def add_address(self, index: int, address: VirtualIP) -> None:
        """Give the interface this one address. Raises EnvironmentFault."""
        await self._change(f"can't use {address}", self._netlink.addr, "replace", index=index, **_single(address))

    async def remove_address(self, index: int, address: VirtualIP) -> None:
        """Raises EnvironmentFault. One that is not there is no error."""
        await self._change(f"can't remove {address}", self._netlink.addr, "del", index=index, **_single(address))

    async def add_route(self, index: int, network: IPNetwork) -> None:
        """Raises EnvironmentFault."""
        await self._change(f"can't route {network}", self._netlink.route, "replace", dst=str(network), oif=index)

    async def remove_route(self, index: int, network: IPNetwork) -> None:
        """Raises EnvironmentFault. One that is not there is no error."""
        await self._change(
            f"can't remove the route of {network}", self._netlink.route, "del", dst=str(network), oif=index
        )

    async def _change(self, failure: str, call: "_Call", command: str, **values: Any) -> None:
        try:
            await self._send(call, command, **values)
        except NetlinkError as error:
            if command != "del" or error.code not in (errno.EADDRNOTAVAIL, errno.ESRCH):
                raise _fault(error, failure) from error

    async def _send(self, call: "_Call", command: str, **values: Any) -> None:
        """Raises NetlinkError."""
        async with self._lock:
            await call(command, **values)

    async def _dump(self, call: "_Call", **values: Any) -> list[Any]:
        async with self._lock:
            return [message async for message in await call("dump", **values)]


_Call: TypeAlias = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def links() -> AsyncIterator[Links]:
    """A way to ask the kernel, for as long as the block."""
    async with AsyncIPRoute() as netlink:
        yield Links(netlink)


async def events() -> AsyncIterator[None]:
    """Yield whenever links, addresses or routes have changed: once for all that has come since the last time."""
    changed = asyncio.Event()
    async with AsyncIPRoute() as netlink:
        await netlink.bind()
        listening = asyncio.create_task(_listen(netlink, changed))
        listening.add_done_callback(lambda _: changed.set())
        try:
            while True:
                await changed.wait()
                changed.clear()
                if listening.done():
                    await listening  # Raises what has ended it.
                yield
        finally:
            listening.cancel()


async def _listen(netlink: AsyncIPRoute, changed: asyncio.Event) -> None:
    while True:
        try:
            async for message in netlink.get():
                if str(message.get("event", "")).endswith(("LINK", "ADDR", "ROUTE")):
                    changed.set()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            changed.set()  # More came than the socket holds (netlink(7)): what it was is for the next look to find.


def _link(message: Any) -> Link:
    return Link(
        message["index"],
        message.get("ifname"),
        message.get(("linkinfo", "kind")) or "",
        message.get("ifalias") or "",
        message.get("mtu") or 0,
        bool(message["flags"] & _UP),
    )


def _hops(message: Any) -> list[tuple[int, IPAddress | None]]:
    """The interfaces that a route leads to, each with the gateway there."""
    oif = message.get("oif")
    if oif is not None:
        return [(oif, _gateway(message))]
    return [(hop["oif"], _gateway(hop)) for hop in message.get("multipath") or ()]


def _gateway(hop: Any) -> IPAddress | None:
    # One of the other version of IP has a word of its own.
    text = hop.get("gateway") or (hop.get("via") or {}).get("addr")
    return None if text is None else ip_address(text)


def _single(address: VirtualIP) -> dict[str, Any]:
    return {"address": str(ip_address(address)), "prefixlen": address.max_prefixlen}


def _fault(error: NetlinkError, failure: str) -> EnvironmentFault:
    if error.code == errno.ENODEV:
        return InterfaceLost("the interface is not there any more")
    hint = ": root, or the capability CAP_NET_ADMIN, is needed" if error.code in (errno.EPERM, errno.EACCES) else ""
    return EnvironmentFault(f"{failure}: {os.strerror(error.code)}{hint}")

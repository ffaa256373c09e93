import asyncio
import errno
import hashlib
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.linux import userspace, wg_tool
from wg_orchestrator.agent.linux.device import Device
from wg_orchestrator.agent.linux.links import LONGEST_ALIAS, Link, Links
from wg_orchestrator.agent.linux.uapi import SOCKETS, Uapi
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetAddress, SetRoute, SetTunnel
from wg_orchestrator.agent.tunnel import Actual

MARK = "wg-orchestrator"
"""The first word of the alias of every interface that is ours (`ip link`, ifalias)."""
_DIGEST_LENGTH = 32
_BIND_LOOKS = 200
_BIND_PACE = 0.01


class LinuxInterface:
    """The port `Interface`, by netlink, and WireGuard in the kernel or in userspace.

    What makes an interface ours is its alias: the mark, and the tenant's URL.
    """

    def __init__(self, name: str, url: str, links: Links, *, needs_userspace: bool = False) -> None:
        """`needs_userspace`: not to use the kernel's WireGuard, even if there is one."""
        self._name = name
        self._alias = _alias(url)
        self._links = links
        self._needs_userspace = needs_userspace
        self._index = 0
        self._mtu = 0
        self._device: Device | None = None
        self._is_unmarked = False
        """Whether the interface is being made: it is ours, and does not say so yet."""

    async def open(self, private_key: str, listen_port: int, mtu: int) -> None:
        """See the port."""
        self._mtu = mtu
        link = await self._links.find(self._name)
        if link is not None:
            self._require_ours(link)
            if await self._adopt(link, private_key, listen_port):
                return
            await self._links.remove(link.index)  # Ours, but nothing runs it: its program has died.
        _require_free(listen_port)
        try:
            await self._make(private_key, listen_port)
        except BaseException:
            await self._remove_ours()
            raise

    async def read(self) -> Actual:
        """See the port."""
        state = await self._running().read()
        addresses = [address.ip for index, address, _ in await self._links.addresses() if index == self._index]
        routes = [route.network for route in await self._links.routes() if route.index == self._index]
        return Actual(
            frozenset(address for address in addresses if not address.is_link_local),
            frozenset(network for network in routes if not network.is_link_local and not network.is_multicast),
            state.tunnels,
        )

    async def apply(self, changes: Sequence[Change]) -> None:
        """See the port."""
        device = self._running()
        await device.set_tunnels(change for change in changes if isinstance(change, SetTunnel | RemoveTunnel))
        for change in changes:
            match change:
                case SetAddress(address, others):
                    await self._links.add_address(self._index, address)
                    for other in others:
                        await self._links.remove_address(self._index, other)
                case SetRoute(network, others):
                    # The kernel takes the routes away if somebody sets the interface down.
                    await self._links.set_up(self._index, self._alias, self._mtu)
                    await self._links.add_route(self._index, network)
                    for other_route in others:
                        await self._links.remove_route(self._index, other_route)
                case SetTunnel() | RemoveTunnel():
                    pass

    async def close(self) -> None:
        """See the port."""
        self._device = None
        await self._remove_ours()

    async def _adopt(self, link: Link, private_key: str, listen_port: int) -> bool:
        """Take over what an agent before has left; False if it does not work any more."""
        device = await _device(self._name, link.kind)
        if device is None:
            return False
        self._index, self._device = link.index, device
        state = await device.read()
        if not link.is_up or link.mtu != self._mtu:
            await self._links.set_up(link.index, self._alias, self._mtu)
        if state.private_key != private_key:
            await device.set_device(private_key, None)
        if state.listen_port != listen_port:
            _require_free(listen_port)
            await device.set_device(None, listen_port)
        return True

    async def _make(self, private_key: str, listen_port: int) -> None:
        is_in_kernel = not self._needs_userspace and await self._links.add(self._name, "wireguard")
        self._is_unmarked = True
        if not is_in_kernel:
            await Uapi(self._name).ended()
            with suppress(OSError):  # It may have been left by a program that was killed.
                (SOCKETS / f"{self._name}.sock").unlink()
            await userspace.start(self._name)
        link = await self._links.find(self._name)
        device = None if link is None else await _device(self._name, link.kind)
        if link is None or device is None:
            raise InterfaceLost(f"{self._name} does not answer")
        self._index, self._device = link.index, device
        await self._links.set_up(link.index, self._alias, self._mtu)
        self._is_unmarked = False
        await device.set_device(private_key, None)
        # A port that is taken is said only if the socket is bound by now.
        for _ in range(_BIND_LOOKS):
            if (await device.read()).listen_port:
                break
            await asyncio.sleep(_BIND_PACE)
        await device.set_device(None, listen_port)

    async def _remove_ours(self) -> None:
        link = await self._links.find(self._name)
        if link is not None and (link.alias == self._alias or (self._is_unmarked and not link.alias)):
            await self._links.remove(link.index)

    def _require_ours(self, link: Link) -> None:
        if link.alias == self._alias:
            return
        if link.alias.startswith(f"{MARK} "):
            other = link.alias.removeprefix(f"{MARK} ")
            raise EnvironmentFault(f"{self._name} belongs to {other}: take that down, or use another --interface")
        raise EnvironmentFault(f"{self._name} is there and is not ours: use another --interface")

    def _running(self) -> Device:
        if self._device is None:
            raise InterfaceLost(f"{self._name} is not there")
        return self._device


def _alias(url: str) -> str:
    """The alias of an interface of the tenant at `url`; of a long URL, its beginning and a digest of the whole."""
    alias = f"{MARK} {url}"
    if len(alias.encode()) <= LONGEST_ALIAS:
        return alias
    digest = f"#{hashlib.sha256(url.encode()).hexdigest()[:_DIGEST_LENGTH]}"
    return alias.encode()[: LONGEST_ALIAS - len(digest)].decode(errors="ignore") + digest


async def _device(name: str, kind: str) -> Device | None:
    """The fastest way to configure this interface that works; None if nothing runs it. Raises EnvironmentFault if that
    can't be found out.
    """
    devices: list[Device] = [Uapi(name)]
    if kind == "wireguard":
        from wg_orchestrator.agent.linux.kernel import KernelDevice  # It takes its time to load.

        devices = [KernelDevice(name)]
    if wg_tool.program() is not None:
        devices.append(wg_tool.WgTool(name))
    fault: EnvironmentFault | None = None
    for device in devices:
        try:
            await device.read()
        except InterfaceLost:
            continue
        except EnvironmentFault as error:
            fault = error
        else:
            return device
    if fault is not None:
        raise fault
    return None


def _require_free(port: int) -> None:
    """Raises EnvironmentFault if the UDP port is taken."""
    if port == 0:
        return
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((anywhere, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise EnvironmentFault(f"can't use UDP port {port}: {os.strerror(error.errno)}") from error

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from wg_orchestrator.adapters.rendezvous.rendezvous import Rendezvous
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress

TURN = 0.001
"""Seconds for which datagrams are read before the event loop gets its turn."""
_LONGEST = 2048
_BUFFER = 4 * 1024 * 1024
"""Bytes that may wait in the kernel: a crowd that comes back at once."""
_ANCILLARY = 256
_IP_PKTINFO = 8
"""Of Linux (in.h); the module `socket` does not have it in all versions of Python."""

_Ancillary: TypeAlias = tuple[int, int, bytes]


class UdpRendezvous:
    """The rendezvous on UDP sockets. A reply leaves from the address that was asked: a NAT passes no other on."""

    def __init__(self, rendezvous: Rendezvous, clock: Callable[[], float] = time.monotonic) -> None:
        self._rendezvous = rendezvous
        self._clock = clock

    @asynccontextmanager
    async def running(self, addresses: Iterable[Endpoint]) -> AsyncIterator[list[Endpoint]]:
        """Answer at these addresses meanwhile; yields them with the ports that they have. Those that are 0 are one free
        port.

        Raises OSError if one can't be used.
        """
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            bound: list[Endpoint] = []
            for address in addresses:
                port = address.port or (bound[0].port if bound else 0)
                udp = stack.enter_context(_socket(Endpoint(address.address, port)))
                loop.add_reader(udp, self._read, udp)
                stack.callback(loop.remove_reader, udp)
                bound.append(Endpoint(address.address, udp.getsockname()[1]))
            yield bound

    def _read(self, udp: socket.socket) -> None:
        """Take what has come, for a moment. What is left is taken at the loop's next turn."""
        datagram, until = self._rendezvous.datagram, self._clock() + TURN
        while True:
            try:
                message, ancillary, _, source = udp.recvmsg(_LONGEST, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                pass  # An answer of before could not be delivered: that says nothing of what comes next.
            else:
                for answer in datagram(message, partial(_endpoint, source)):
                    _send(udp, answer, _asked(ancillary), source)
            if self._clock() >= until:
                return


def _socket(address: Endpoint) -> socket.socket:
    family = socket.AF_INET if address.address.version == 4 else socket.AF_INET6
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET:
            udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        udp.bind((str(address.address), address.port))
    except BaseException:
        udp.close()
        raise
    return udp


def _endpoint(source: tuple[str, int]) -> Endpoint:
    return Endpoint(ip_address(source[0].partition("%")[0]), source[1]).unmapped()


def _asked(ancillary: list[_Ancillary]) -> IPAddress | None:
    """The address that a datagram came to (ip(7), ipv6(7))."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return IPv4Address(data[4:8])  # For multicast, the local address differs from the one in the header.
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return IPv6Address(data[:16])
    return None


def _send(udp: socket.socket, answer: bytes, asked: IPAddress | None, to: tuple[str, int]) -> None:
    ancillary: list[_Ancillary] = []
    if isinstance(asked, IPv4Address):
        ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("I4s4s", 0, asked.packed, bytes(4)))]
    elif asked is not None:
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, asked.packed + struct.pack("I", 0))]
    try:
        udp.sendmsg([answer], ancillary, 0, to)
    except OSError:
        return  # As if it was lost on the way: WireGuard asks again.

"""Echo requests (RFC 792, RFC 4443) to many addresses at once."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterable

from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.domain.peer import VirtualIP

_PATIENCE = 3.0
"""Seconds until an address that has not answered is silent."""
_AGAIN = 0.25
"""Seconds from one request to the next: the first packets of a tunnel wait for its handshake."""
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_HEADER = struct.Struct("!BBHHH")


async def echo(addresses: Iterable[VirtualIP]) -> dict[VirtualIP, float | None]:
    """Seconds until each address answered its first answered request; None if it is silent.

    Raises EnvironmentFault if this process may not send them.
    """
    asked = list(addresses)
    answers: dict[VirtualIP, float | None] = dict.fromkeys(asked)
    rounds = [_Round(version, [one for one in asked if one.version == version], answers) for version in (4, 6)]
    await asyncio.gather(*(one.run() for one in rounds if one.addresses))
    return answers


class _Round:
    """The requests of one version of IP."""

    def __init__(self, version: int, addresses: list[VirtualIP], answers: dict[VirtualIP, float | None]) -> None:
        self.addresses = addresses
        self._version = version
        self._answers = answers
        self._sent: list[float] = []
        self._mark = os.urandom(8)
        self._by_text = {str(address): address for address in addresses}

    async def run(self) -> None:
        with _socket(self._version) as raw:
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            loop.add_reader(raw, self._receive, raw)
            try:
                until = time.monotonic() + _PATIENCE
                while time.monotonic() < until and any(self._answers[one] is None for one in self.addresses):
                    self._send(raw)
                    await asyncio.sleep(_AGAIN)
            finally:
                loop.remove_reader(raw)

    def _send(self, raw: socket.socket) -> None:
        number = len(self._sent)
        self._sent.append(time.monotonic())
        packet = _packet(self._version, number, self._mark)
        for address in self.addresses:
            if self._answers[address] is None:
                try:
                    raw.sendto(packet, (str(address), 0))
                except OSError:
                    continue  # There is no way to it now. It is asked again.

    def _receive(self, raw: socket.socket) -> None:
        while True:
            try:
                packet, (source, *_) = raw.recvfrom(2048)
            except BlockingIOError:
                return
            address = self._by_text.get(source)
            start = packet.find(self._mark)
            if address is None or start < _HEADER.size or self._answers[address] is not None:
                continue
            kind, _, _, _, number = _HEADER.unpack_from(packet, start - _HEADER.size)
            if kind == _REPLY[self._version] and number < len(self._sent):
                self._answers[address] = time.monotonic() - self._sent[number]


def _packet(version: int, number: int, mark: bytes) -> bytes:
    """An echo request; the kernel fills in the checksum of ICMPv6, and of both for a socket without privileges."""
    header = _HEADER.pack(_REQUEST[version], 0, 0, os.getpid() & 0xFFFF, number)
    return _HEADER.pack(_REQUEST[version], 0, _checksum(header + mark), os.getpid() & 0xFFFF, number) + mark


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _socket(version: int) -> socket.socket:
    family, protocol = (
        (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    )
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind, protocol)
        except PermissionError:
            continue
    raise EnvironmentFault("may not send pings: root, or the capability CAP_NET_RAW, is needed")

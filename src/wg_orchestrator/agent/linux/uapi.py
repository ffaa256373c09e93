"""WireGuard's cross-platform userspace API: a Unix socket and lines of `key=value`
(https://www.wireguard.com/xplatform/#configuration-protocol).
"""

import asyncio
import base64
import errno
import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from pathlib import Path

import anyio

from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.linux.device import DeviceState
from wg_orchestrator.agent.plan import RemoveTunnel, SetTunnel
from wg_orchestrator.agent.tunnel import KEEPALIVE, IPNetwork, Observed
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey

SOCKETS = Path("/var/run/wireguard")
_ANSWER_TIME = 60.0
"""Seconds. A program with many peers may be busy for long, and is not to be taken for dead."""
_HELLO_TIME = 1.0
_END_LOOKS = 40
_END_PACE = 0.05
_LONGEST_ANSWER = 64 * 1024 * 1024


class Uapi:
    """The configuration of one interface that a program in userspace runs."""

    def __init__(self, interface: str, sockets: Path = SOCKETS) -> None:
        self._interface = interface
        self._path = sockets / f"{interface}.sock"

    async def answers(self) -> bool:
        """Whether there is such a program."""
        try:
            with anyio.fail_after(_HELLO_TIME):
                await self.read()
        except InterfaceLost:
            return False
        except TimeoutError:
            pass
        return True

    async def ended(self) -> None:
        """Wait until there is none, or for a moment: one whose interface was removed takes its socket away as it ends,
        and would take a new one's.
        """
        for _ in range(_END_LOOKS):
            if not await self.answers():
                return
            await asyncio.sleep(_END_PACE)

    async def read(self) -> DeviceState:
        """Raises InterfaceLost if no program is there, or EnvironmentFault if it does not answer."""
        return _read(await self._ask("get=1\n\n"))

    async def set_device(self, private_key: str | None, listen_port: int | None) -> None:
        """Raises InterfaceLost, or EnvironmentFault if the port is taken."""
        lines = ["set=1"]
        if private_key is not None:
            lines.append(f"private_key={_hex(private_key)}")
        if listen_port is not None:
            lines.append(f"listen_port={listen_port}")
        await self._set(lines, f"can't use UDP port {listen_port}")

    async def set_tunnels(self, changes: Iterable[SetTunnel | RemoveTunnel]) -> None:
        """Raises InterfaceLost, or EnvironmentFault."""
        await self._set(["set=1", *_lines(changes)], f"can't configure {self._interface}")

    async def _set(self, lines: list[str], failure: str) -> None:
        answer = await self._ask("\n".join(lines) + "\n\n")
        status = next((int(value) for key, value in _pairs(answer) if key == "errno"), errno.EPROTO)
        if status:
            raise EnvironmentFault(f"{failure}: {os.strerror(abs(status))}")

    async def _ask(self, request: str) -> str:
        try:
            with anyio.fail_after(_ANSWER_TIME):
                return await self._exchange(request)
        except TimeoutError as error:
            raise EnvironmentFault(f"the program of {self._interface} does not answer in {_ANSWER_TIME:g} s") from error
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise InterfaceLost(f"no program runs {self._interface}") from error

    async def _exchange(self, request: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_LONGEST_ANSWER)
        try:
            writer.write(request.encode())
            return (await reader.readuntil(b"\n\n")).decode()
        finally:
            writer.close()


def _lines(changes: Iterable[SetTunnel | RemoveTunnel]) -> Iterator[str]:
    for change in changes:
        yield f"public_key={_hex(change.public_key.text)}"
        if isinstance(change, RemoveTunnel):
            yield "remove=true"
            continue
        if change.begins_anew:
            yield "remove=true"
            yield f"public_key={_hex(change.public_key.text)}"
        elif not change.is_new:
            yield "update_only=true"
        if change.preshared_key is not None:
            yield f"preshared_key={_hex(change.preshared_key)}"
        if change.endpoint is not None:
            yield f"endpoint={change.endpoint}"
        if change.allowed_ips is not None:
            yield "replace_allowed_ips=true"
            yield from (f"allowed_ip={network}" for network in sorted(map(str, change.allowed_ips)))
        if change.sends_now:  # WireGuard sends a packet at once when this is turned on.
            yield "persistent_keepalive_interval=0"
            yield f"public_key={_hex(change.public_key.text)}"
            yield "update_only=true"
            yield f"persistent_keepalive_interval={change.keepalive or KEEPALIVE}"
            if not change.keepalive:
                yield f"public_key={_hex(change.public_key.text)}"
                yield "update_only=true"
                yield "persistent_keepalive_interval=0"
        elif change.keepalive is not None:
            yield f"persistent_keepalive_interval={change.keepalive}"


def _pairs(answer: str) -> Iterator[tuple[str, str]]:
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        if key:
            yield key, value


def _read(answer: str) -> DeviceState:
    private_key, listen_port = "", 0
    peers: list[dict[str, str]] = []
    allowed: list[list[IPNetwork]] = []
    for key, value in _pairs(answer):
        if key == "private_key":
            private_key = base64.b64encode(bytes.fromhex(value)).decode()
        elif key == "listen_port":
            listen_port = int(value)
        elif key == "public_key":
            peers.append({"public_key": value})
            allowed.append([])
        elif key == "allowed_ip":
            allowed[-1].append(ip_network(value))
        elif peers:
            peers[-1][key] = value
    tunnels = [_observed(peer, networks) for peer, networks in zip(peers, allowed, strict=True)]
    return DeviceState(private_key, listen_port, {tunnel.public_key: tunnel for tunnel in tunnels})


def _observed(peer: dict[str, str], networks: list[IPNetwork]) -> Observed:
    seconds = int(peer.get("last_handshake_time_sec", "0")) + int(peer.get("last_handshake_time_nsec", "0")) / 1e9
    return Observed(
        PublicKey(base64.b64encode(bytes.fromhex(peer["public_key"])).decode()),
        frozenset(networks),
        _endpoint(peer.get("endpoint")),
        int(peer.get("persistent_keepalive_interval", "0")),
        seconds or None,
        int(peer.get("rx_bytes", "0")),
        int(peer.get("tx_bytes", "0")),
    )


def _endpoint(text: str | None) -> Endpoint | None:
    if text is None:
        return None
    address, _, zone = text.partition("%")  # A link-local address may have its zone.
    return Endpoint.parse(f"{address}]{zone.partition(']')[2]}" if zone else text).unmapped()


def _hex(key: str) -> str:
    return base64.b64decode(key).hex()

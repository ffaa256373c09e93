"""WireGuard by its own command (wg(8)): slower, and there wherever WireGuard is."""

import asyncio
import shutil
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network

import anyio

from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.linux.device import DeviceState
from wg_orchestrator.agent.plan import RemoveTunnel, SetTunnel
from wg_orchestrator.agent.tunnel import KEEPALIVE, Observed
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey

_ANSWER_TIME = 60.0
_NONE = "(none)"


def program() -> str | None:
    """Where the command is, if it is installed."""
    return shutil.which("wg")


class WgTool:
    """The configuration of one interface of either kind, for when nothing faster can be used."""

    def __init__(self, interface: str) -> None:
        self._interface = interface

    async def read(self) -> DeviceState:
        """Raises InterfaceLost or EnvironmentFault."""
        device, *peers = (line.split("\t") for line in (await self._wg("show", self._interface, "dump")).splitlines())
        tunnels = [_observed(fields) for fields in peers]
        private_key = "" if device[0] == _NONE else device[0]
        return DeviceState(private_key, int(device[2]), {tunnel.public_key: tunnel for tunnel in tunnels})

    async def set_device(self, private_key: str | None, listen_port: int | None) -> None:
        """Raises InterfaceLost, or EnvironmentFault if the port is taken."""
        words = [] if listen_port is None else ["listen-port", str(listen_port)]
        if private_key is not None:  # By its input: others can read its arguments.
            words += ["private-key", "/dev/stdin"]
        await self._wg("set", self._interface, *words, given=private_key or "")

    async def set_tunnels(self, changes: Iterable[SetTunnel | RemoveTunnel]) -> None:
        """Raises InterfaceLost or EnvironmentFault."""
        there: set[PublicKey] | None = None
        for change in changes:
            if isinstance(change, SetTunnel) and not change.is_new and not change.begins_anew:
                # The command would make a peer that is not there.
                there = there if there is not None else set((await self.read()).tunnels)
                if change.public_key not in there:
                    continue
            for words in _steps(change):
                secret = change.preshared_key or "" if isinstance(change, SetTunnel) else ""
                await self._wg("set", self._interface, "peer", change.public_key.text, *words, given=secret)
            if there is not None:
                (there.discard if isinstance(change, RemoveTunnel) else there.add)(change.public_key)

    async def _wg(self, *words: str, given: str = "") -> str:
        path = program()
        if path is None:
            raise EnvironmentFault("the command wg is not installed")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(path, *words, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            with anyio.fail_after(_ANSWER_TIME):
                output, complaint = await process.communicate(given.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise EnvironmentFault(f"{self._interface} does not answer in {_ANSWER_TIME:g} s") from None
        if process.returncode == 0:
            return output.decode()
        said = complaint.decode(errors="replace").strip()
        if "No such device" in said or "Unable to access interface" in said:
            raise InterfaceLost(f"{self._interface} is not there any more")
        raise EnvironmentFault(f"can't configure {self._interface}: {said}")


def _steps(change: SetTunnel | RemoveTunnel) -> Iterator[Sequence[str]]:
    """The arguments of one command after the other."""
    if isinstance(change, RemoveTunnel):
        yield ("remove",)
        return
    if change.begins_anew:
        yield ("remove",)
    words: list[str] = []
    if change.preshared_key is not None:  # By its input, as the private key.
        words += ["preshared-key", "/dev/stdin"]
    if change.endpoint is not None:
        words += ["endpoint", str(change.endpoint)]
    if change.allowed_ips is not None:
        words += ["allowed-ips", ",".join(sorted(map(str, change.allowed_ips)))]
    if not change.sends_now:
        yield [*words, *_keepalive(change.keepalive)]
        return
    # WireGuard sends a packet at once when this is turned on.
    yield [*words, *_keepalive(0)]
    yield _keepalive(change.keepalive or KEEPALIVE)
    if not change.keepalive:
        yield _keepalive(0)


def _keepalive(seconds: int | None) -> list[str]:
    return [] if seconds is None else ["persistent-keepalive", str(seconds)]


def _observed(fields: Sequence[str]) -> Observed:
    key, _, endpoint, allowed_ips, handshake, received, sent, keepalive = fields
    networks = [] if allowed_ips == _NONE else allowed_ips.split(",")
    return Observed(
        PublicKey(key),
        frozenset(map(ip_network, networks)),
        None if endpoint == _NONE else Endpoint.parse(endpoint).unmapped(),
        0 if keepalive == "off" else int(keepalive),
        float(handshake) or None,
        int(received),
        int(sent),
    )

"""The rendezvous, measured from outside: `python -m bench.rendezvous [--quick]` (a few minutes).

What a first handshake, a proof, a keepalive, a rekey and garbage cost the service; how joins go on under a flood; what
a proven peer takes of memory; and how long it takes until all are proven again after the service was killed.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rich.console import Console
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from bench.network import cpu_seconds, resident_mb
from harness.wireguard_peer import Peer

HOST = "127.0.0.1"
V2 = Subprotocol("wg-orchestrator.v2")
PER_TENANT = 10
PER_SOURCE = 100
CALM = 400
"""Initiations a second: below what the service answers without a cookie."""
AT_ONCE = 50
"""Joins, and handshakes, that are under way at one time."""
IDLE = 30.0
"""Seconds."""
AGAIN = 5.0
"""Seconds until a handshake that was not answered is begun again (REKEY_TIMEOUT)."""
GARBAGE_RATE = 20_000
FLOOD = """
import os, socket, sys, time
to, rate = ("127.0.0.1", int(sys.argv[1])), int(sys.argv[2])
udp = socket.socket(type=socket.SOCK_DGRAM)
garbage = [b"\\1\\0\\0\\0" + os.urandom(144) for _ in range(100)]
began, sent = time.monotonic(), 0
while True:
    due = int((time.monotonic() - began) * rate) - sent
    for number in range(due):
        udp.sendto(garbage[number % 100], to)
    sent += max(0, due)
    time.sleep(0.005)
"""


class Service:
    """`wg-orchestrator serve`, with a rendezvous."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self.rendezvous_port = _free(socket.SOCK_STREAM), _free(socket.SOCK_DGRAM)
        self._log = folder / "service.log"
        self._words = [
            sys.executable, "-m", "wg_orchestrator", "serve", "--host", HOST, "--port", str(self.port),
            "--rendezvous-port", str(self.rendezvous_port), "--max-handshake-rate", "0", "--log-level", "error",
            "--update-interval", "0.01", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            with suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            time.sleep(0.05)
        raise SystemExit(self._log.read_text())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _free(kind: int) -> int:
    with socket.socket(type=kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Machine:
    """A peer: its WebSocket, and a WireGuard on a socket that it shares with others behind one address."""

    def __init__(self, number: int, service: Service, udp: "Source", doors: asyncio.Semaphore) -> None:
        self.private_key = X25519PrivateKey.generate().private_bytes_raw()
        self.number = number
        self.wireguard = Peer(bytes(32), private_key=self.private_key)
        self._service = service
        self._udp = udp
        self._doors = doors
        self._wish = ""
        self._mac1 = b""
        self._has_new_cookie = False
        self.welcomed = asyncio.Event()
        self.asked = asyncio.Event()
        self.proven = asyncio.Event()
        self.answered = asyncio.Event()

    async def live(self) -> None:
        """Join, and come back whenever the connection is lost."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._live_once()
            self.asked.clear()
            self.proven.clear()
            await asyncio.sleep(random.uniform(0, 2))

    async def _live_once(self) -> None:
        url = f"ws://{HOST}:{self._service.port}/tenants/t{self.number // PER_TENANT}"
        key = base64.b64encode(self.wireguard.public_key).decode()
        join = {"type": "join", "display_name": f"m{self.number}", "public_key": key, "endpoints": []}
        # This process would be late with its joins if all came at once.
        async with self._doors:
            websocket = await connect(url, subprotocols=[V2], compression=None)
            await websocket.send(json.dumps(join | ({"virtual_ip": self._wish} if self._wish else {})))
            self._hear(json.loads(await websocket.recv()))
        try:
            async for text in websocket:
                self._hear(json.loads(text))
        finally:
            websocket.transport.abort()

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "welcome":
                self._wish = message["virtual_ip"]
                self.welcomed.set()
            case "prove":
                self.wireguard.rendezvous = base64.b64decode(message["public_key"])
                self.wireguard.preshared_key = base64.b64decode(message["preshared_key"])
                self.asked.set()
            case "proven":
                self.proven.set()
            case _:
                pass

    def send(self, datagram: bytes) -> None:
        self._udp.send(datagram)

    def initiate(self) -> None:
        """Begin a handshake; `answered` is set when it is."""
        self.answered.clear()
        self._has_new_cookie = False
        initiation = self.wireguard.initiation()
        self._udp.expects[initiation[4:8]] = self
        self._mac1 = initiation[116:132]
        self.send(initiation)

    def take_cookie(self, reply: bytes) -> None:
        with suppress(InvalidTag):
            self.wireguard.take_cookie(reply, self._mac1)
            self._has_new_cookie = True
            self.answered.set()

    def take(self, response: bytes) -> None:
        with suppress(InvalidTag, AssertionError):
            self.wireguard.take(response)
            self.answered.set()

    async def prove(self, places: asyncio.Semaphore) -> None:
        """Handshakes until one counts. With a cookie it begins again at once, and else after five seconds.

        Each machine would do that by itself. Here one process does it for all, so only so many do at one time as there
        are `places`.
        """
        await self.asked.wait()
        while not self.proven.is_set():
            async with places:
                self.initiate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.answered.wait(), AGAIN)
                    if not self._has_new_cookie:
                        self.send(self.wireguard.transport())
                        await asyncio.wait_for(self.proven.wait(), AGAIN)


class Source:
    """A UDP socket with an address of its own."""

    def __init__(self, number: int, to: int) -> None:
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._udp.setblocking(False)
        self._udp.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
        self._udp.connect((HOST, to))
        self.expects: dict[bytes, Machine] = {}
        asyncio.get_running_loop().add_reader(self._udp, self._read)

    def send(self, datagram: bytes) -> None:
        with suppress(OSError):  # The service is away.
            self._udp.send(datagram)

    def _read(self) -> None:
        while True:
            try:
                message = self._udp.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            is_response = message[:1] == b"\2"
            machine = self.expects.pop(message[8:12] if is_response else message[4:8], None)
            if machine is not None and is_response:
                machine.take(message)
            elif machine is not None:
                machine.take_cookie(message)


def machines(count: int, service: Service) -> list[Machine]:
    sources = [Source(number, service.rendezvous_port) for number in range(-(-count // PER_SOURCE))]
    doors = asyncio.Semaphore(AT_ONCE)
    return [Machine(number, service, sources[number // PER_SOURCE], doors) for number in range(count)]


async def paced(things: Iterable[Callable[[], None]], rate: float) -> None:
    """Do them at this rate."""
    began = time.monotonic()
    for done, thing in enumerate(things, 1):
        thing()
        if (ahead := done / rate - (time.monotonic() - began)) > 0.005:
            await asyncio.sleep(ahead)


@dataclass(frozen=True)
class Cost:
    """CPU time of the service for one datagram, in microseconds."""

    what: str
    microseconds: float


async def idle(service: Service) -> float:
    """CPU-seconds a second that it takes anyway: most of it is pings, which come about every ten seconds."""
    before = cpu_seconds(service.pid)
    await asyncio.sleep(IDLE)
    return (cpu_seconds(service.pid) - before) / IDLE


async def cost(what: str, service: Service, idle_rate: float, count: int, work: Callable[[], Awaitable[None]]) -> Cost:
    began, before = time.monotonic(), cpu_seconds(service.pid)
    await work()
    await asyncio.sleep(0.5)
    used = cpu_seconds(service.pid) - before - idle_rate * (time.monotonic() - began)
    return Cost(what, 1e6 * used / count)


async def costs(folder: Path, count: int) -> tuple[list[Cost], float, float]:
    """The costs; and KB of memory for a claim and for a proven session."""
    service = Service(folder)
    service.start()
    try:
        crowd = machines(count, service)
        lives = [asyncio.create_task(machine.live()) for machine in crowd]
        await asyncio.gather(*(machine.asked.wait() for machine in crowd))
        await asyncio.sleep(1)
        claimed = resident_mb(service.pid)

        async def initiate() -> None:
            await paced((machine.initiate for machine in crowd), CALM)

        def transports() -> Iterator[Callable[[], None]]:
            return (partial(_send_transport, machine) for machine in crowd)

        async def prove() -> None:
            await paced(transports(), CALM)

        async def keep_alive() -> None:
            await paced((send for _ in range(20) for send in transports()), GARBAGE_RATE / 4)

        async def garbage() -> None:
            datagrams = [b"\1\0\0\0" + os.urandom(144) for _ in range(count)]
            sends = (partial(crowd[0].send, datagram) for _ in range(20) for datagram in datagrams)
            await paced(sends, GARBAGE_RATE)

        rate = await idle(service)
        found = [await cost("first handshake", service, rate, count, initiate)]
        found.append(await cost("proof, and telling it to nine others", service, rate, count, prove))
        proven = resident_mb(service.pid)
        found.append(await cost("keepalive", service, rate, 20 * count, keep_alive))
        found.append(await cost("rekey", service, rate, count, initiate))
        found.append(await cost("garbage", service, rate, 20 * count, garbage))
        missing = [machine for machine in crowd if not machine.proven.is_set()]
        assert not missing, f"{len(missing)} are not proven"
        await _end(lives)
    finally:
        service.kill()
    plain = Service(folder, "--proof", "off")
    plain.start()
    try:
        crowd = machines(count, plain)
        lives = [asyncio.create_task(machine.live()) for machine in crowd]
        await asyncio.gather(*(machine.welcomed.wait() for machine in crowd))
        await asyncio.sleep(1)
        unclaimed = resident_mb(plain.pid)
        await _end(lives)
    finally:
        plain.kill()
    return found, 1000 * (claimed - unclaimed) / count, 1000 * (proven - claimed) / count


def _send_transport(machine: Machine) -> None:
    machine.send(machine.wireguard.transport())


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def joins(folder: Path, count: int) -> tuple[list[float], list[float]]:
    """Seconds of joins, one after the other: without garbage, and beside it."""
    service = Service(folder)
    service.start()
    flood: subprocess.Popen[bytes] | None = None
    results: list[list[float]] = []
    try:
        for rate in (0, GARBAGE_RATE):
            if rate:
                words = [sys.executable, "-c", FLOOD, str(service.rendezvous_port), str(rate)]
                flood = subprocess.Popen(words)
                await asyncio.sleep(1)
            results.append([await _join(service, number) for number in range(count)])
    finally:
        if flood is not None:
            flood.kill()
            flood.wait()
        service.kill()
    return results[0], results[1]


async def _join(service: Service, number: int) -> float:
    key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    join = json.dumps({"type": "join", "display_name": f"j{number}", "public_key": key})
    began = time.perf_counter()
    url = f"ws://{HOST}:{service.port}/tenants/joins"
    async with connect(url, subprotocols=[V2], compression=None) as websocket:
        await websocket.send(join)
        await websocket.recv()
        return time.perf_counter() - began


async def restart(folder: Path, count: int, say: Callable[[str], None]) -> tuple[float, float]:
    """Seconds from the death of the service until all are proven again, and its CPU seconds by then."""
    service = Service(folder)
    service.start()
    try:
        crowd = machines(count, service)
        lives = [asyncio.create_task(machine.live()) for machine in crowd]
        await _all_proven(crowd, say)
        service.kill()
        began = time.monotonic()
        for machine in crowd:
            machine.asked.clear()
            machine.proven.clear()
        service.start()
        await _all_proven(crowd, say)
        result = time.monotonic() - began, cpu_seconds(service.pid)
        await _end(lives)
        return result
    finally:
        service.kill()


async def _all_proven(crowd: list[Machine], say: Callable[[str], None]) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    proofs = [asyncio.create_task(machine.prove(places)) for machine in crowd]
    while missing := sum(not machine.proven.is_set() for machine in crowd):
        say(f"{len(crowd) - missing:,} of {len(crowd):,} are proven")
        await asyncio.sleep(1)
    await asyncio.gather(*proofs)


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="in small, not for the figures")
    parser.add_argument("--peers", type=int, help="that prove again after a restart")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    few = 200 if options.quick else 2000
    many = options.peers or (500 if options.quick else 15_000)
    console = Console(width=100)

    def row(what: str, value: str) -> None:
        console.print(f"{what:<70}{value:>12}", highlight=False)

    with tempfile.TemporaryDirectory() as name, console.status("costs of a datagram …") as status:
        folder = Path(name)
        found, claim_kb, session_kb = asyncio.run(costs(folder, few))
        for one in found:
            row(f"CPU of the service for one {one.what}", f"{one.microseconds:.1f} us")
        row("memory of a claim", f"{claim_kb:.1f} KB")
        row("memory of a proven session", f"{session_kb:.1f} KB")
        status.update("joins beside a flood …")
        without, beside = asyncio.run(joins(folder, few // 4))
        row("join, p99, without garbage", f"{1000 * p99(without):.1f} ms")
        row(f"join, p99, beside {GARBAGE_RATE:,} datagrams of garbage a second", f"{1000 * p99(beside):.1f} ms")
        row("", f"{p99(beside) / p99(without):.2f} times")
        status.update("a restart …")
        seconds, cpu = asyncio.run(restart(folder, many, lambda text: status.update(f"a restart: {text}")))
        row(f"killed with {many:,} proven peers: all are proven again after", f"{seconds:.1f} s")
        row("CPU time of the service for that", f"{cpu:.1f} s")


if __name__ == "__main__":
    main()

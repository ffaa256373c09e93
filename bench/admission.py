"""Admission, measured from outside: `python -m bench.admission [--part …] [--quick]` (about fifteen minutes).

What tokens cost the service; how joins go on under a flood of bad ones; that of many who come at once by an invitation
for one, over three nodes, exactly one gets in, also when nodes are killed; and how long a revocation takes until the
last peer has applied it, and that none that was revoked comes back. It fails if a promise is broken.
"""

import argparse
import asyncio
import base64
import itertools
import json
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from bench.errors import BrokenPromise
from bench.frames import CLOSE_1000, PING, PONG, TEXT, first, masked
from bench.network import cpu_seconds
from harness import guests
from harness.cluster import Cluster, ServiceProcess
from harness.guests import Refused, TryAgain, knock
from harness.invitations import Inviter
from harness.keys import a_key_text

HOST = "127.0.0.1"
AT_ONCE = 50
PATIENCE = 60.0
FLOOD_RATE = 2000
_REVISION = re.compile(rb'^\{"type":"[a-z]+","revision":([0-9]+)')
FLOOD = """
import itertools, socket, sys, time
port, rate, heads = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], newline="").read().split("\\0")
began, connecting, waiting = time.monotonic(), [], []
for sent, head in enumerate(itertools.cycle(heads)):
    while sent > (time.monotonic() - began) * rate:
        time.sleep(0.001)
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", port))
    connecting.append(one)
    if len(connecting) > 50:
        old = connecting.pop(0)
        try:
            old.send(head.encode())
        except OSError:
            pass
        waiting.append(old)
    if len(waiting) > 300:
        waiting.pop(0).close()
"""


class Service:
    """`wg-orchestrator serve` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"{HOST}:{self.port}"
        words = [sys.executable, "-m", "wg_orchestrator", "serve", "--host", HOST, "--port", str(self.port)]
        words += ["--log-level", "error", "--max-handshake-rate", "0", "--grace", "0", *options]
        with (folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            with suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            time.sleep(0.05)
        raise SystemExit((folder / "service.log").read_text())

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class LightPeer(asyncio.Protocol):
    """A peer that keeps no picture, but says which revision it has applied, as an agent does."""

    def __init__(self, head: bytes, join: bytes, applies: bool) -> None:
        self._head = head
        self._join = masked(TEXT, join)
        self._applies = applies
        self._data = bytearray()
        self._is_open = False
        self.welcomed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.revision = 0
        self.applied = 0
        self.applied_at = 0.0
        self.ended = asyncio.Event()
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._head)

    def connection_lost(self, _: Exception | None) -> None:
        self.ended.set()
        if not self.welcomed.done():
            self.welcomed.set_result(False)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_open:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._data.startswith(b"HTTP/1.1 101"):
                self.transport.abort()
                return
            del self._data[: end + 4]
            self._is_open = True
            self.transport.write(self._join)
        start = 0
        while (frame := first(self._data, start)) is not None:
            opcode, begin, start = frame
            self._hear(opcode & 0xF, bytes(self._data[begin:start]))
        del self._data[:start]

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.transport.write(masked(PONG, payload))
        elif opcode != TEXT:
            self.transport.abort()
        else:
            if (found := _REVISION.match(payload)) is not None:
                self.revision = max(self.revision, int(found[1]))
            if not self.welcomed.done():
                self.welcomed.set_result(True)
            if self._applies and self._due is None:
                self._due = asyncio.get_running_loop().call_later(0.2, self._apply)

    def _apply(self) -> None:
        self._due = None
        if self.revision > self.applied:
            self.applied, self.applied_at = self.revision, time.time()
            self.transport.write(masked(TEXT, b'{"type":"applied","revision":%d}' % self.applied))


def head(address: str, token: str | None, tenant: str = "acme", version: str = "") -> bytes:
    """A handshake that shows the token."""
    shown = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    protocol = f"Sec-WebSocket-Protocol: {version}\r\n" if version else ""
    return (
        f"GET /tenants/{tenant} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{protocol}{shown}\r\n"
    ).encode()


async def peer(
    address: str, number: int, token: str | None, *, version: str = "", applies: bool = False, source: str = HOST
) -> LightPeer:
    """One that was let in. Raises BrokenPromise if it was not."""
    join = {"display_name": f"peer-{number}", "public_key": a_key_text(number)}
    text = json.dumps({"type": "join", **join} if version else join).encode()
    host, _, port = address.rpartition(":")
    shown = head(address, token, version=version)
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(
        lambda: LightPeer(shown, text, applies), host, int(port), local_addr=(source, 0)
    )
    if not await asyncio.wait_for(made.welcomed, PATIENCE):
        raise BrokenPromise("a peer with a good token was not let in")
    return made


async def come_and_go(address: str, tokens: Sequence[str | None], first_number: int, source: str = HOST) -> list[float]:
    """Have a peer join with each token and leave again, a few at one time. Returns how long each join took."""
    places, took = asyncio.Semaphore(AT_ONCE), list[float]()

    async def one(number: int, token: str | None) -> None:
        async with places:
            began = time.perf_counter()
            made = await peer(address, number, token, source=source)
            took.append(time.perf_counter() - began)
            made.transport.write(CLOSE_1000)
            await asyncio.wait_for(made.ended.wait(), PATIENCE)

    await asyncio.gather(*(one(first_number + n, token) for n, token in enumerate(tokens)))
    return took


# The parts


async def costs(console: Console, folder: Path, joins: int, repeats: int) -> None:
    """Joins per CPU-second of the service with tokens, beside none."""
    inviter = Inviter()
    keys, numbers = inviter.write_keys(folder / "keys"), itertools.count(1, joins)
    invited = ("--invitation-keys", str(keys))
    kinds: dict[str, tuple[tuple[str, ...], Callable[[], list[str | None]]]] = {
        "open": ((), lambda: [None] * joins),
        "one invitation for all": (invited, lambda: [inviter.token()] * joins),
        "an invitation each, that was seen before": (invited, lambda: remembered),
        "an invitation each": (invited, lambda: [inviter.token() for _ in range(joins)]),
        "one for all, in a state file": ((*invited, "--state", "STATE"), lambda: [inviter.token()] * joins),
        "one each with uses, in a state file": (
            (*invited, "--state", "STATE"),
            lambda: [inviter.token(uses=1) for _ in range(joins)],
        ),
    }
    remembered: list[str | None] = [inviter.token() for _ in range(joins)]
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for repeat in range(repeats):
        for kind, (options, tokens) in kinds.items():
            state = str(folder / f"state-{repeat}-{len(kind)}")
            service = Service(folder, *(state if option == "STATE" else option for option in options))
            try:
                await come_and_go(service.address, tokens(), next(numbers))
                shown, before = tokens(), service.cpu_seconds
                await come_and_go(service.address, shown, next(numbers))
                rates[kind].append(joins / (service.cpu_seconds - before))
            finally:
                service.stop()
    base = statistics.median(rates["open"])
    for kind, found in rates.items():
        rate = statistics.median(found)
        console.print(f"joins per CPU-second, {kind}: {rate:,.0f} ({rate / base:.2f} of open)")


async def flood(console: Console, folder: Path, joins: int) -> None:
    """The time of joins beside a flood of bad tokens, and without it."""
    inviter = Inviter()
    stranger = Inviter(inviter.key_id)
    service = Service(folder, "--invitation-keys", str(inviter.write_keys(folder / "keys")))
    heads = [head(service.address, stranger.token()).decode() for _ in range(200)]
    (folder / "heads").write_bytes("\0".join(heads).encode())
    try:
        await come_and_go(service.address, [inviter.token() for _ in range(joins)], 1)
        alone = await paced(service.address, [inviter.token() for _ in range(joins)])
        words = (sys.executable, "-c", FLOOD, str(service.port), str(FLOOD_RATE), str(folder / "heads"))
        process = await asyncio.create_subprocess_exec(*words)
        try:
            await asyncio.sleep(1)
            before, began = service.cpu_seconds, time.monotonic()
            beside = await paced(service.address, [inviter.token() for _ in range(joins)])
            share = (service.cpu_seconds - before) / (time.monotonic() - began)
        finally:
            process.kill()
            await process.wait()
    finally:
        service.stop()
    quiet, loud = percentile(alone), percentile(beside)
    console.print(
        f"p99 of a join beside {FLOOD_RATE} bad tokens a second: {loud * 1000:.1f} ms, alone {quiet * 1000:.1f} ms "
        f"({loud / quiet:.1f} times); {share:.0%} of a core"
    )


async def paced(address: str, tokens: Sequence[str | None]) -> list[float]:
    """How long joins take that come one after the other, a hundred a second, from an address of their own."""
    took = list[float]()
    for number, token in enumerate(tokens, 100_000):
        due = asyncio.get_running_loop().time() + 0.01
        took += await come_and_go(address, [token], number, "127.0.0.2")
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
    return took


def percentile(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


async def uses(console: Console, folder: Path, count: int, rounds: int, kills: int) -> None:
    """Rounds in which many come at once by an invitation for one, over three nodes."""
    inviter = Inviter()
    cluster = started(folder, inviter)
    try:
        await cluster.start()
        addresses = [service.address for service in cluster.services]
        longest, retries = 0.0, 0
        for number in range(rounds + kills):
            victim = random.choice(cluster.services)
            disturb = killed(victim, random.uniform(0, 1.0)) if number >= rounds else None
            began = time.monotonic()
            numbers = range(1000 * number + 1, 1000 * number + 1 + count)
            outcome = await guests.all_at_once(addresses, inviter.token(uses=1), numbers, disturb)
            longest = max(longest, time.monotonic() - began)
            if len(outcome.welcomed) != 1 or set(outcome.refused.values()) != {4507}:
                raise BrokenPromise(f"round {number}: {len(outcome.welcomed)} came in, {outcome.refused.values()}")
            await guests.leave(outcome)
            if disturb is not None:
                retries += 1
                victim.start()
                await cluster.ready()
        console.print(
            f"{count} at once by an invitation for one, over three nodes: one came in, in each of {rounds} rounds and "
            f"of {retries} with a node killed; the longest took {longest:.1f} s"
        )
    finally:
        cluster.stop()


async def killed(service: ServiceProcess, delay: float) -> None:
    await asyncio.sleep(delay)
    service.kill()


def started(folder: Path, inviter: Inviter, servers: int = 1, grace: int = 0) -> Cluster:
    """Without a grace, a guest whose node is killed comes in again without its session."""
    keys = str(inviter.write_keys(folder / "keys"))
    options = ("--invitation-keys", keys, "--max-handshake-rate", "0", "--log-level", "error", "--grace", str(grace))
    return Cluster(folder, servers, options)


async def revocation(console: Console, folder: Path, count: int, tries: int) -> None:
    """From a revocation to the last peer that has applied it; and that nobody comes back who was revoked."""
    inviter = Inviter()
    cluster = started(folder, inviter, servers=3, grace=60)
    try:
        await cluster.start()
        addresses = [service.address for service in cluster.services]
        per_invitation = max(3, count // 30)
        tokens = [inviter.token() for _ in range(count // per_invitation)]
        places, peers = asyncio.Semaphore(AT_ONCE), list[LightPeer]()

        async def one(number: int) -> None:
            async with places:
                token, address = tokens[number // per_invitation], addresses[number % 3]
                version = "wg-orchestrator.v2"
                peers.append(await peer(address, number + 1, token, version=version, applies=True))

        began = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(per_invitation * len(tokens))))
        console.print(f"{len(peers)} peers in {time.monotonic() - began:.0f} s")
        await asyncio.sleep(5)
        stolen = json.loads(_payload(tokens[0]))["jti"]
        urls = ",".join(server.url for server in cluster.servers)
        words = ("revoke", "--invitation", stolen, "--nats", urls, "--json")
        began = time.time()
        receipt = await command(*words)
        since = receipt["applied"]["since"]
        if receipt["put_out"] != per_invitation or receipt["nodes"] != 3 or since is None:
            raise BrokenPromise(f"{receipt}")
        revoked = [one for one in peers if one.ended.is_set()]
        last = max(one.revision for one in peers)
        late = [one for one in peers if not one.ended.is_set() and one.applied < last]
        if len(revoked) != per_invitation or late:
            raise BrokenPromise(f"{len(revoked)} are out, {len(late)} have not applied it")
        took = max(one.applied_at for one in peers) - began
        console.print(
            f"revoked: {receipt['put_out']} of {len(peers)} peers over three nodes; {took:.2f} s from the start of the "
            f"command until the last peer had applied it; after {time.time() - began:.1f} s: {json.dumps(receipt)}"
        )
        answers = await tried(cluster, tokens[0], inviter, per_invitation, tries)
        console.print(f"{tries} tries of those who were revoked, over kills, restarts and NATS away: {answers}")
    finally:
        cluster.stop()


async def tried(cluster: Cluster, token: str, inviter: Inviter, revoked: int, tries: int) -> dict[str, int]:
    """What those who were revoked are answered, while nodes and servers come and go. Raises BrokenPromise."""
    answers = dict[str, int]()
    is_over = asyncio.Event()

    async def disturb() -> None:
        while not is_over.is_set():
            service, server = random.choice(cluster.services), random.choice(cluster.servers)
            service.kill()
            await asyncio.sleep(1)
            service.start()
            await cluster.ready()
            for one in cluster.servers:
                one.kill()
            await asyncio.sleep(1)
            for one in cluster.servers:
                one.start()
            await cluster.ready()
            server.kill()
            await asyncio.sleep(1)
            server.start()
            await cluster.ready()

    async def one(number: int) -> None:
        address = cluster.services[number % 3].address
        try:
            websocket = await knock(address, token, 1 + number % revoked)
        except TryAgain:
            answer = "try again"
        except Refused as refused:
            answer = str(refused.code)
        else:
            await websocket.close()
            raise BrokenPromise("somebody was let in who was revoked")
        answers[answer] = answers.get(answer, 0) + 1

    disturbing = asyncio.create_task(disturb())
    try:
        for number in range(tries):
            await asyncio.gather(one(number), asyncio.sleep(0.03))
    finally:
        is_over.set()
        await disturbing
    return answers


async def command(*words: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wg_orchestrator", *words, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    found: dict[str, Any] = json.loads(output)
    return found


def _payload(token: str) -> bytes:
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


PARTS = ("costs", "flood", "uses", "revocation")


async def main(parts: Sequence[str], is_quick: bool) -> None:
    console = Console(width=200)
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="bench-admission-") as name:
            folder = Path(name)
            match part:
                case "costs":
                    await costs(console, folder, *((300, 1) if is_quick else (5000, 5)))
                case "flood":
                    await flood(console, folder, 100 if is_quick else 1000)
                case "uses":
                    await uses(console, folder, *((40, 3, 1) if is_quick else (200, 50, 50)))
                case _:
                    await revocation(console, folder, *((60, 60) if is_quick else (3000, 1000)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="everything, but small")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.part or PARTS, arguments.quick))

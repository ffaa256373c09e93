"""examples/json_lines.py: its notifier against the contract, and the program as its users run it."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from examples.json_lines import Line, LineNotifier
from harness.keys import a_key_text
from harness.nats_server import NatsServer
from tests.builders import a_peer, a_tenant, apply, joined
from tests.contracts.peer_notifier import Members, PeerNotifierContract
from tests.integration.service import PATIENCE
from wg_orchestrator.container import Container
from wg_orchestrator.domain.ports import PeerNotifier
from wg_orchestrator.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "examples" / "json_lines.py"
LONGEST = 120
MARK = b'"so far"'


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < LONGEST


# The notifier


class Pair:
    """A Line, and the other end of its connection."""

    def __init__(self, line: Line, reader: asyncio.StreamReader, transport: asyncio.Transport) -> None:
        self.line = line
        self.transport = transport
        self._reader = reader
        self._heard: list[dict[str, Any]] = []
        self._has_ended = False

    @classmethod
    @asynccontextmanager
    async def connected(cls, **settings: Any) -> AsyncIterator["Pair"]:
        ours, theirs = socket.socketpair()
        line_reader, line_writer = await asyncio.open_connection(sock=ours)
        reader, writer = await asyncio.open_connection(sock=theirs, limit=2**24)
        container = Container()
        container.settings.override(Settings(**settings))
        try:
            yield cls(Line(line_reader, line_writer, container), reader, cast(asyncio.Transport, writer.transport))
        finally:
            line_writer.transport.abort()
            writer.transport.abort()

    async def hear(self) -> None:
        """Read all that the line was told until now."""
        self.line.tell(MARK)
        with anyio.fail_after(PATIENCE):
            while not self._has_ended and (text := (await self._reader.readline()).strip()) != MARK:
                if text:
                    self._heard.append(json.loads(text))
                else:
                    self._has_ended = True

    async def seen(self) -> list[Any]:
        await self.hear()
        return [*map(_plain, self._heard), *([("ended",)] if self._has_ended else [])]


def _plain(message: dict[str, Any]) -> tuple[Any, ...]:
    if "peers" in message:
        return "welcome", message["virtual_ip"], {peer["virtual_ip"] for peer in message["peers"]}
    if "removed_peer" in message:
        return "left", message["removed_peer"]
    return "joined", message["virtual_ip"]


class TestLineNotifier(PeerNotifierContract):
    @pytest.fixture
    async def pairs(self) -> AsyncIterator[dict[Line, Pair]]:
        async with AsyncExitStack() as open_pairs:
            made = [await open_pairs.enter_async_context(Pair.connected()) for _ in range(16)]
            yield {pair.line: pair for pair in made}

    @pytest.fixture
    def notifier(self) -> PeerNotifier[Line]:
        return LineNotifier()

    @pytest.fixture
    def subscribe(self, pairs: dict[Line, Pair]) -> Callable[[], Line]:
        free: Iterator[Line] = iter(pairs)
        return lambda: next(free)

    @pytest.fixture
    def seen(self, pairs: dict[Line, Pair]) -> Callable[[Line], Awaitable[list[Any]]]:
        return lambda line: pairs[line].seen()


async def test_of_two_members_the_one_that_does_not_read_is_ended_and_the_other_misses_nothing() -> None:
    async with Pair.connected(max_outbox_size=1000) as stalled, Pair.connected(max_outbox_size=1000) as reading:
        stalled.transport.pause_reading()
        members = Members(LineNotifier())
        members.come(a_peer(1), stalled.line)
        members.come(a_peer(2), reading.line)
        events = 0
        while not stalled.line._transport.is_closing():
            members.come(a_peer(3))
            members.go(a_peer(3))
            events += 2
            assert events < 100_000
            await reading.hear()
        members.come(a_peer(4))
        told = (await reading.seen())[1:]
        assert told[:events] == [("joined", "100.64.0.3"), ("left", "100.64.0.3")] * (events // 2)
        assert told[events:] == [("joined", "100.64.0.4")]


async def test_a_welcome_of_any_size_is_told() -> None:
    """The bound on what may wait for a peer does not include its welcome, which may be large."""
    tenant = a_tenant(max_peers=10_000)
    for number in range(4000):
        apply(tenant, joined(a_peer(number, f"100.64.{number // 250}.{number % 250 + 1}")))
    newcomer = joined(a_peer(9999, "100.64.99.1"))
    apply(tenant, newcomer)
    async with Pair.connected(max_outbox_size=1000) as pair:
        LineNotifier().welcome(tenant, newcomer.stay, pair.line)
        assert pair.line._transport.get_write_buffer_size() > 1000
        (kind, _, others), *more = await pair.seen()
        assert (kind, len(others), more) == ("welcome", 4000, [])


# As users run it


def join_line(number: int, tenant: str = "acme", **changes: Any) -> bytes:
    fields = {"tenant": tenant, "display_name": f"peer-{number}", "public_key": a_key_text(number), **changes}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.welcome: dict[str, Any] = {}

    async def hear(self) -> Any:
        """The next message, None at the end."""
        with anyio.fail_after(PATIENCE):
            line = await self._reader.readline()
        return json.loads(line) if line else None

    async def is_welcome(self) -> None:
        self.welcome = await self.hear()
        assert self.welcome.keys() == {"virtual_ip", "peers"}

    @property
    def virtual_ip(self) -> str:
        return str(self.welcome["virtual_ip"])

    def leave(self) -> None:
        self.writer.close()


class Example:
    """The example in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._port = port
        self._is_told_to_stop = False
        self.clients: list[Client] = []

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        if not self._is_told_to_stop:
            self._is_told_to_stop = True
            self._process.send_signal(by)

    async def connect(self, line: bytes, max_segment: int | None = None) -> Client:
        """A client that has sent `line`. With a small `max_segment` the kernels hold little for a client that does not
        read.
        """
        connection = socket.socket()
        if max_segment is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, max_segment)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._port))
        client = Client(*await asyncio.open_connection(sock=connection))
        self.clients.append(client)
        client.writer.write(line)
        return client

    async def ask(self, number: int, tenant: str = "acme", **changes: Any) -> Client:
        """A client that has asked to join."""
        return await self.connect(join_line(number, tenant, **changes))

    async def join(self, number: int, tenant: str = "acme", **changes: Any) -> Client:
        """A client that has heard its welcome."""
        client = await self.ask(number, tenant, **changes)
        await client.is_welcome()
        return client


@asynccontextmanager
async def serving(folder: Path, **settings: object) -> AsyncIterator[Example]:
    """The running example. At the end it gets SIGINT, and has to stop in good order and without any error."""
    environment = {f"WG_ORCHESTRATOR_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "WG_ORCHESTRATOR_HOST": "127.0.0.1", **environment}
    command = (sys.executable, str(EXAMPLE), "--port", "0")
    log = folder / "errors"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        assert process.stdout is not None
        with anyio.fail_after(PATIENCE):
            announcement = (await process.stdout.readline()).split()
        assert announcement[:-1] == [b"listening", b"on", b"port"], log.read_text()
        example = Example(process, int(announcement[-1]))
        try:
            yield example
        finally:
            for client in example.clients:
                client.writer.transport.abort()
        example.stop()
        with anyio.fail_after(PATIENCE):
            assert await process.wait() == 0
        assert log.read_text() == ""
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def entry(number: int, virtual_ip: str) -> dict[str, str]:
    return {"display_name": f"peer-{number}", "public_key": a_key_text(number), "virtual_ip": virtual_ip}


async def test_two_peers_see_each_other_come_and_go(tmp_path: Path) -> None:
    async with serving(tmp_path) as example:
        first = await example.join(1)
        second = await example.join(2)
        assert first.welcome["peers"] == []
        assert second.welcome["peers"] == [entry(1, first.virtual_ip)]
        assert await first.hear() == entry(2, second.virtual_ip)
        second.leave()
        assert await first.hear() == {"removed_peer": second.virtual_ip}
        again = await example.join(2)
        assert await first.hear() == entry(2, again.virtual_ip)


async def test_who_ends_only_its_own_half_of_the_connection_has_left(tmp_path: Path) -> None:
    """As `nc -N` does at the end of its input."""
    async with serving(tmp_path) as example:
        first, second = await example.join(1), await example.join(2)
        second.writer.write_eof()
        assert await second.hear() is None
        assert await first.hear() == entry(2, second.virtual_ip)
        assert await first.hear() == {"removed_peer": second.virtual_ip}


async def test_a_live_key_is_refused_and_its_holder_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as example:
        holder = await example.join(1)
        thief = await example.ask(1)
        assert await thief.hear() == {"refused": "key in use"}
        assert await thief.hear() is None
        other = await example.join(2)
        assert other.welcome["peers"] == [entry(1, holder.virtual_ip)]
        assert await holder.hear() == entry(2, other.virtual_ip)


async def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as example:
        here, there = await example.join(1), await example.join(1, "globex")
        assert (there.welcome["peers"], there.virtual_ip) == ([], here.virtual_ip)
        visitor = await example.join(2, "globex")
        visitor.leave()
        assert await there.hear() == entry(2, visitor.virtual_ip)
        assert await there.hear() == {"removed_peer": visitor.virtual_ip}
        neighbour = await example.join(3)
        assert await here.hear() == entry(3, neighbour.virtual_ip)


BAD_JOINS: list[tuple[dict[str, Any], str]] = [
    ({"display_name": ""}, "bad display name"),
    ({"public_key": "AAAA"}, "bad public key"),
    ({"public_key": None}, "malformed join"),
    ({"tenant": "no/such"}, "malformed join"),
    ({"tenant": None}, "malformed join"),
    ({"tenant": 5}, "malformed join"),
    ({"more": "x" * 5000}, "malformed join"),
]


async def test_a_bad_join_is_refused_with_its_reason(tmp_path: Path) -> None:
    """The refusal comes at once, also to a client that goes on sending."""
    async with serving(tmp_path, close_timeout=3600) as example:
        for changes, reason in BAD_JOINS:
            client = await example.ask(1, **changes)
            client.writer.write(b"more\n" * 100)
            assert await client.hear() == {"refused": reason}, changes
            assert await client.hear() is None


async def test_what_is_no_join_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, close_timeout=3600) as example:
        for line in (
            b"hello\n",
            b"[]\n",
            b"\xff\n",
            b'{"display_name": "a", "public_key": "b"}\n',
            b"\n",
            b"x" * 10_000_000,
        ):
            client = await example.connect(line)
            assert await client.hear() == {"refused": "malformed join"}, line[:100]
            assert await client.hear() is None


async def test_who_does_not_say_who_it_is_is_refused_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, join_timeout=0.01, close_timeout=0.01) as example:
        client = await example.connect(b'{"tenant": "acme", ')
        assert await client.hear() == {"refused": "join timeout"}
        assert await client.hear() is None


async def test_who_goes_before_it_has_joined_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as example:
        for line in (b"", b'{"tenant"', b"hello\n"):
            client = await example.connect(line)
            client.writer.transport.abort()
        await example.join(1)


async def test_a_full_tenant_refuses(tmp_path: Path) -> None:
    async with serving(tmp_path, max_peers_per_tenant=1) as example:
        await example.join(1)
        assert await (await example.ask(2)).hear() == {"refused": "tenant full"}


async def test_a_peer_that_does_not_read_delays_nobody_and_is_put_out(tmp_path: Path) -> None:
    async with serving(tmp_path, max_outbox_size=1000) as example:
        stalled = await example.connect(join_line(1), max_segment=536)
        await stalled.is_welcome()
        cast(asyncio.Transport, stalled.writer.transport).pause_reading()
        watcher = await example.join(2)
        removals = []
        for number in range(3, 5000):
            visitor = await example.join(number, display_name="\N{GRINNING FACE}" * 128)
            visitor.leave()
            while (told := await watcher.hear()) != {"removed_peer": visitor.virtual_ip}:
                removals += [told["removed_peer"]] if "removed_peer" in told else []
            if removals:
                break
        assert removals == [stalled.virtual_ip]


async def test_at_the_end_all_connections_are_ended(tmp_path: Path) -> None:
    async with serving(tmp_path, shutdown_timeout=3600) as example:
        joined_peer, silent = await example.join(1), await example.connect(b"")
        example.stop(signal.SIGTERM)
        assert await joined_peer.hear() is None
        assert await silent.hear() is None


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def test_two_of_it_on_nats_are_one_service(nats: NatsServer, tmp_path: Path) -> None:
    async with serving(tmp_path, nats_url=nats.url) as here, serving(tmp_path, nats_url=nats.url) as there:
        first, second = await joined_in_time(here, 1), await joined_in_time(there, 2)
        assert second.welcome["peers"] == [entry(1, first.virtual_ip)]
        assert await first.hear() == entry(2, second.virtual_ip)
        assert await (await there.ask(1)).hear() == {"refused": "key in use"}
        second.leave()
        assert await first.hear() == {"removed_peer": second.virtual_ip}


async def joined_in_time(example: Example, number: int) -> Client:
    """A client that has joined as soon as the store takes joins."""
    with anyio.fail_after(PATIENCE):
        while True:
            client = await example.ask(number)
            client.welcome = await client.hear()
            if "virtual_ip" in client.welcome:
                return client
            assert client.welcome == {"refused": "try again later"}
            await anyio.sleep(0.05)

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from examples.json_lines import LineNotifier
from harness.keys import a_key_text
from tests.builders import a_peer
from tests.contracts.peer_notifier import Members, PeerNotifierContract
from tests.integration.service import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "json_lines.py"


class Lines:
    """The transport of a TCP connection, as far as the notifier knows it."""

    def __init__(self) -> None:
        self.written = b""
        self.waiting = 0
        self.ended = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.ended = True

    abort = close

    def told(self) -> list[tuple[Any, ...]]:
        return [_plain(json.loads(line)) for line in self.written.splitlines()]


def _plain(message: dict[str, Any]) -> tuple[Any, ...]:
    if "peers" in message:
        return "welcome", message["virtual_ip"], {peer["virtual_ip"] for peer in message["peers"]}
    if "removed_peer" in message:
        return "left", message["removed_peer"]
    return "joined", message["virtual_ip"]


class TestLineNotifier(PeerNotifierContract):
    @pytest.fixture
    def notifier(self) -> LineNotifier:
        return LineNotifier(1000)

    @pytest.fixture
    def subscribe(self) -> Callable[[], Lines]:
        return Lines

    @pytest.fixture
    def seen(self) -> Callable[[Lines], Awaitable[list[Any]]]:
        async def seen(lines: Lines) -> list[Any]:
            return [*lines.told(), *([("ended",)] if lines.ended else [])]

        return seen


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, **fields: str) -> dict[str, Any]:
        self._writer.write(json.dumps(fields).encode() + b"\n")
        return await self.hear()

    async def join(self, number: int, tenant: str = "acme") -> dict[str, Any]:
        return await self.say(tenant=tenant, display_name=f"peer-{number}", public_key=a_key_text(number))

    async def hear(self) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE):
            return cast("dict[str, Any]", json.loads(await self._reader.readline()))

    async def ended(self) -> None:
        with anyio.fail_after(PATIENCE):
            assert await self._reader.read() == b""

    def leave(self) -> None:
        self._writer.close()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """The example as a user runs it; what comes makes a client of it."""
    clients: list[Client] = []
    environment = {**os.environ, "WG_ORCHESTRATOR_HOST": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, "0", cwd=folder, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(PATIENCE):
            found = re.search(rb"port (\d+)", await process.stdout.readline())
        assert found is not None
        port = int(found[1])

        async def connect() -> Client:
            clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
            return clients[-1]

        yield connect
    finally:
        for client in clients:
            client.leave()
        process.terminate()
        await process.communicate()


async def test_peers_see_each_other_come_and_go(tmp_path: Path) -> None:
    async with serving(tmp_path) as connect:
        first, second, elsewhere = await connect(), await connect(), await connect()
        assert await first.join(1) == {"virtual_ip": "100.64.0.1", "peers": []}
        await elsewhere.join(1, "globex")
        welcome = await second.join(2)
        assert [peer["virtual_ip"] for peer in welcome["peers"]] == ["100.64.0.1"]
        assert (await first.hear())["display_name"] == "peer-2"
        second.leave()
        assert await first.hear() == {"removed_peer": "100.64.0.2"}


async def test_a_refusal_says_why_and_ends_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as connect:
        await (await connect()).join(1)
        for fields, reason in (
            ({"tenant": "acme", "display_name": "x", "public_key": a_key_text(1)}, "key in use"),
            ({"tenant": "acme", "display_name": "", "public_key": a_key_text(2)}, "bad display name"),
            ({"tenant": "a/b", "display_name": "x", "public_key": a_key_text(2)}, "a tenant id is"),
            ({"tenant": "acme"}, "malformed join"),
        ):
            client = await connect()
            assert (await client.say(**fields))["refused"].startswith(reason)
            await client.ended()


async def test_who_does_not_read_is_cut_when_its_outbox_is_full() -> None:

    notifier, slow, other = LineNotifier(1000), Lines(), Lines()
    members = Members(notifier)
    members.come(a_peer(1), slow)
    members.come(a_peer(2), other)
    slow.waiting = 1001
    members.come(a_peer(3))
    assert slow.ended
    assert not other.ended
    assert other.told()[-1] == ("joined", "100.64.0.3")


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 120

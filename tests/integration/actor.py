"""A client that records all that it is told."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio
from websockets.frames import Opcode

from harness.keys import a_key_text
from harness.picture import Picture
from tests.integration.service import PATIENCE, RawClient


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.001)


class Actor:
    """A client that reads while `may_read` is set, and keeps its picture of the tenant and all notices."""

    def __init__(self, raw: RawClient, number: int) -> None:
        self.raw = raw
        self.key = a_key_text(number)
        self.number = number
        self.roster = Picture()
        self.welcome: dict[str, str] = {}
        self.notices: list[dict[str, str]] = []
        self.closed: tuple[int, str] | None = None
        self.has_ended = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Read until the connection ends. Raises ValueError if a message contradicts the picture."""
        try:
            while True:
                await self.may_read.wait()
                opcode, payload = await self.raw.read_frame()
                if opcode == Opcode.TEXT:
                    self._hear(json.loads(payload))
                elif opcode == Opcode.PING and not self.has_ended:
                    self.raw.send(Opcode.PONG, payload)
                elif opcode == Opcode.CLOSE:
                    self.closed = int.from_bytes(payload[:2], "big"), payload[2:].decode()
        except (EOFError, ConnectionError):
            pass

    def _hear(self, message: dict[str, Any]) -> None:
        assert ("peers" in message) == (not self.is_in), "the welcome comes once, and first"
        self.roster.apply(message)
        if "peers" in message:
            self.welcome = self.others()
        else:
            self.notices.append(message)

    @property
    def is_in(self) -> bool:
        return self.roster.virtual_ip != ""

    def others(self) -> dict[str, str]:
        return {ip: peer["public_key"] for ip, peer in self.roster.peers.items()}

    def picture(self) -> dict[str, str]:
        """The whole tenant as this client sees it: public keys by virtual IP."""
        return {**self.others(), self.roster.virtual_ip: self.key}

    async def answered(self) -> bool:
        """Wait for the answer to the join; return whether it is a welcome."""
        await until(lambda: self.is_in or self._reading.done())
        if self._reading.done():
            self._reading.result()
        return self.is_in

    async def finished(self) -> None:
        """Abort the connection, and raise what went wrong while reading."""
        self.may_read.set()
        self.raw.writer.transport.abort()
        await self._reading


def assert_same_story(actor: Actor, observer: Actor) -> None:
    """Assert that `actor` was told the same as `observer` from its join to its end, without a gap."""
    picture = {observer.roster.virtual_ip: observer.key}
    for position, notice in enumerate(observer.notices):
        if "removed_peer" in notice:
            del picture[notice["removed_peer"]]
            continue
        if (notice["virtual_ip"], notice["public_key"]) == (actor.roster.virtual_ip, actor.key):
            rest = observer.notices[position + 1 :]
            if actor.welcome == picture and actor.notices == rest[: len(actor.notices)]:
                return
        picture[notice["virtual_ip"]] = notice["public_key"]
    raise AssertionError(f"peer-{actor.number} was told another story")

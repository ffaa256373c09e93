from contextlib import suppress

import anyio
from websockets.frames import Opcode

from tests.integration.service import PATIENCE, Endpoint, RawClient, handshake, join_message


class Listener:
    """A raw client that keeps every byte that the service has sent to it."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.heard = b""
        reader = client.reader
        feed = reader.feed_data

        def overhear(data: bytes) -> None:
            self.heard += data
            feed(data)

        reader.feed_data = overhear  # type: ignore[method-assign, assignment]

    @classmethod
    async def connect(cls, service: Endpoint) -> "Listener":
        return cls(await RawClient.connect(service))

    @classmethod
    async def open(cls, service: Endpoint, tenant: str = "acme", *fields: str) -> "Listener":
        """Open a WebSocket, with `fields` in its request besides the usual ones. The Host is always the same."""
        listener = await cls.connect(service)
        request = handshake(service, tenant).replace(service.address.encode(), b"service")
        extra = "".join(f"{field}\r\n" for field in fields).encode()
        listener.client.writer.write(request[:-2] + extra + b"\r\n")
        with anyio.fail_after(PATIENCE):
            await listener.client.reader.readuntil(b"\r\n\r\n")
        return listener

    @classmethod
    async def join(
        cls, service: Endpoint, number: int, tenant: str = "acme", *fields: str, **changes: str
    ) -> "Listener":
        """Ask to join. Returns when the first frame of the answer has come."""
        listener = await cls.open(service, tenant, *fields)
        listener.say(join_message(number, **changes))
        await listener.next()
        return listener

    def say(self, text: str | bytes, opcode: Opcode = Opcode.TEXT) -> None:
        self.client.send(opcode, text.encode() if isinstance(text, str) else text)

    async def next(self, frames: int = 1) -> None:
        """Hear `frames` frames; answer a close frame."""
        for _ in range(frames):
            opcode, payload = await self.client.read_frame()
            if opcode == Opcode.CLOSE:
                self.say(payload[:2], Opcode.CLOSE)

    async def leave(self, code: int = 1000) -> None:
        """Close, and hear the answer to it."""
        self.say(code.to_bytes(2, "big"), Opcode.CLOSE)
        await self.end()

    async def end(self) -> None:
        """Hear all that still comes, and close the connection."""
        with anyio.fail_after(PATIENCE), suppress(EOFError):
            while True:
                await self.next()
        self.client.writer.close()

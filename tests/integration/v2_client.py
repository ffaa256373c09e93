"""A client of protocol v2. It is written from docs/protocol-v2.md, and uses none of the service's parsers."""

import copy
import json
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from harness.keys import a_key_text
from harness.session_picture import SessionPicture
from tests.integration.service import PATIENCE, Endpoint, reset

V2 = Subprotocol("wg-orchestrator.v2")


def join_v2(number: int, **changes: Any) -> dict[str, Any]:
    return {"type": "join", "display_name": f"peer-{number}", "public_key": a_key_text(number), **changes}


class V2Client:
    """Keeps its picture by the rules of the protocol, and fails if a message contradicts it."""

    def __init__(self, websocket: ClientConnection, number: int) -> None:
        self.websocket = websocket
        self.number = number
        self.told: list[dict[str, Any]] = []
        self.place: dict[str, Any] = {}
        """Its latest welcome or `resumed`."""
        self.picture = SessionPicture(a_key_text(number))

    @classmethod
    async def join(
        cls,
        service: Endpoint,
        number: int,
        tenant: str = "acme",
        headers: dict[str, str] | None = None,
        **changes: Any,
    ) -> "V2Client":
        return await cls._enter(service, number, tenant, join_v2(number, **changes), headers=headers)

    async def resume(
        self, service: Endpoint, tenant: str = "acme", headers: dict[str, str] | None = None, **changes: Any
    ) -> "V2Client":
        """A new connection that goes on with this one's session and picture."""
        resume = {"session": self.session, "revision": self.revision}
        join = join_v2(self.number, **{"resume": resume, **changes})
        picture = copy.deepcopy(self.picture)
        picture.revision = join["resume"]["revision"]
        return await self._enter(service, self.number, tenant, join, picture, headers)

    @classmethod
    async def _enter(
        cls,
        service: Endpoint,
        number: int,
        tenant: str,
        join: dict[str, Any],
        picture: SessionPicture | None = None,
        headers: dict[str, str] | None = None,
    ) -> "V2Client":
        with anyio.fail_after(PATIENCE):
            client = cls(await service.connect(tenant, subprotocols=[V2], additional_headers=headers), number)
            assert client.websocket.subprotocol == V2
            client.picture = picture or client.picture
            await client.say(join)
            await client.hear()
        return client

    @property
    def session(self) -> str:
        return self.picture.session

    @property
    def virtual_ip(self) -> str:
        return self.picture.virtual_ip

    @property
    def revision(self) -> int:
        return self.picture.revision

    @property
    def peers(self) -> dict[str, dict[str, Any]]:
        """The others, by public key."""
        return self.picture.peers

    @property
    def started_with(self) -> str:
        """What it was told first: `welcome` or `resumed`."""
        kind: str = self.told[0]["type"]
        return kind

    async def say(self, message: dict[str, Any]) -> None:
        await self.websocket.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE):
            text = await self.websocket.recv()
        assert isinstance(text, str)
        message: dict[str, Any] = json.loads(text)
        self.told.append(message)
        self.apply(message)
        return message

    async def told_nothing_before(self, other: "V2Client", name: str) -> None:
        """Rename `other` to `name`, and assert that the next message tells that: so nothing was told before."""
        await other.say({"type": "update", "display_name": name})
        message = await self.hear()
        assert (message["type"], message["peer"]["display_name"]) == ("updated", name)

    def reset(self) -> None:
        reset(self.websocket.transport.get_extra_info("socket"))
        self.websocket.transport.abort()

    async def closed(self) -> tuple[int, str]:
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    await self.hear()
                except ConnectionClosed as closed:
                    frame = closed.rcvd
                    assert frame is not None, "the connection ended without a close frame"
                    return frame.code, frame.reason

    def apply(self, message: dict[str, Any]) -> None:
        if message["type"] in ("welcome", "resumed"):
            self.place = message
        self.picture.apply(message)

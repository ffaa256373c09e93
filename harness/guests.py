"""Many clients with one invitation, over several nodes at once: who gets in, and who never does."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from harness.invitations import bearer
from harness.keys import a_key_text

V2 = Subprotocol("wg-orchestrator.v2")
PATIENCE = 60.0
_PAUSE = 0.05
"""Seconds until a guest that was told to try again does so, at the next node."""


class TryAgain(Exception):
    """The node is gone, or can't let anybody in now."""


class Refused(Exception):
    """By a close code that is final, or by an HTTP status: `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


async def knock(address: str, token: str | None, number: int, tenant: str = "acme") -> ClientConnection:
    """Join with the key of that number, and return the connection after the welcome. Raises TryAgain or Refused."""
    headers = None if token is None else bearer(token)
    try:
        websocket = await connect(
            f"ws://{address}/tenants/{tenant}",
            subprotocols=[V2],
            additional_headers=headers,
            compression=None,
            open_timeout=PATIENCE,
            proxy=None,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise (TryAgain if status >= 500 or status == 429 else Refused(status)) from error
    except (OSError, InvalidHandshake) as error:
        raise TryAgain from error
    try:
        join = {"type": "join", "display_name": f"peer-{number}", "public_key": a_key_text(number)}
        await websocket.send(json.dumps(join))
        with anyio.fail_after(PATIENCE):
            await websocket.recv()
    except (ConnectionClosed, TimeoutError) as error:
        code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd is not None else 1006
        websocket.transport.abort()
        raise (Refused(code) if code >= 4500 else TryAgain) from error
    return websocket


@dataclass
class Round:
    """What came of one round."""

    welcomed: set[int] = field(default_factory=set)
    """The keys that were ever welcomed, by their numbers."""
    refused: dict[int, int] = field(default_factory=dict)
    """The last code that each other one was refused with."""
    connections: dict[int, ClientConnection] = field(default_factory=dict)


async def all_at_once(
    addresses: Sequence[str], token: str, numbers: Sequence[int], disturb: Awaitable[None] | None = None
) -> Round:
    """Have guests of these numbers come at once, each to another node, and try the next one as long as they may.
    `disturb` runs meanwhile. Returns when each is in or was refused for good. Whoever is in has a living connection.
    """
    outcome = Round()

    async def come(number: int, place: int) -> None:
        while True:
            try:
                websocket = await knock(addresses[place % len(addresses)], token, number)
            except TryAgain:
                place += 1
                await asyncio.sleep(_PAUSE)
                continue
            except Refused as refused:
                outcome.refused[number] = refused.code
                return
            outcome.welcomed.add(number)
            outcome.connections[number] = websocket
            return

    tasks = [asyncio.create_task(come(number, place)) for place, number in enumerate(numbers)]
    if disturb is not None:
        await disturb
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
    for number, websocket in list(outcome.connections.items()):
        with suppress(ConnectionClosed):
            await asyncio.wait_for(await websocket.ping(), PATIENCE)
            continue
        await asyncio.wait_for(come(number, 0), PATIENCE)  # Its node was killed after the welcome.
    return outcome


async def leave(round_: Round) -> None:
    """Have all that are in leave."""
    for websocket in round_.connections.values():
        await websocket.close()

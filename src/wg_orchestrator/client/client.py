from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

import anyio
from websockets.asyncio.client import ClientConnection

from wg_orchestrator.client.connecting import USUAL, Limits, TryAgainLater, connected, receive
from wg_orchestrator.client.tokens import TokenSource, no_token
from wg_orchestrator.wire import v1


async def follow(
    url: str,
    display_name: str,
    public_key: str,
    *,
    token: TokenSource = no_token,
    proxy: Literal[True] | None = True,
    limits: Limits = USUAL,
) -> AsyncGenerator[v1.Message, None]:
    """Join the tenant at `url` and yield the service's messages for as long as the connection lasts: first the welcome,
    then notices. Addresses and keys in them are well-formed. Names are any text: pass them through `visible` before a
    terminal shows them.

    `token` says what lets this client in. `proxy`: whether to use the HTTP proxy that the environment may name.

    It always ends with an error: JoinRefused, TryAgainLater or BadMessage.
    """
    async with connected(url, None, proxy, limits, token=token) as websocket:
        await websocket.send(v1.join(display_name, public_key))
        async with aclosing(_messages(websocket, limits)) as messages:
            async for message in messages:
                yield message


async def _messages(websocket: ClientConnection, limits: Limits) -> AsyncGenerator[v1.Message, None]:
    """Raises BadMessage, TryAgainLater or ConnectionClosed."""
    try:
        with anyio.fail_after(limits.welcome_timeout):
            message = v1.parse_message(await receive(websocket, limits.max_fragments))
        if not isinstance(message, v1.Welcome):
            raise v1.BadMessage("a notice before the welcome")
        yield message
        while True:
            message = v1.parse_message(await receive(websocket, limits.max_fragments))
            if isinstance(message, v1.Welcome):
                raise v1.BadMessage("a second welcome")
            yield message
    except (v1.BadMessage, TimeoutError) as error:
        websocket.transport.abort()  # To close it in order, we would have to wait for the service's answer.
        if isinstance(error, v1.BadMessage):
            raise
        raise TryAgainLater(f"no welcome in {limits.welcome_timeout:g} s") from error

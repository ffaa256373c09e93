from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal, TypeAlias

import anyio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from wg_orchestrator.client.connecting import USUAL, Limits, TryAgainLater, connected, receive
from wg_orchestrator.client.delays import retry_delays
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.client.tokens import TokenSource, no_token
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.subprotocol import V2
from wg_orchestrator.wire.v2 import fields, requests
from wg_orchestrator.wire.v2.notices import Message, Prove, Proven, Resumed, Welcome, parse_message


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection was lost, or could not be made. The client tries again by itself."""

    cause: str
    retry_in: float
    """Seconds until it does."""


Event: TypeAlias = Message | Lost


class Member:
    """A member of a tenant by protocol v2. It comes back by itself whenever its connection is lost.

    `follow` yields what happens. The picture is as of the last thing that was yielded. When the connection is lost, the
    client makes another one and resumes its session there, so that nobody hears that it was away; what it missed
    follows. Whoever ends the loop over `follow` leaves the tenant, as with `leave`.
    """

    def __init__(
        self,
        url: str,
        display_name: str,
        public_key: str,
        *,
        endpoints: Iterable[Endpoint] | None = None,
        virtual_ip: VirtualIP | None = None,
        session: str = "",
        token: TokenSource = no_token,
        proxy: Literal[True] | None = True,
        limits: Limits = USUAL,
    ) -> None:
        """`url` is the tenant's. `endpoints` are where this machine's WireGuard can be reached, best first.
        `virtual_ip` is the address that it would like to have, and `session` is the session to resume if there is one:
        both are in the picture of an earlier Member with this key. `token` says what lets this client in. `proxy`:
        whether to use the HTTP proxy that the environment may name.
        """
        self.picture = Picture(limits.max_peers, session=session, virtual_ip=virtual_ip)
        self._url = url
        self._display_name = display_name
        self._public_key = public_key
        self._endpoints = None if endpoints is None else tuple(endpoints)
        self._token = token
        self._proxy = proxy
        self._limits = limits
        self._websocket: ClientConnection | None = None
        self._was_in = bool(session)
        self._is_leaving = False
        self._hurry = anyio.Event()
        """Set when nothing is to be waited for."""

    @property
    def local_address(self) -> IPAddress | None:
        """The client's own address in the connection; None if there is no connection."""
        return None if self._websocket is None else _address(self._websocket.local_address)

    @property
    def remote_address(self) -> IPAddress | None:
        """The address that the connection goes to, the service's or a proxy's; None if there is no connection."""
        return None if self._websocket is None else _address(self._websocket.remote_address)

    async def follow(self) -> AsyncGenerator[Event, None]:
        """Join, and yield what happens, until this client leaves, or something ends that for good: a message of the
        service, already applied to the picture, or Lost.

        Names in messages are any text: pass them through `visible` before a terminal shows them. A message may come of
        which a later version of this library knows more, `Prove` for instance: pass over what you do not know.

        Raises JoinRefused if the service will not let it in, and BadMessage if the service breaks the protocol.
        """
        delays = retry_delays()
        while True:
            try:
                async with aclosing(self._follow_once()) as messages:
                    async for message in messages:
                        if isinstance(message, Welcome | Resumed):  # The next loss begins with a short delay again.
                            delays = retry_delays()
                        yield message
            except TryAgainLater as error:
                if self._is_leaving:
                    return
                delay = error.wait + next(delays)
                yield Lost(str(error), delay)
                with anyio.move_on_after(delay):
                    await self._hurry.wait()
                if self._is_leaving:
                    return
                self._hurry = anyio.Event()

    async def update(self, display_name: str | None = None, endpoints: Iterable[Endpoint] | None = None) -> None:
        """Have the others told of a new name, or of new endpoints in place of the old ones; None is unchanged.

        Without a connection they are told when there is one again.
        """
        if display_name is not None:
            self._display_name = display_name
        if endpoints is not None:
            self._endpoints = tuple(endpoints)
        await self._say(requests.update(display_name, None if endpoints is None else self._endpoints))

    async def applied(self, revision: int, paths: Mapping[VirtualIP, PathKind] | None = None) -> None:
        """Say that the machine's WireGuard is as of that revision, and how it reaches other peers, of at most 64, as
        far as that has changed on this connection. More than once a second is of no use.
        """
        await self._say(requests.applied(revision, paths))

    async def leave(self) -> None:
        """Leave the tenant: the others are told at once. Then `follow` ends."""
        self._is_leaving = True
        self._hurry.set()
        if self._websocket is not None:
            await self._websocket.close()

    def vanish(self) -> None:
        """End the connection without a word: the place stays for the grace. Then `follow` ends."""
        self._is_leaving = True
        self.reconnect()

    def reconnect(self) -> None:
        """Give up the connection, or the wait for the next one, and make a new one at once: the machine is elsewhere
        in the network now.
        """
        self._hurry.set()
        if self._websocket is not None:
            self._websocket.transport.abort()

    async def _say(self, text: str) -> None:
        if self._websocket is not None:
            try:
                await self._websocket.send(text)
            except ConnectionClosed:
                return  # `follow` sees it, and what was to be said is said when joining again.

    async def _follow_once(self) -> AsyncGenerator[Message, None]:
        """Raises JoinRefused, TryAgainLater or BadMessage."""
        async with connected(
            self._url, V2, self._proxy, self._limits, token=self._token, comes_back=self._was_in
        ) as websocket:
            self._websocket = websocket
            try:
                await websocket.send(self._join())
                async for message in self._messages(websocket):
                    yield message
            except TimeoutError as error:
                websocket.transport.abort()
                raise TryAgainLater(f"no welcome in {self._limits.welcome_timeout:g} s") from error
            except BadMessage:
                websocket.transport.abort()  # To close it in order, we would have to wait for the service's answer.
                raise
            finally:
                self._websocket = None

    async def _messages(self, websocket: ClientConnection) -> AsyncGenerator[Message, None]:
        """Raises BadMessage, TimeoutError or ConnectionClosed."""
        until = anyio.current_time() + self._limits.welcome_timeout
        has_place = False
        while True:
            with anyio.fail_after(None if has_place else until - anyio.current_time()):
                message = await self._receive(websocket)
            if isinstance(message, Welcome | Resumed):
                has_place = self._was_in = True
            elif not has_place and not isinstance(message, Prove | Proven):
                raise BadMessage("a notice before the welcome")
            yield message

    def _join(self) -> str:
        picture = self.picture
        # A revision that there can't be yet: the answer then is the whole picture.
        revision = fields.REVISIONS - 1 if picture.revision is None else picture.revision
        resume = requests.Resume(picture.session, revision) if picture.session else None
        return requests.join(self._display_name, self._public_key, self._endpoints, picture.virtual_ip, resume)

    async def _receive(self, websocket: ClientConnection) -> Message:
        """The next message of a type that is known here, applied to the picture. Raises BadMessage."""
        while (message := parse_message(await receive(websocket, self._limits.max_fragments))) is None:
            pass
        self.picture.apply(message)
        return message


def _address(name: tuple[Any, ...]) -> IPAddress:
    """Of the name of a socket."""
    return ip_address(name[0].partition("%")[0])

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.paths import Here, Reason, is_symmetric
from wg_orchestrator.agent.plan import Change
from wg_orchestrator.agent.ports import Interface, Link
from wg_orchestrator.agent.reports import Reports
from wg_orchestrator.agent.setup import Setup
from wg_orchestrator.agent.status import PeerStatus, Status
from wg_orchestrator.agent.weave import Weave
from wg_orchestrator.agent.wishes import Wishes
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.wire.v2.notices import Prove, Resumed, Welcome


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the interface is looked at, in seconds."""

    calm: float = 5.0
    """Between two looks without haste."""
    least: float = 0.2
    """Between two looks in haste."""
    applied: float = 1.0
    """Between two reports of what has been applied."""


USUAL_PACE = Pace()


class Keeper:
    """Keeps the interface as the picture of the tenant says.

    A change to one peer touches no other peer's tunnel. Without a whole picture nothing is touched.
    """

    def __init__(
        self,
        setup: Setup,
        keys: tuple[str, PublicKey],
        link: Link,
        interface: Interface,
        say: Callable[[str], None],
        pace: Pace = USUAL_PACE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keys` are the private and the public one. `say` gets a line about what people should know. `clock` gives
        Unix seconds.
        """
        self._setup = setup
        self._private_key, self._public_key = keys
        self._link = link
        self._interface = interface
        self._say = say
        self._pace = pace
        self._clock = clock
        self._wishes = Wishes(self._public_key, link.picture, link.picture.session)
        self._weave = Weave(link.picture, self._wishes)
        self._dirty: set[PublicKey] = set()
        self._wake = asyncio.Event()
        self._access = asyncio.Lock()
        self._look_at = 0.0
        self._holds = True
        self._was_set_up = False
        self._revision: int | None = None
        self._reports = Reports()

    @property
    def has_set_up(self) -> bool:
        """Whether the interface has been as the tenant is, by this agent or by one before it."""
        return self._revision is not None or self._was_set_up

    @property
    def here(self) -> Here:
        """Where this machine is."""
        return self._weave.here

    def is_at(self, here: Here) -> None:
        """The machine is there from now on."""
        self._weave.here = here

    async def open(self) -> None:
        """Have the interface. Raises EnvironmentFault."""
        await self._interface.open(self._private_key, self._setup.listen_port, self._setup.mtu)
        await self._read()
        self._was_set_up = self._was_set_up or bool(self._weave.actual.addresses)

    async def close(self) -> None:
        """Remove the interface. Raises EnvironmentFault."""
        await self._interface.close()

    def prove(self, request: Prove) -> None:
        """The service asks for a proof of the key. A rendezvous with the key of a peer, or of this machine, is none."""
        if request.public_key == self._public_key or request.public_key in self._link.picture.peers:
            self._say("the service names a rendezvous that is none")
            return
        self._weave.rendezvous.asked(request)
        self.look(at_once=True)

    def proven(self, endpoint: Endpoint) -> None:
        """The key is proven, and the machine was seen there. The others hear of it now, too, and begin to try it: NATs
        on both sides let packets in if both send at the same time.
        """
        self._weave.rendezvous.proven(endpoint)
        self._weave.try_again(self._clock())
        self.look(at_once=True)

    def lost(self) -> None:
        """The connection to the service has ended."""
        self._weave.rendezvous.lost()

    def take_place(self, message: Welcome | Resumed) -> None:
        """The service has given this machine its place, and the picture is as of it."""
        self._weave.rendezvous.placed(self._clock())
        self._wishes.take(message, self._weave.actual.tunnels, self._clock())
        self._holds = False
        self._reports.begin_anew()
        self.look(at_once=True)

    def hold(self) -> None:
        """Leave the interface as it is, until `take_place`."""
        self._holds = True

    def touch(self, key: PublicKey) -> None:
        """The peer has come or gone."""
        self._wishes.heard_of(key)
        self._dirty.add(key)
        self._wake.set()

    def look(self, *, at_once: bool = False) -> None:
        """Read the interface soon, and mend what it lacks."""
        self._look_at = min(self._look_at, self._clock() + (0 if at_once else self._pace.least))
        self._wake.set()

    async def greet(self) -> None:
        """Have all peers that are reached hear from this machine at once."""
        with suppress(EnvironmentFault):
            await self._read()
            await self._interface.apply(self._weave.greetings())

    async def run(self) -> None:
        """Keep the interface, and make it anew whenever it is lost."""
        while True:
            # A clock that was put back must not make it wait.
            with anyio.move_on_after(min(max(0.0, self._look_at - self._clock()), self._pace.calm)):
                await self._wake.wait()
            self._wake.clear()
            try:
                await self._sync()
            except InterfaceLost as error:
                self._say(f"{error}; making it anew")
                await self._reopen()
            except EnvironmentFault as error:
                self._say(str(error))
                self._look_at = self._clock() + self._pace.calm

    async def status(self, is_connected: bool) -> Status:
        """How it stands now."""
        with suppress(EnvironmentFault):
            await self._read()
        picture = self._link.picture
        is_welcomed = picture.network is not None
        return Status(
            self._setup.interface,
            str(self._public_key),
            str(picture.virtual_ip) if is_welcomed else None,
            str(picture.network) if is_welcomed else None,
            is_connected,
            self._revision,
            tuple(self._peer_status(key) for key in picture.peers if key in self._weave.actual.tunnels),
        )

    async def _sync(self) -> None:
        now = self._clock()
        is_whole = not now < self._look_at <= now + self._pace.calm
        if is_whole:
            self._look_at = now + self._pace.calm
            await self._read()
        await self._apply(self._weave.greet_rendezvous(now))
        revision = self._link.picture.revision
        if revision is None or self._holds:
            self._look_again(now)
            return
        keys, self._dirty = self._dirty, set()
        await self._apply(self._weave.changes(now) if is_whole else self._weave.changes_of(keys, now))
        self._revision = revision
        self._look_again(now)
        await self._report(now)

    def _look_again(self, now: float) -> None:
        for due in (self._weave.next_look(), self._wishes.next_end()):
            if due is not None:
                self._look_at = min(self._look_at, max(due, now + self._pace.least))

    async def _reopen(self) -> None:
        while True:
            try:
                await self.open()
            except EnvironmentFault as error:
                self._say(f"{error}; trying again in {self._pace.calm:g} s")
                await asyncio.sleep(self._pace.calm)
            else:
                self.look(at_once=True)
                return

    async def _read(self) -> None:
        async with self._access:  # What was read before a change must not come after it.
            self._weave.actual = await self._interface.read()

    async def _apply(self, changes: list[Change]) -> None:
        if changes:
            async with self._access:
                await self._interface.apply(changes)
                self._weave.applied(changes)

    async def _report(self, now: float) -> None:
        """Say to the service which revision the interface is as of, and how the others are reached."""
        if self._revision is None:
            return
        news, due = self._reports.news(self._revision, self._weave.kinds()), self._reports.at + self._pace.applied
        if news is not None and now < due:
            self._look_at = min(self._look_at, due)
        elif news is not None:
            self._reports.told(self._revision, news, now)
            await self._link.applied(self._revision, news)

    def _peer_status(self, key: PublicKey) -> PeerStatus:
        peer, tunnel = self._link.picture.peers[key], self._weave.actual.tunnels[key]
        path, reason = self._weave.path(key).kind(tunnel, self._weave.here)
        seen = peer.endpoints if peer.proven else ()
        if reason is Reason.NO_HANDSHAKE and (self._weave.rendezvous.is_symmetric or is_symmetric(seen)):
            reason = Reason.SYMMETRIC_NAT
        return PeerStatus(
            peer.display_name,
            str(key),
            str(peer.virtual_ip),
            None if tunnel.endpoint is None else str(tunnel.endpoint),
            path.value,
            None if reason is None else reason.value,
            None if tunnel.latest_handshake is None else int(tunnel.latest_handshake),
            tunnel.rx_bytes,
            tunnel.tx_bytes,
        )

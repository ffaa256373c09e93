import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any

from wg_orchestrator.agent.announced import announced
from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.agent.keeper import Keeper
from wg_orchestrator.agent.naming import Naming
from wg_orchestrator.agent.ports import Link, Machine
from wg_orchestrator.agent.setup import Setup
from wg_orchestrator.agent.status import Status
from wg_orchestrator.client.connecting import JoinRefused
from wg_orchestrator.client.delays import retry_delays
from wg_orchestrator.client.member import Event, Lost
from wg_orchestrator.domain.endpoint import is_for_private_use
from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v2.notices import Joined, Left, Prove, Proven, Resumed, Updated, Welcome

_AGAIN = 0.5
"""Seconds after which a task that has not ended is cancelled again."""


class Agent:
    """A machine's part in its tenant: it follows what the service and the machine say, and has the keeper act on it.

    Nothing that the service does, or fails to do, touches the tunnel of a peer that has not left.
    """

    def __init__(
        self,
        setup: Setup,
        link: Link,
        machine: Machine,
        keeper: Keeper,
        say: Callable[[str], None],
        *,
        naming: Naming | None = None,
        remember: Callable[[], None] = lambda: None,
    ) -> None:
        """`say` gets a line about what people should know. `remember` is called when the picture has another session
        or address.
        """
        self._setup = setup
        self._link = link
        self._machine = machine
        self._keeper = keeper
        self._say = say
        self._naming = naming
        self._remember = remember
        self._place: object = None
        self._is_connected = False
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping.set()

    async def status(self) -> Status:
        """How it stands now."""
        return await self._keeper.status(self._is_connected)

    async def run(self) -> None:
        """Be a peer until `stop`. Then leave the tenant and remove the interface; or neither, if it is to be kept.

        Raises EnvironmentFault if this machine does not let it, and JoinRefused if the service refuses it for good.
        Then the interface is removed too.
        """
        self._keeper.is_at(await self._machine.here())
        await self._announce()
        await self._keeper.open()
        work = [self._follow(), self._keeper.run(), self._watch(), self._stopping.wait()]
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(one) for one in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(tasks)

    async def _follow(self) -> None:
        delays = retry_delays()
        while True:
            try:
                async with aclosing(self._link.follow()) as events:
                    async for event in events:
                        if isinstance(event, Welcome | Resumed):
                            delays = retry_delays()
                        await self._take(event)
                return
            except BadMessage as error:
                # It may pass. The interface stays as it is until there is a whole picture again.
                self._is_connected = False
                self._keeper.hold()
                self._link.picture.forget()
                delay = next(delays)
                self._say(f"the service breaks the protocol: {error}; trying again in {delay:.1f} s")
                await asyncio.sleep(delay)

    async def _take(self, event: Event) -> None:
        match event:
            case Welcome() | Resumed():
                await self._take_place(event)
            case Joined(_, peer):
                self._keeper.touch(peer.public_key)
            case Left(_, public_key, _):
                self._keeper.touch(public_key)
            case Updated():
                self._keeper.look()
            case Lost(cause, retry_in):
                self._is_connected = False
                self._keeper.lost()
                self._say(f"{cause}; trying again in {retry_in:.1f} s")
            case Prove():
                self._keeper.prove(event)
            case Proven(endpoint):
                self._say(f"the key is proven; packets come from {endpoint}")
                self._keeper.proven(endpoint)
            case _:
                assert_never(event)
        if self._naming is not None:
            self._naming.changed()

    async def _take_place(self, event: Welcome | Resumed) -> None:
        self._is_connected = True
        picture = self._link.picture
        fault = self._fault_of(event) or await self._machine.overlap(event.network)
        if fault is not None:
            if not self._keeper.has_set_up:
                raise EnvironmentFault(fault)
            self._say(f"{fault}; the interface stays as it was")
            self._keeper.hold()
            return
        if self._place != (picture.session, picture.virtual_ip):
            self._place = picture.session, picture.virtual_ip
            try:
                self._remember()
            except EnvironmentFault as error:  # A full disk is no reason to take the tunnels down.
                self._say(f"{error}; the session will not outlive this agent")
        self._keeper.take_place(event)
        back = "back " if isinstance(event, Resumed) else ""
        self._say(f"{back}in as {event.virtual_ip}; {len(picture.peers)} others")

    def _fault_of(self, event: Welcome | Resumed) -> str | None:
        """What is wrong with the place that the service gives, as far as it can be told without the machine."""
        network, service = event.network, self._link.remote_address
        if event.virtual_ip not in network:
            return f"{event.virtual_ip} is not in {network}"
        if not self._setup.takes_public_network and not is_for_private_use(network):
            return f"the tenant's network {network} has public addresses; --public-network takes it"
        if service is not None and service in network:
            return f"the service's own address {service} is in the tenant's network {network}"
        return None

    async def _watch(self) -> None:
        async for _ in self._machine.changes():
            here = await self._machine.here()
            if here == self._keeper.here:
                self._keeper.look()  # Somebody may have changed the interface itself.
                continue
            self._keeper.is_at(here)
            local = self._link.local_address
            if local is None or all(local != address.ip for address in here.addresses):
                self._link.reconnect()
            await self._announce()
            await self._keeper.greet()
            self._keeper.look(at_once=True)

    async def _announce(self) -> None:
        """Say where the machine is. Without an address there is nothing to say, and the next one is told at once."""
        endpoints = announced(self._keeper.here, self._setup.listen_port, self._setup.endpoints)
        if endpoints:
            await self._link.update(endpoints=endpoints)

    async def _end(self, tasks: Sequence["asyncio.Future[Any]"]) -> None:
        """End the tasks, and take back what is not to be kept. Raises what has ended the first of them."""
        errors = [error for task in tasks if task.done() and (error := task.exception()) is not None]
        is_expected = all(isinstance(error, EnvironmentFault | JoinRefused) for error in errors)
        # A fault of the agent's own is no reason to take the tunnels down: the next agent goes on with them.
        stays = not is_expected or (self._setup.keeps and self._stopping.is_set())
        if stays:
            self._link.vanish()
        else:
            await self._link.leave()
        await _cancelled(tasks)
        if not stays:
            if self._naming is not None:
                with suppress(EnvironmentFault):
                    self._naming.clear()
            await self._keeper.close()
        if errors:
            raise errors[0]


async def _cancelled(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    """Cancel the tasks, and wait until they have ended. Before Python 3.11 a time limit that passes at the same moment
    hides a cancellation from the task: then it is cancelled again.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)

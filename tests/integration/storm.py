"""Many clients with random faults, over real sockets, and checks of what each of them must be told."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import anyio
import pytest
from websockets.frames import Opcode

from harness.keys import a_key_text
from tests.faults import Faults, Place
from tests.integration import elsewhere
from tests.integration.actor import Actor, assert_same_story, until
from tests.integration.service import PATIENCE, RawClient, Service, join_message
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol

KEY_IN_USE = 4004
_OBSERVER = 0
_KEYS = range(1, 40)
AT_ONCE = 600
"""Large joins, each with its leave: 390 KiB, more than an outbox and the kernel's buffers hold."""
_FAULTS: list[Place] = [
    (MembershipService, "size"),
    (WebSocketPeerNotifier, "welcome"),
    (WebSocketProtocol, "welcome"),
    (PeerTelemetry, "welcomed"),
    (PeerTelemetry, "joined"),
]
"""Calls that a join needs after its commit."""


class Storm:
    """Clients that join, leave and misbehave at random, by a seed, in one tenant of one service."""

    def __init__(self, service: Service, seed: int, *, may_pause: bool = True) -> None:
        """`may_pause`: clients may stop reading for a while. The service's ping timeout has to be longer than that."""
        self.service = service
        self._may_pause = may_pause
        self.random = random.Random(seed)
        self.trail: list[str] = []
        self.members: dict[int, Actor] = {}
        self.stalled: dict[int, Actor] = {}
        self.past: list[Actor] = []
        self.half_open: list[tuple[RawClient, int]] = []
        self.welcomes: Counter[str] = Counter()
        self.hasty: set[str] = set()

    async def run(self, steps: int) -> None:
        await self.join(_OBSERVER)
        actions = self._actions()
        names, weights = zip(*((name, weight) for name, (weight, _) in actions.items()), strict=True)
        for step in range(steps):
            (name,) = self.random.choices(names, weights)
            self.trail.append(name)
            await actions[name][1]()
            if step % 5 == 4:
                await self.settle()
        await self.quiet()

    def _actions(self) -> dict[str, tuple[int, Callable[[], Awaitable[None]]]]:
        return {
            "join": (10, self._join_one),
            "overlapping joins": (4, self._join_some),
            "half a join": (3, self._half_join),
            "the other half": (4, self._finish_join),
            "join and reset at once": (2, self._be_hasty),
            "leave": (8, self._end_one),
            "leave together": (2, self._end_some),
            "come back": (5, self._come_back),
            "a second connection with a live key": (3, self._take_a_live_key),
            "a visitor with garbage": (3, self._visit),
            "stop reading": (3 * self._may_pause, self._pause),
            "go on reading": (3, self._resume),
            "stop reading for ever": (1, self.stall),
            "much at once from elsewhere": (1, self._hear_much),
            "a join that meets a fault": (2, self._meet_a_fault),
        }

    # What clients do

    async def join(self, number: int) -> None:
        """Join. Try again while the service still holds the key's last connection for alive."""
        with anyio.fail_after(PATIENCE):
            while True:
                raw = await RawClient.open(self.service)
                raw.send(Opcode.TEXT, join_message(number).encode())
                if await self._is_member(raw, number):
                    return

    async def _is_member(self, raw: RawClient, number: int) -> bool:
        actor = Actor(raw, number)
        if await actor.answered():
            self.members[number] = actor
            self.welcomes[actor.key] += 1
            return True
        assert actor.closed == (KEY_IN_USE, "key in use")
        await actor.finished()
        return False

    def _newcomers(self, count: int) -> list[int]:
        taken = self.members.keys() | self.stalled.keys() | {number for _, number in self.half_open}
        free = [number for number in _KEYS if number not in taken]
        return self.random.sample(free, min(count, len(free)))

    def _some(self, count: int) -> list[int]:
        candidates = [number for number in self.members if number != _OBSERVER]
        return self.random.sample(candidates, min(count, len(candidates)))

    async def _join_one(self) -> None:
        await self._join_all(self._newcomers(1))

    async def _join_some(self) -> None:
        await self._join_all(self._newcomers(self.random.randint(2, 6)))

    async def _join_all(self, numbers: Iterable[int]) -> None:
        await asyncio.gather(*(self.join(number) for number in numbers))

    async def _half_join(self) -> None:
        for number in self._newcomers(1):
            raw = await RawClient.open(self.service)
            raw.send(Opcode.TEXT, join_message(number).encode()[:20], fin=False)
            self.half_open.append((raw, number))

    async def _finish_join(self) -> None:
        if self.half_open:
            raw, number = self.half_open.pop(self.random.randrange(len(self.half_open)))
            raw.send(Opcode.CONT, join_message(number).encode()[20:])
            if not await self._is_member(raw, number):
                await self.join(number)

    async def _be_hasty(self) -> None:
        for number in self._newcomers(1):
            self.hasty.add(a_key_text(number))
            raw = await RawClient.open(self.service)
            raw.send(Opcode.TEXT, join_message(number).encode())
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            raw.reset()

    async def _end_one(self) -> None:
        for number in self._some(1):
            self._end(number)

    async def _end_some(self) -> None:
        for number in self._some(self.random.randint(2, 5)):
            self._end(number)

    async def _come_back(self) -> None:
        for number in self._some(1):
            self._end(number)
            await self.join(number)

    def _end(self, number: int) -> None:
        actor = self.members.pop(number)
        actor.has_ended = True
        self.past.append(actor)
        writer = actor.raw.writer
        ends: dict[str, Callable[[], object]] = {
            "close frame": lambda: actor.raw.send(Opcode.CLOSE, b"\x03\xe8"),
            "half-close": writer.write_eof,
            "end of stream": writer.close,
            "reset": actor.raw.reset,
            "garbage": lambda: writer.write(b"\xff\xff\xff\xff"),
            "binary": lambda: actor.raw.send(Opcode.BINARY, b"x"),
        }
        name = self.random.choice(list(ends))
        self.trail[-1] += f" ({number}: {name})"
        ends[name]()

    async def _take_a_live_key(self) -> None:
        for number in self._some(1):
            thief = await RawClient.open(self.service)
            thief.send(Opcode.TEXT, join_message(number).encode())
            assert await thief.read_close() == (KEY_IN_USE, "key in use")
            thief.writer.transport.abort()

    async def _visit(self) -> None:
        visitor = await (RawClient.open if self.random.random() < 0.5 else RawClient.connect)(self.service)
        visitor.writer.write(self.random.randbytes(self.random.randint(1, 200)))
        self.random.choice([visitor.reset, visitor.writer.close])()

    async def _pause(self) -> None:
        for number in self._some(1):
            self.members[number].may_read.clear()

    async def _resume(self) -> None:
        for actor in self.members.values():
            actor.may_read.set()

    async def stall(self) -> None:
        for number in self._some(1):
            self.stalled[number] = self.members.pop(number)
            self.stalled[number].may_read.clear()

    async def _hear_much(self) -> None:
        """Send each peer more than an outbox holds, at once. Paused clients read on first, or they were too slow."""
        await self._resume()
        await self.settle()
        elsewhere.come_and_go(self.service, AT_ONCE)

    async def _meet_a_fault(self) -> None:
        """A fault strikes a newcomer's join. It is closed with 1011, or 1013 after its welcome, and joins again."""
        for number in self._newcomers(1):
            owner, name = self.random.choice(_FAULTS)
            self.trail[-1] += f" ({number}: {owner.__name__}.{name})"
            self.hasty.add(a_key_text(number))
            with pytest.MonkeyPatch.context() as patch:
                faults = Faults(patch, [(owner, name)], after=self.random.random() < 0.5)
                faults.arm(0)
                raw = await RawClient.open(self.service)
                raw.send(Opcode.TEXT, join_message(number).encode())
                assert (await raw.read_close())[0] in (1011, 1013)
                raw.writer.transport.abort()
            await self.join(number)

    # What must be true

    async def settle(self) -> None:
        """Wait until the service holds exactly the members, and each client that reads has that picture."""
        sure = {a_key_text(number) for number in self.members}
        perhaps = {a_key_text(number) for number in self.stalled}  # The service gives up each of them at some time.
        await until(lambda: sure <= set(self.service.roster().values()) <= sure | perhaps)
        for actor in self.members.values():
            if actor.may_read.is_set():
                await until(lambda actor=actor: actor.picture() == self.service.roster())  # type: ignore[misc]
        addresses = [actor.roster.virtual_ip for actor in (*self.members.values(), *self.stalled.values())]
        assert len(addresses) == len(set(addresses)), "two hold one address"

    async def quiet(self) -> None:
        """Paused clients read on, stalled ones are given up, and all others leave. Then compare what all were told."""
        await self._resume()
        for raw, _ in self.half_open:
            raw.writer.close()
        await self._flush_out_the_stalled()
        await self.settle()
        observer = self.members.pop(_OBSERVER)
        last = list(self.members.values())
        for number in [*self.members]:
            self.trail.append("leave at the end")
            self._end(number)
        await until(lambda: observer.picture() == {observer.roster.virtual_ip: observer.key} == self.service.roster())
        for actor in (*self.past, *last):
            await actor.finished()
            assert_same_story(actor, observer)
        announced = Counter(notice["public_key"] for notice in observer.notices if "public_key" in notice)
        for key, times in self.welcomes.items():
            if key not in self.hasty and key != observer.key:
                assert announced[key] == times, "announced once for each welcome"
        await observer.finished()

    async def stop(self) -> None:
        """Stop the service: each client that reads is closed and has left, although others do not read."""
        mute = [*self.stalled.values()] or [self.members.pop(number) for number in self._some(1)]
        for actor in mute:
            actor.may_read.clear()
        await self._resume()
        readers = [*self.members.values()]
        stopping = asyncio.create_task(self.service.stop())
        try:
            await until(lambda: all(actor.closed == (1012, "service restart") for actor in readers))
            await until(lambda: self.service.roster() == {})
            assert not stopping.done()
            assert self.service.metric("connections") > 0
        finally:
            for actor in (*mute, *readers, *self.past):
                actor.raw.writer.transport.abort()
            await stopping

    async def _flush_out_the_stalled(self) -> None:
        """Send the tenant large notices until the service has given up all clients that read nothing."""
        held = {actor.key for actor in self.stalled.values()}
        for _ in range(500):
            if not held & set(self.service.roster().values()):
                break
            raw = await RawClient.open(self.service)
            raw.send(Opcode.TEXT, join_message(100, display_name="🦊" * 128).encode())
            self.hasty.add(a_key_text(100))
            await raw.read_frame()
            raw.send(Opcode.CLOSE, b"")
            await until(lambda: a_key_text(100) not in self.service.roster().values())
        self.past.extend(self.stalled.values())
        self.stalled.clear()

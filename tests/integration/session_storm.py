"""Peers of both protocols that come, go, vanish, come back, take over and change, against a naive model."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed

from harness.keys import a_key_text
from tests.integration.actor import until
from tests.integration.service import Client, Service, refused
from tests.integration.v2_client import V2Client, join_v2

KEYS = range(10, 30)
SUPERSEDED = (4505, "superseded")
KEY_IN_USE = (4004, "key in use")
Entry = tuple[str, str, tuple[str, ...]]
"""Of a peer: its address, its name and its endpoints."""


class Listener:
    """A client whose messages are read as they come. One of v2 notes its picture of the others at each revision."""

    def __init__(self, client: Client | V2Client) -> None:
        self.client = client
        self.pictures: dict[int, dict[str, Any]] = {}
        self.closed: tuple[int, str] | None = None
        self._note()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                await self._hear()
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                self.closed = closed.rcvd.code, closed.rcvd.reason

    async def _hear(self) -> None:
        client = self.client
        text = await client.websocket.recv()
        if isinstance(client, V2Client):
            client.told.append(message := json.loads(text))
            client.apply(message)
        else:
            client.messages.append(message := json.loads(text))
            client.roster.apply(message)
        self._note()

    def _note(self) -> None:
        if isinstance(self.client, V2Client):
            self.pictures[self.client.revision] = dict(self.client.peers)

    def others(self) -> dict[str, Entry]:
        """By public key. v1 says nothing of endpoints, and nothing of a name that has changed."""
        if isinstance(self.client, V2Client):
            entries = self.client.peers.values()
            return {
                entry["public_key"]: (entry["virtual_ip"], entry["display_name"], tuple(entry["endpoints"]))
                for entry in entries
            }
        entries_v1 = self.client.roster.peers.values()
        return {entry["public_key"]: (entry["virtual_ip"], "", ()) for entry in entries_v1}


async def storm(nodes: Sequence[Service], seed: int, steps: int) -> None:
    """Run a storm by this seed, and check. Raises AssertionError, which says how to run it again."""
    storm = SessionStorm(nodes, seed)
    try:
        await storm.run(steps)
    except BaseException as fault:
        raise AssertionError(f"again with SESSIONS_SEED={seed}, after: {', '.join(storm.trail)}") from fault
    finally:
        await storm.end()


class SessionStorm:
    """Random steps by a seed, in one tenant of one service, which may have several nodes."""

    def __init__(self, nodes: Sequence[Service], seed: int) -> None:
        self.nodes = nodes
        self.random = random.Random(seed)
        self.trail: list[str] = []
        self.truth: dict[str, Entry] = {}
        """The naive model: who is in the tenant, by public key."""
        self.v1: dict[int, Listener] = {}
        self.v2: dict[int, Listener] = {}
        self.away: dict[int, Listener] = {}
        self.past: list[Listener] = []
        self.observers: list[Listener] = []
        self.joins = self.leaves = 0

    async def run(self, steps: int) -> None:
        for number, node in enumerate(self.nodes):
            self.observers.append(await self._join_v1(number, node))
            self.observers.append(await self._join_v2(5 + number, node))
        began = self.joins
        actions: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "v1 joins": (3, self._a_v1_joins),
            "v2 joins": (6, self._a_v2_joins),
            "v1 leaves": (2, self._a_v1_leaves),
            "v2 leaves": (3, self._a_v2_leaves),
            "v2 vanishes": (6, self._a_v2_vanishes),
            "v2 comes back": (8, self._a_v2_comes_back),
            "v2 takes over": (4, self._a_v2_takes_over),
            "many take over": (1, self._many_take_over),
            "v2 changes": (6, self._a_v2_changes),
            "a stranger with the key": (2, self._a_stranger),
        }
        names, weights = zip(*((name, weight) for name, (weight, _) in actions.items()), strict=True)
        for step in range(steps):
            (name,) = self.random.choices(names, weights)
            self.trail.append(name)
            await actions[name][1]()
            if step % 4 == 3:
                await self.settle()
        await self.settle()
        self._assert_told_once(began)
        self._assert_one_history()

    async def end(self) -> None:
        for listener in (*self.v1.values(), *self.v2.values(), *self.past, *self.observers):
            listener.client.websocket.transport.abort()
            with suppress(Exception):
                await listener.reading

    # Steps

    def _node(self) -> Service:
        return self.random.choice(self.nodes)

    def _newcomer(self) -> int | None:
        free = [number for number in KEYS if a_key_text(number) not in self.truth]
        return self.random.choice(free) if free else None

    def _one_of(self, group: dict[int, Listener]) -> int | None:
        return self.random.choice(list(group)) if group else None

    async def _join_v1(self, number: int, node: Service) -> Listener:
        client = await Client.join(node, number)
        self.truth[a_key_text(number)] = client.virtual_ip, f"peer-{number}", ()
        self.joins += 1
        return Listener(client)

    async def _join_v2(self, number: int, node: Service) -> Listener:
        endpoints = [f"192.168.0.{number}:{self.random.randrange(1, 9)}"]
        client = await V2Client.join(node, number, endpoints=endpoints)
        self.truth[a_key_text(number)] = client.virtual_ip, f"peer-{number}", tuple(endpoints)
        self.joins += 1
        return Listener(client)

    async def _a_v1_joins(self) -> None:
        if (number := self._newcomer()) is not None:
            self.v1[number] = await self._join_v1(number, self._node())

    async def _a_v2_joins(self) -> None:
        if (number := self._newcomer()) is not None:
            self.v2[number] = await self._join_v2(number, self._node())

    async def _a_v1_leaves(self) -> None:
        if (number := self._one_of(self.v1)) is not None:
            listener = self.v1.pop(number)
            assert isinstance(listener.client, Client)
            self.random.choice([listener.client.reset, listener.client.websocket.transport.abort])()
            await self._has_left(number, listener)

    async def _a_v2_leaves(self) -> None:
        if (number := self._one_of(self.v2)) is not None:
            listener = self.v2.pop(number)
            await listener.client.websocket.close()
            await self._has_left(number, listener)

    async def _has_left(self, number: int, listener: Listener) -> None:
        del self.truth[a_key_text(number)]
        self.leaves += 1
        self.past.append(listener)
        await self.settle()  # Its key is free for the next one.

    async def _a_v2_vanishes(self) -> None:
        if (number := self._one_of(self.v2)) is not None:
            self.away[number] = listener = self.v2.pop(number)
            assert isinstance(listener.client, V2Client)
            listener.client.reset()

    async def _a_v2_comes_back(self) -> None:
        if (number := self._one_of(self.away)) is not None:
            self.v2[number] = await self._resumed(number, self.away.pop(number))

    async def _a_v2_takes_over(self) -> None:
        if (number := self._one_of(self.v2)) is not None:
            before = self.v2[number]
            self.v2[number] = await self._resumed(number, before)
            await until(lambda: before.closed == SUPERSEDED)

    async def _many_take_over(self) -> None:
        if (number := self._one_of(self.v2)) is not None:
            before = self.v2[number]
            rivals = await asyncio.gather(*(self._resumed(number, before) for _ in range(4)))
            await until(lambda: sum(rival.closed == SUPERSEDED for rival in rivals) == len(rivals) - 1)
            (self.v2[number],) = (rival for rival in rivals if rival.closed is None)
            self.past += [rival for rival in rivals if rival.closed is not None]

    async def _resumed(self, number: int, before: Listener) -> Listener:
        assert isinstance(before.client, V2Client)
        self.past.append(before)
        address, name, _ = self.truth[a_key_text(number)]
        client = await before.client.resume(self._node(), display_name=name)
        assert (client.session, client.virtual_ip) == (before.client.session, address)
        return Listener(client)

    async def _a_v2_changes(self) -> None:
        if (number := self._one_of(self.v2)) is not None:
            address, name, endpoints = self.truth[a_key_text(number)]
            if self.random.random() < 0.5:
                name = f"renamed-{self.random.randrange(100)}"
            else:
                endpoints = tuple(f"192.168.{self.random.randrange(9)}.1:{port}" for port in range(1, 3))
            client = self.v2[number].client
            assert isinstance(client, V2Client)
            await client.say({"type": "update", "display_name": name, "endpoints": list(endpoints)})
            self.truth[a_key_text(number)] = address, name, endpoints

    async def _a_stranger(self) -> None:
        if (number := self._one_of({**self.v2, **self.away, **self.v1})) is not None:
            stranger = await self._node().connect(subprotocols=["wg-orchestrator.v2"])
            lie = {"session": self.random.choice(["", "x" * 32]), "revision": self.random.randrange(99)}
            await stranger.send(json.dumps(join_v2(number, resume=lie)))
            with suppress(ConnectionClosed):
                await stranger.recv()
            assert (stranger.close_code, stranger.close_reason) == KEY_IN_USE
            assert await refused(self._node(), json.dumps(join_v2(number))) in (KEY_IN_USE, (4501, "malformed join"))

    # What must be true

    async def settle(self) -> None:
        """Wait until everybody who is connected has the model's picture."""
        for listener in (*self.observers, *self.v1.values(), *self.v2.values()):
            try:
                await until(lambda listener=listener: self._is_true(listener))  # type: ignore[misc]
            except TimeoutError:
                raise AssertionError(f"{listener.others()}, and in truth {self.truth}") from None
            assert not listener.reading.done(), listener.reading

    def _is_true(self, listener: Listener) -> bool:
        client = listener.client
        own = a_key_text(client.number) if isinstance(client, V2Client) else self._key_of(listener)
        return listener.others() == self._picture(listener, own)

    def _key_of(self, listener: Listener) -> str:
        assert isinstance(listener.client, Client)
        own = listener.client.virtual_ip
        return next(key for key, (address, _, _) in self.truth.items() if address == own)

    def _picture(self, listener: Listener, own: str) -> dict[str, Entry]:
        others = {key: entry for key, entry in self.truth.items() if key != own}
        if isinstance(listener.client, V2Client):
            return others
        return {key: (address, "", ()) for key, (address, _, _) in others.items()}

    def _assert_told_once(self, began: int) -> None:
        """Observers were told of each join and each leave once, and of nobody who was away."""
        for observer in self.observers:
            if isinstance(observer.client, V2Client):
                kinds = [message["type"] for message in observer.client.told[1:]]
                told = kinds.count("joined"), kinds.count("left")
            else:
                removed = sum("removed_peer" in message for message in observer.client.messages[1:])
                told = len(observer.client.messages) - 1 - removed, removed
            # Some of the joins before it all began were in its welcome.
            assert self.joins - began <= told[0] <= self.joins, self.trail
            assert told[1] == self.leaves, self.trail

    def _assert_one_history(self) -> None:
        """Pictures of equal revision are equal, but for the two whose pictures they are."""
        at: dict[int, list[tuple[str, dict[str, Any]]]] = {}
        for listener in (*self.observers, *self.v2.values(), *self.past):
            if isinstance(listener.client, V2Client):
                for revision, picture in listener.pictures.items():
                    at.setdefault(revision, []).append((a_key_text(listener.client.number), picture))
        for revision, pictures in at.items():
            owner, first = pictures[0]
            for other, picture in pictures[1:]:
                ours = {key: peer for key, peer in first.items() if key != other}
                theirs = {key: peer for key, peer in picture.items() if key != owner}
                assert ours == theirs, f"revision {revision}: {owner} and {other}; {self.trail}"

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog
from nats.aio.msg import Msg

from wg_orchestrator.adapters.nats.background import Background
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.names import process_of
from wg_orchestrator.adapters.nats.notes import Notes
from wg_orchestrator.adapters.nats.timings import USUAL, Timings
from wg_orchestrator.domain.nodes import Answer, Answers, Node, NodeState, Note, Question
from wg_orchestrator.domain.stay import StayId

logger = structlog.get_logger("wg_orchestrator.nats")

_PRESENCE = 0.5
"""Seconds between two words of a node that it is there."""
_SILENT = 1.75
"""Seconds without one after which it counts as silent."""
_DOWN = 12.0
"""Seconds without one after which it counts as down: longer than the life of a lease."""
_FORGOTTEN = 86_400.0
_PATIENCE = 1.0
"""Seconds that answers are waited for."""
_CLOSING_TIME = 0.25


@dataclass(slots=True)
class _Seen:
    process: str
    since: int
    peers: int
    heard: float
    heard_at: int
    has_stopped: bool = False


class NatsNodes:
    """The Nodes that share a NATS server. Each says now and then that it is there, and answers what the others ask.

    Nothing of this is stored. A node of which nothing was heard since this one has started is not known.
    """

    def __init__(
        self, name: str, process: str, stream: str, connection: ConnectionOptions, timings: Timings = USUAL
    ) -> None:
        """`process` is what the ids of stays begin with that begin here."""
        self._name = name
        self._prefix = f"{stream}-nodes"
        self.connection = Connection(connection, timings)
        """Made within `running`, and again whenever it is lost."""
        self._timings = timings
        self._process = process
        self._since = int(time.time())
        self._seen: dict[str, _Seen] = {}
        self._answer: Callable[[Question], Answer] = lambda _: {}
        self._peers: Callable[[], int] = lambda: 0
        self._asked: dict[str, asyncio.Queue[tuple[str, Answer]]] = {}
        self._questions = 0
        self._notes = Notes(process, name)

    def refused(self, cause: str, tenant_id: str | None) -> None:
        self._notes.tell("refused", self._name, tenant_id, cause)

    def hear(self, hearer: Callable[[Note], None]) -> None:
        self._notes.hear(hearer)

    def answer_with(self, answer: Callable[[Question], Answer], peers: Callable[[], int]) -> None:
        self._answer, self._peers = answer, peers

    def nodes(self) -> list[Node]:
        now = time.monotonic()
        found = [Node(self._name, NodeState.UP, self._since, self._peers())]
        for name, seen in list(self._seen.items()):
            if now - seen.heard > _FORGOTTEN:
                del self._seen[name]
                continue
            state = self._state(seen, now)
            since = seen.since if state is NodeState.UP else seen.heard_at
            found.append(Node(name, state, since, 0 if state is NodeState.DOWN else seen.peers))
        return sorted(found, key=lambda node: node.name)

    def began(self, stay_id: StayId) -> str | None:
        process = process_of(stay_id)
        if process == self._process:
            return self._name
        return next((name for name, seen in self._seen.items() if seen.process == process), None)

    def is_recorded_here(self, stay_id: StayId) -> bool:
        process = process_of(stay_id)
        if process == self._process:
            return True
        now = time.monotonic()
        return not any(
            seen.process == process and self._state(seen, now) is NodeState.UP for seen in self._seen.values()
        )

    async def ask(self, question: Question) -> Answers:
        self._questions += 1
        number = f"{self._process}.{self._questions}"
        answers: asyncio.Queue[tuple[str, Answer]] = asyncio.Queue()
        self._asked[number] = answers
        answered = {self._name: self._answer(question)}
        try:
            with anyio.move_on_after(_PATIENCE):
                await self.connection.send(f"{self._prefix}.ask", _json({"number": number, "ask": question}), None)
                while self._awaited() - answered.keys():
                    name, answer = await answers.get()
                    answered[name] = answer
        except NotHeard as error:
            logger.debug("nodes not asked", error=str(error))
        finally:
            del self._asked[number]
        return Answers(answered, tuple(sorted(self._awaited() - answered.keys())))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer, and hear of the others, meanwhile."""
        work = Background(self._run)
        try:
            yield
        finally:
            await work.end(_CLOSING_TIME)
            with anyio.move_on_after(_CLOSING_TIME, shield=True):
                try:
                    await self._say(has_stopped=True)
                    await self.connection.client.flush()
                except Exception as error:
                    logger.debug("nodes not told of the end", error=str(error))
            with anyio.move_on_after(_CLOSING_TIME, shield=True):
                await self.connection.close()

    def _awaited(self) -> set[str]:
        now = time.monotonic()
        return {name for name, seen in self._seen.items() if self._state(seen, now) is not NodeState.DOWN}

    def _state(self, seen: _Seen, now: float) -> NodeState:
        if seen.has_stopped or now - seen.heard > _DOWN:
            return NodeState.DOWN
        return NodeState.SILENT if now - seen.heard > _SILENT else NodeState.UP

    async def _run(self) -> None:
        subscribed, was_here = 0, False
        while True:
            try:
                await self.connection.connect()
                client = self.connection.client
                if id(client) != subscribed:  # The client itself renews its subscriptions when it connects again.
                    await client.subscribe(f"{self._prefix}.>", cb=self._hear)
                    subscribed = id(client)
                await self._say()
                if not was_here:
                    was_here = True
                    self._notes.tell("node_up", self._name)
                self._watch()
                for said in self._notes.take():
                    await self.connection.send(f"{self._prefix}.note", _json(said), None)
            except NotHeard as error:
                logger.debug("not said to be there", error=str(error))
            except Exception:
                logger.exception("nodes failed")
            await anyio.sleep(_PRESENCE)

    def _watch(self) -> None:
        now = time.monotonic()
        states = {name: self._state(seen, now) for name, seen in self._seen.items()}
        down = {name for name, state in states.items() if state is NodeState.DOWN}
        self._notes.see(states.keys() - down, down)

    async def _say(self, has_stopped: bool = False) -> None:
        said = {"node": self._name, "process": self._process, "since": self._since, "peers": self._peers()}
        await self.connection.send(f"{self._prefix}.here", _json({**said, "stopped": has_stopped}), None)

    async def _hear(self, message: Msg) -> None:
        try:
            said = json.loads(message.data)
            match message.subject.removeprefix(f"{self._prefix}."):
                case "here":
                    self._see(said)
                case "ask":
                    await self._be_asked(said)
                case "answer":
                    self._take(said)
                case "note":
                    self._notes.heard(said)
                case _:
                    pass
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, NotHeard) as error:
            logger.debug("not understood", subject=message.subject, error=str(error)[:100])

    def _see(self, said: dict[str, Any]) -> None:
        if said["process"] == self._process:
            return
        name = str(said["node"])
        if name == self._name:  # Two nodes of one name: their processes tell them apart.
            name = f"{name} ({said['process']})"
        seen = _Seen(str(said["process"]), int(said["since"]), int(said["peers"]), time.monotonic(), int(time.time()))
        seen.has_stopped = said["stopped"] is True
        known = self._seen.get(name)
        if seen.has_stopped and known is not None and known.process != seen.process:
            return  # The one that was there before; its successor is there already.
        self._seen[name] = seen

    async def _be_asked(self, said: dict[str, Any]) -> None:
        number = str(said["number"])
        if number.partition(".")[0] != self._process:
            answer = {
                "number": number,
                "node": self._name,
                "process": self._process,
                "answer": self._answer(said["ask"]),
            }
            await self.connection.send(f"{self._prefix}.answer", _json(answer), None)

    def _take(self, said: dict[str, Any]) -> None:
        answers = self._asked.get(str(said["number"]))
        if answers is not None and isinstance(said["answer"], dict):
            name = str(said["node"])
            answers.put_nowait((f"{name} ({said['process']})" if name == self._name else name, said["answer"]))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

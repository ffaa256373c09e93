import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex

import anyio
from nats.aio.msg import Msg

from wg_orchestrator.adapters.nats.connection import Connection, NotHeard
from wg_orchestrator.adapters.nats.stream import Stream
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.timings import Timings

_ACKNOWLEDGEMENT = "$JS.ACK."

Handler = Callable[[str, int, bytes, float, bool], None]
"""Takes a message's subject, sequence, payload and time, in seconds by the stream's clock; and whether it was the last
one in the stream when it was sent.
"""


class FeedBroken(Exception):
    """A message may be missing: start again from a fresh snapshot."""


class Feed:
    """Brings the stream's messages in their order, without a gap, until it breaks. Each subject's last one comes first.

    One run of a consumer that the server forgets: nothing is acknowledged or sent again. What shows that a message is
    missing, its number or a heartbeat's, breaks the feed.
    """

    def __init__(self, connection: Connection, stream: Stream, handler: Handler, timings: Timings) -> None:
        self._client = connection.client
        self._stream = stream
        self._handler = handler
        self._timings = timings
        self._reconnects = self._client.stats["reconnects"]
        self._delivered = 0
        self._silences = 0
        self._broken: Exception | None = None
        self._breaks = anyio.Event()
        self._open = True

    @asynccontextmanager
    async def opened(self, subjects: Subjects) -> AsyncIterator[None]:
        """Receive messages inside the block. Raises NotHeard or StoreUnusable."""
        inbox = self._client.new_inbox()
        # Flow control bounds what waits here. The client library's own bound would drop messages.
        subscription = await self._client.subscribe(
            inbox, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )
        try:
            await self._stream.consume(subjects, f"feed-{token_hex(8)}", inbox)
            yield
        finally:
            self._open = False
            if not self._client.is_closed:
                await subscription.unsubscribe()

    def is_sound(self) -> bool:
        """Whether it still brings every message, as far as this node can know."""
        connected = self._client.is_connected and self._client.stats["reconnects"] == self._reconnects
        return connected and self._broken is None and self._open

    async def run(self) -> None:
        """Watch the feed. Raises FeedBroken as soon as a message may be missing."""
        timings = self._timings
        # Heartbeats that are missing are counted, not timed: if this process stood still, they may all have arrived.
        most_missing = round(timings.silence / timings.heartbeat)
        while self._broken is None:
            with anyio.move_on_after(timings.heartbeat):
                await self._breaks.wait()
            if not self.is_sound():
                self._break(FeedBroken("connection lost"))
            elif self._silences > most_missing:
                self._break(FeedBroken(f"nothing heard for {timings.silence:g} s"))
            self._silences += 1
        raise self._broken

    async def _on_message(self, message: Msg) -> None:
        if not self._open or self._broken is not None:
            return
        self._silences = 0
        # Headers can't tell control messages: whoever stores a message writes its headers.
        if not message.reply.startswith(_ACKNOWLEDGEMENT):
            await self._on_control(message.reply, message.headers or {})
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<number>.<nanoseconds>.<pending>; with domains, there are
        # two more tokens after the second, and may be more at the end.
        tokens = message.reply.split(".")
        first = 5 if len(tokens) == 9 else 7
        number = int(tokens[first + 1])
        if number != self._delivered + 1:
            self._break(FeedBroken(f"message {number} came after {self._delivered}"))
            return
        self._delivered = number
        try:
            is_last = tokens[first + 3] == "0"
            self._handler(message.subject, int(tokens[first]), message.data, int(tokens[first + 2]) / 1e9, is_last)
        except Exception as error:  # Whatever went wrong, a node must not go on with a part of the messages.
            self._break(error)

    async def _on_control(self, reply: str, headers: dict[str, str]) -> None:
        # Flow control asks whether all earlier messages are handled. They are.
        answer_to = reply or headers.get("Nats-Consumer-Stalled", "")
        if answer_to:
            await self._client.publish(answer_to)
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) > self._delivered:
            self._break(FeedBroken(f"message {last} was sent, {self._delivered} came"))

    def _break(self, cause: Exception) -> None:
        self._broken = self._broken or cause
        self._breaks.set()


Moment = tuple[int, int]
"""The number of an era, and a sequence in it."""


class Position:
    """How far the feed has come. Others can wait for it. A new era begins with each epoch of the stream."""

    def __init__(self) -> None:
        self._era = 0
        self._sequence = 0
        self._waiting: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._count = 0
        self._is_at_end = False
        self._at_end = anyio.Event()

    @property
    def sequence(self) -> int:
        return self._sequence

    @property
    def now(self) -> Moment:
        return self._era, self._sequence

    def is_over(self, since: Moment) -> bool:
        """Whether the era of that moment has ended."""
        return since[0] != self._era

    def reach(self, sequence: int, *, is_at_end: bool = False) -> None:
        """Everything up to this sequence has been applied. `is_at_end`: there was nothing after it."""
        self._sequence = sequence
        self._is_at_end = is_at_end
        if is_at_end:
            self._at_end.set()
        while self._waiting and self._waiting[0][0] <= sequence:
            _tell(heapq.heappop(self._waiting)[2], True)

    async def end(self) -> None:
        """Return when everything that was in the stream has been applied, without an `await` in between."""
        while not self._is_at_end:
            self._at_end = anyio.Event()
            await self._at_end.wait()

    def begin(self, sequence: int) -> None:
        """Begin a new era at this sequence. Whoever waits is told that the message does not come any more."""
        self._era += 1
        self._sequence = sequence
        waiting, self._waiting = self._waiting, []
        for _, _, waiter in waiting:
            _tell(waiter, False)

    async def wait(self, sequence: int, since: Moment) -> None:
        """Return when everything up to this sequence has been applied, that of a message sent after the moment `since`.

        Raises NotHeard if the stream has begun anew since: in another one's numbers the sequence means nothing.
        """
        if self.is_over(since) or sequence <= since[1]:
            raise NotHeard("the store has begun anew")
        if self._sequence < sequence:
            self._count += 1
            waiter = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (sequence, self._count, waiter))
            if not await waiter:
                raise NotHeard("the store has begun anew")


def _tell(waiter: "asyncio.Future[bool]", has_come: bool) -> None:
    if not waiter.done():
        waiter.set_result(has_come)

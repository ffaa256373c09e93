import asyncio
from collections.abc import Callable

import anyio
import structlog

from wg_orchestrator.adapters.nats import admission_messages as messages
from wg_orchestrator.adapters.nats.connection import Connection, NotHeard
from wg_orchestrator.adapters.nats.epoch import read_epoch
from wg_orchestrator.adapters.nats.feed import Feed, FeedBroken, Position
from wg_orchestrator.adapters.nats.names import Unreadable
from wg_orchestrator.adapters.nats.stream import StoreUnusable, Stream
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.adapters.nats.together import until_one_fails
from wg_orchestrator.domain.admission import Revocation, RevocationId

logger = structlog.get_logger("wg_orchestrator.nats")


class RevocationFeed:
    """Follows the revocations in the stream: it knows all of them, or says that it may not."""

    def __init__(self, connection: Connection, stream: Stream, process: str, timings: Timings) -> None:
        self._connection = connection
        self._stream = stream
        self._process = process
        self._timings = timings
        self._feed: Feed | None = None
        self.fault = ""
        """Why it does not know all revocations now, as far as that is known."""
        self._epoch = ""
        self.position = Position()
        """How far the present feed has come."""
        self._revocations: dict[RevocationId, Revocation] = {}
        self._followers: list[Callable[[RevocationId, Revocation | None], None]] = []

    def __contains__(self, revocation_id: RevocationId) -> bool:
        return revocation_id in self._revocations

    def is_sound(self) -> bool:
        """Whether it knows all that there are, as far as this node can know."""
        return self._feed is not None and self._feed.is_sound()

    def follow(self, follower: Callable[[RevocationId, Revocation | None], None]) -> None:
        """See AdmissionRecords.follow."""
        for revocation in self._revocations.values():
            follower(revocation.id, revocation)
        self._followers.append(follower)

    async def run(self) -> None:
        while True:
            try:
                await self._connection.connect()
                await self._follow()
            except (NotHeard, StoreUnusable, FeedBroken) as error:
                if self._feed is not None or str(error) != self.fault:
                    logger.warning("feed of revocations interrupted", error=str(error))
                self.fault = str(error)
            except Exception:
                logger.exception("feed of revocations failed")
            finally:
                self._feed = None
            await anyio.sleep(self._timings.reconnect)

    async def _follow(self) -> None:
        """Follow one feed until it breaks."""
        epoch = await self._stream.ensure()
        subjects = self._stream.subjects_of(epoch)
        gathered, position = dict[RevocationId, Revocation](), Position()
        is_gathering = True

        def see(subject: str, sequence: int, payload: bytes, _: float, is_last: bool) -> None:
            if subject == subjects.which_epoch:
                now = read_epoch(sequence, payload)
                if now is None or now.name != epoch.name:
                    raise FeedBroken("the store has begun anew")
            else:
                self._see(gathered if is_gathering else None, subjects, subject, payload)
            position.reach(sequence, is_at_end=is_last)

        feed = Feed(self._connection, self._stream, see, self._timings)

        async def tend() -> None:
            nonlocal is_gathering
            since = position.now
            await position.wait(await self._stream.mark(subjects, self._process), since)
            # No `await` from here on: what was gathered is what there is.
            is_gathering = False
            self._stream.subjects = subjects
            self.position = position
            lost = self._reconcile(gathered, is_new=epoch.name != self._epoch)
            self._epoch, self._feed = epoch.name, feed
            for revocation in lost:
                payload = messages.encode_revocation(revocation)
                await self._stream.replace(subjects.of("revocation", revocation.id), payload)
            await asyncio.Event().wait()

        async with feed.opened(subjects):
            await until_one_fails(feed.run, tend)

    def _see(
        self, gathered: dict[RevocationId, Revocation] | None, subjects: Subjects, subject: str, payload: bytes
    ) -> None:
        kind, *tokens = subjects.split(subject)
        if kind != "revocation" or len(tokens) != 1:
            return
        revocation_id = RevocationId(tokens[0])
        try:
            revocation = messages.read_revocation(revocation_id, payload)
        except Unreadable as error:
            logger.error("unreadable revocation", id=revocation_id, error=str(error))
            return
        if gathered is None:
            self._tell(revocation_id, revocation)
        elif revocation is not None:
            gathered[revocation_id] = revocation
        else:
            gathered.pop(revocation_id, None)

    def _reconcile(self, gathered: dict[RevocationId, Revocation], is_new: bool) -> list[Revocation]:
        """Know what the stream says, and nothing else; but if it has begun anew, it has lost what is known besides.
        Returns that.
        """
        missing = [revocation for revocation in self._revocations.values() if revocation.id not in gathered]
        lost = missing if is_new and self._epoch else []
        for revocation in missing if not lost else []:
            self._tell(revocation.id, None)
        for revocation in gathered.values():
            self._tell(revocation.id, revocation)
        return lost

    def _tell(self, revocation_id: RevocationId, revocation: Revocation | None) -> None:
        if self._revocations.get(revocation_id) == revocation:
            return
        if revocation is None:
            del self._revocations[revocation_id]
        else:
            self._revocations[revocation_id] = revocation
        for follower in self._followers:
            follower(revocation_id, revocation)

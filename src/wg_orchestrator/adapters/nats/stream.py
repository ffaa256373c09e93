import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import structlog

from wg_orchestrator.adapters.nats.answer import parse_answer, sequence_of
from wg_orchestrator.adapters.nats.connection import Connection, NotHeard
from wg_orchestrator.adapters.nats.epoch import Epoch, beginning, new_epoch_name, read_epoch
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions, needed_settings, stream_config
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.timings import USUAL, Timings

logger = structlog.get_logger("wg_orchestrator.nats")

CONSUMER_ATTEMPTS = 5
"""Of the one request that takes the longer the more there is in the stream, and is lost while the servers elect."""
_NOT_FOUND = 404
_WRONG_LAST_SEQUENCE = {10071, 10164}
"""The second one is for a batch, if what came first is still being replicated."""
_BATCH_NOT_TAKEN = {10176, 10210}
"""Too many batches at once: the first message of this one was not taken, or not the last one either."""


class Refused(Exception):
    """Another message came first on one of the subjects. Nothing was stored."""


class StoreUnusable(Exception):
    """NATS answers, but there is no stream that can be used."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to be stored if `after` is still the last one on its subject (0: if there is none)."""

    subject: str
    payload: bytes
    after: int
    ttl: int = 0
    """Seconds until the stream forgets it; 0 is never."""


class Stream:
    """The one stream that all nodes share, by JetStream's own protocol of requests.

    It keeps the last message of each subject. Each method raises NotHeard unless an answer comes in time, and
    StoreUnusable if that is an error that says nothing about what was asked.
    """

    def __init__(self, connection: Connection, options: StreamOptions, timings: Timings = USUAL) -> None:
        self._connection = connection
        self._options = options
        self._timings = timings
        self._batches = 0
        # Unique among all nodes: the server would take two batches of one name for one batch.
        self._batch_prefix = token_hex(8)
        self._warned = False
        self.subjects = Subjects(options.name, "none")
        """The subjects of the epoch that this node's ledger is in."""

    async def ensure(self, base: int = 0) -> Epoch:
        """Find the stream and its epoch, or make them; a new epoch has this base. Raises StoreUnusable if it is another
        service's, or set up so that it does not keep what it is told.
        """
        name = self._options.name
        found = await self._find(f"STREAM.INFO.{name}", {})
        if found is None:
            if not self._options.may_be_made:
                raise StoreUnusable(f"there is no stream {name}")
            found = await self._ask(f"STREAM.CREATE.{name}", stream_config(self._options))
        config = found["config"]
        wrong = [
            f"{setting} {json.dumps(config.get(setting, default))}, not {json.dumps(needed)}"
            for setting, needed, default in needed_settings(self._options)
            if config.get(setting, default) != needed
        ]
        if wrong:
            raise StoreUnusable(f"stream {name} has {'; '.join(wrong)}")
        if config.get("metadata", {}).get("network") != self._options.network:
            raise StoreUnusable(f"stream {name} is not for network {self._options.network}")
        if config["num_replicas"] < 3 and not self._warned:
            self._warned = True
            logger.warning("few replicas", stream=name, replicas=config["num_replicas"], recommended=3)
        while True:
            sequence, payload = await self.last(self.subjects.which_epoch)
            epoch = read_epoch(sequence, payload)
            if epoch is not None:
                return epoch
            await self.begin(sequence, base)

    def subjects_of(self, epoch: Epoch) -> Subjects:
        return Subjects(self._options.name, epoch.name, self._options.followed)

    async def begin(self, after: int, base: int) -> None:
        """Begin a new epoch after the one with that sequence, unless another node has done so."""
        try:
            await self.publish([Entry(self.subjects.which_epoch, beginning(new_epoch_name(), base), after)])
        except Refused:
            logger.debug("the epoch was begun elsewhere")

    async def publish(self, entries: Sequence[Entry]) -> int:
        """Store all entries or none, in consecutive messages. Returns the sequence of the last one.

        Raises Refused if one of them did not know its subject's last message.
        """
        self._batches += 1
        batch = f"{self._batch_prefix}-{self._batches}"
        for number, entry in enumerate(entries, 1):
            headers = {"Nats-Expected-Last-Subject-Sequence": str(entry.after)}
            if entry.ttl:
                headers["Nats-TTL"] = str(entry.ttl)
            if len(entries) > 1:
                headers["Nats-Batch-Id"] = batch
                headers["Nats-Batch-Sequence"] = str(number)
            if number < len(entries):
                await self._connection.send(entry.subject, entry.payload, headers)
        if len(entries) > 1:
            headers["Nats-Batch-Commit"] = "1"
        answer = await self._request(entry.subject, entry.payload, headers)
        error = answer.get("error")
        if error is None:
            return sequence_of(answer)
        if error.get("err_code") in _WRONG_LAST_SEQUENCE:
            raise Refused(error["description"])
        if error.get("err_code") in _BATCH_NOT_TAKEN:
            raise NotHeard(error["description"])
        raise StoreUnusable(error["description"])

    async def replace(self, subject: str, payload: bytes, ttl: int = 0) -> int:
        """Store a message, whatever the last one on its subject says. Returns its sequence."""
        while True:
            after, _ = await self.last(subject)
            try:
                return await self.publish([Entry(subject, payload, after, ttl)])
            except Refused:
                continue

    async def mark(self, subjects: Subjects, process: str) -> int:
        """Store an empty message. A node that has seen its sequence has seen all earlier messages."""
        answer = await self._request(subjects.sync(process), b"", {"Nats-TTL": "60"})
        if "error" in answer:
            raise StoreUnusable(answer["error"]["description"])
        return sequence_of(answer)

    async def last(self, subject: str) -> tuple[int, bytes]:
        """The sequence and payload of the last message on a subject; 0 if there is none."""
        found = await self._find(f"STREAM.MSG.GET.{self._options.name}", {"last_by_subj": subject})
        if found is None:
            return 0, b""
        try:
            return sequence_of(found["message"]), base64.b64decode(found["message"].get("data", ""))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise NotHeard(f"{subject}: no message in the answer") from error

    async def subjects_with_messages(self, pattern: str) -> list[str]:
        """The subjects like this pattern on which there is a message."""
        answer = await self._ask(f"STREAM.INFO.{self._options.name}", {"subjects_filter": pattern})
        found = answer.get("state", {}).get("subjects")
        return sorted(found) if isinstance(found, dict) else []

    async def consume(self, subjects: Subjects, name: str, inbox: str) -> None:
        """Have the feed sent to `inbox`: the last message of each subject, in the stream's order, and what follows."""
        config = {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subjects": subjects.feed,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(self._timings.heartbeat * 1e9),
            "inactive_threshold": int(10 * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
        }
        stream = self._options.name
        for attempt in range(1, CONSUMER_ATTEMPTS + 1):
            try:
                await self._ask(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
                return
            except NotHeard:
                if attempt == CONSUMER_ATTEMPTS:
                    raise

    async def _find(self, what: str, body: dict[str, Any]) -> dict[str, Any] | None:
        answer = await self._request(f"$JS.API.{what}", json.dumps(body).encode(), None)
        error = answer.get("error")
        if error is None:
            return answer
        if error["code"] == _NOT_FOUND:
            return None
        raise StoreUnusable(f"{what}: {error['description']}")

    async def _ask(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        found = await self._find(what, body)
        if found is None:
            raise StoreUnusable(f"{what}: not found")
        return found

    async def _request(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> dict[str, Any]:
        return parse_answer(subject, await self._connection.ask(subject, payload, headers, self._timings.request))

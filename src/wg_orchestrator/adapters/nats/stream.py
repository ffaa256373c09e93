import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal

import structlog

from wg_orchestrator.adapters.nats.claim import Subjects
from wg_orchestrator.adapters.nats.connection import Connection, NotHeard

logger = structlog.get_logger("wg_orchestrator.nats")

REQUEST_TIMEOUT = 1.0
CONSUMER_ATTEMPTS = 5
"""Of the one request that takes the longer the more there is in the stream, and is lost while the servers elect."""
_NOT_FOUND = 404
_WRONG_LAST_SEQUENCE = {10071, 10164}
"""The second one is for a batch, if what came first is still being replicated."""
_BATCH_NOT_TAKEN = {10176, 10210}
"""Too many batches at once: the first message of this one was not taken, or not the last one either."""


class Refused(Exception):
    """Somebody else's message came first on one of the subjects; nothing was stored."""


class StoreUnusable(Exception):
    """NATS answers, but the stream is not as it must be, or can't be had."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    name: str
    network: str
    replicas: int = 1
    storage: Literal["memory", "file"] = "memory"


@dataclass(frozen=True, slots=True)
class StreamState:
    created: str
    last_revision: int


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

    def __init__(self, connection: Connection, options: StreamOptions) -> None:
        self._connection = connection
        self._options = options
        self._batches = 0
        # Among all nodes: the server would take two batches of one name for one.
        self._batch_prefix = token_hex(8)
        self._warned = False
        self.subjects = Subjects(options.name)

    async def ensure(self) -> StreamState:
        """Find the stream, or make it. Raises StoreUnusable if it is another service's."""
        name = self._options.name
        found = await self._find(f"STREAM.INFO.{name}", {})
        if found is None:
            found = await self._ask(f"STREAM.CREATE.{name}", self._config())
        config = found["config"]
        for field in ("subjects", "max_msgs_per_subject", "allow_atomic", "allow_msg_ttl"):
            if config.get(field) != self._config()[field]:
                raise StoreUnusable(f"stream {name} has {field} {config.get(field)}, not {self._config()[field]}")
        if config.get("metadata", {}).get("network") != self._options.network:
            raise StoreUnusable(f"stream {name} is not for network {self._options.network}")
        if config["num_replicas"] < 3 and not self._warned:
            self._warned = True
            logger.warning("few replicas", stream=name, replicas=config["num_replicas"], recommended=3)
        return StreamState(found["created"], found["state"]["last_seq"])

    def _config(self) -> dict[str, Any]:
        options = self._options
        return {
            "name": options.name,
            "subjects": [self.subjects.all],
            "storage": options.storage,
            "num_replicas": options.replicas,
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "allow_msg_ttl": True,
            "allow_atomic": True,
            "metadata": {"network": options.network},
        }

    async def publish(self, entries: Sequence[Entry]) -> int:
        """Store all entries or none, one after the other in the stream. Returns the last one's revision.

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
            return int(answer["seq"])
        if error.get("err_code") in _WRONG_LAST_SEQUENCE:
            raise Refused(error["description"])
        if error.get("err_code") in _BATCH_NOT_TAKEN:
            raise NotHeard(error["description"])
        raise StoreUnusable(error["description"])

    async def mark(self, process: str) -> int:
        """Store a message that says nothing. Whoever has seen its revision has seen all that was stored before."""
        answer = await self._request(self.subjects.sync(process), b"", {"Nats-TTL": "60"})
        if "error" in answer:
            raise StoreUnusable(answer["error"]["description"])
        return int(answer["seq"])

    async def last(self, subject: str) -> tuple[int, bytes]:
        """The revision and payload of the last message on a subject; 0 if there is none."""
        found = await self._find(f"STREAM.MSG.GET.{self._options.name}", {"last_by_subj": subject})
        if found is None:
            return 0, b""
        return found["message"]["seq"], base64.b64decode(found["message"].get("data", ""))

    async def consume(self, name: str, inbox: str, heartbeat: float) -> None:
        """Have the feed sent to `inbox`: the last message of each subject, in the stream's order, and what follows."""
        config = {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subjects": self.subjects.feed,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(heartbeat * 1e9),
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
        parsed: dict[str, Any] = json.loads(await self._connection.ask(subject, payload, headers, REQUEST_TIMEOUT))
        return parsed

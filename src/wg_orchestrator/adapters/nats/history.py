import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

import anyio
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig

from wg_orchestrator.adapters.nats.answer import parse_answer
from wg_orchestrator.adapters.nats.connection import Connection, NotHeard
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.timings import USUAL, Timings
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.history import Holding, Record
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.ports import TenantRepository
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant_id import TenantId

_MOST_BYTES = 1 << 30
_MOST_OF_ONE = 10_000
"""Messages that are kept of one address."""
_AT_ONCE = 500
_IN_DOUBT = 30.0
"""Seconds that a stay must be old before it counts as ended because it is not there."""
_NOT_FOUND = 404


class NatsHistory:
    """The History in a JetStream stream of its own, in file storage, that all nodes share.

    Each record is a message on the subject of its address. Several nodes may write the same one.
    """

    def __init__(
        self,
        connection: Connection,
        stream: StreamOptions,
        days: int,
        tenants: TenantRepository,
        is_ready: Callable[[], bool],
        timings: Timings = USUAL,
    ) -> None:
        """`connection` is used while there is one: somebody else connects it. `stream` is that of the tenants: this one
        has its name with `-history` at the end. What is `days` old is forgotten. `is_ready`: whether `tenants` knows of
        everybody now.
        """
        self._name = f"{stream.name}-history"
        self._config = {
            "name": self._name,
            "subjects": [f"{self._name}.>"],
            "storage": "file",
            "num_replicas": stream.replicas,
            "retention": "limits",
            "discard": "old",
            "max_age": days * 86_400 * 1_000_000_000,
            "max_bytes": _MOST_BYTES,
            "max_msgs_per_subject": _MOST_OF_ONE,
        }
        self._connection = connection
        self._timings = timings
        self._tenants = tenants
        self._is_ready = is_ready
        self._is_made = False

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def put(self, records: Sequence[Record]) -> None:
        try:
            await self._ensure()
            *others, last = records
            for record in others:
                await self._connection.send(self._subject(record), _encode(record), None)
            # The stream stores them in this order: if the last one is there, they all are.
            await self._ask(self._subject(last), _encode(last))
        except NotHeard as error:
            self._is_made = False
            raise Unavailable(str(error)) from error

    async def holdings(self, tenant_id: TenantId, address: VirtualIP) -> list[Holding]:
        subject = self._subject_of(tenant_id, address)
        try:
            await self._ensure()
            with anyio.fail_after(self._timings.insistence):
                found = _merged(await self._read(subject))
        except (NotHeard, Error, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        if self._is_ready():
            await self._end_lost(tenant_id, address, found)
        return found

    async def _end_lost(self, tenant_id: TenantId, address: VirtualIP, found: list[Holding]) -> None:
        """End those whose end nobody has written down: all nodes that could have were gone."""
        present = {stay.id for stay in self._tenants.get(tenant_id).stays if stay.peer.virtual_ip == address}
        now = time.time()
        for number, holding in enumerate(found):
            if holding.until is None and holding.stay not in present and now - holding.since > _IN_DOUBT:
                following = found[number + 1].since if number + 1 < len(found) else now
                found[number] = replace(holding, until=following, cause=LeaveCause.LOST.value)
                payload = json.dumps({"stay": holding.stay, "at": following, "cause": "lost", "found": True}).encode()
                await self._connection.send(self._subject_of(tenant_id, address), payload, None)

    async def _read(self, subject: str) -> list[dict[str, Any]]:
        if not self._connection.client.is_connected:
            raise NotHeard("not connected")
        stream = self._connection.client.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1, inactive_threshold=5)
        consumer = await stream.pull_subscribe(subject, stream=self._name, config=config)
        try:
            found: list[dict[str, Any]] = []
            waiting = (await consumer.consumer_info()).num_pending or 0
            while waiting > 0:
                messages = await consumer.fetch(min(waiting, _AT_ONCE), timeout=self._timings.request)
                waiting -= len(messages)
                found += [said for message in messages if (said := _decode(message.data)) is not None]
            return found
        finally:
            await consumer.unsubscribe()

    async def _ensure(self) -> None:
        """Make the stream if it is not there, and set how long it keeps its messages."""
        if self._is_made:
            return
        info = await self._request(f"STREAM.INFO.{self._name}", {})
        what = "CREATE" if info.get("error", {}).get("code") == _NOT_FOUND else "UPDATE"
        answer = await self._request(f"STREAM.{what}.{self._name}", self._config)
        if "error" in answer:
            raise NotHeard(f"{self._name}: {answer['error']['description']}")
        self._is_made = True

    async def _request(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        subject = f"$JS.API.{what}"
        return parse_answer(
            subject, await self._connection.ask(subject, json.dumps(body).encode(), None, self._timings.request)
        )

    async def _ask(self, subject: str, payload: bytes) -> None:
        answer = parse_answer(subject, await self._connection.ask(subject, payload, None, self._timings.request))
        if "error" in answer:
            raise NotHeard(f"{subject}: {answer['error']['description']}")

    def _subject(self, record: Record) -> str:
        return self._subject_of(record.stay.tenant_id, record.stay.peer.virtual_ip)

    def _subject_of(self, tenant_id: TenantId, address: VirtualIP) -> str:
        return f"{self._name}.{tenant_id.replace('.', '=')}.{str(address).replace('.', '-')}"


def _encode(record: Record) -> bytes:
    peer = record.stay.peer
    said: dict[str, Any] = {"stay": record.stay.id, "at": record.at}
    if record.cause is None:
        said.update(key=peer.public_key.text, name=peer.display_name)
    else:
        said["cause"] = record.cause.value
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _decode(payload: bytes) -> dict[str, Any] | None:
    """None: it is none of ours."""
    try:
        said = json.loads(payload)
        begins = "cause" not in said
        texts = [said["stay"], *([said["key"], said["name"]] if begins else [said["cause"]])]
        is_ours = all(isinstance(text, str) for text in texts) and isinstance(said["at"], int | float)
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours = False
    return said if is_ours else None


def _merged(messages: list[dict[str, Any]]) -> list[Holding]:
    """What several nodes have written of the same stay is one holding: the first word of its end counts, but one who
    was there knows better than one who has found it gone.
    """
    found: dict[str, Holding] = {}
    ends: dict[str, tuple[bool, float, str]] = {}
    for said in messages:
        stay = said["stay"]
        if "cause" in said:
            end = ("found" in said, float(said["at"]), said["cause"])
            ends[stay] = min(ends.get(stay, end), end)
        else:
            holding = Holding(StayId(stay), said["key"], said["name"], float(said["at"]), None, None)
            known = found.get(stay)
            found[stay] = holding if known is None else min(known, holding, key=lambda one: one.since)
    for stay, (_, at, cause) in ends.items():
        if stay in found:
            found[stay] = replace(found[stay], until=max(at, found[stay].since), cause=cause)
    return sorted(found.values(), key=lambda one: one.place)

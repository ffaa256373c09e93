"""What the stream holds, read without the service's own code."""

import json
from collections import defaultdict
from dataclasses import dataclass, field

import nats
from nats.js.api import DeliverPolicy

from harness.nats_server import NatsServer

STREAM = "wg-orchestrator"


def split(subject: str) -> list[str]:
    """The parts of a subject after the stream's name and the epoch's, kind first. Empty for the epoch's own subject."""
    return subject.split(".")[2:]


@dataclass
class Stored:
    claims: set[tuple[str, str, str]] = field(default_factory=set)
    """Tenant, address and key of each claim, whether or not its node has a lease."""
    without_lease: set[tuple[str, str, str]] = field(default_factory=set)
    """The claims of nodes that have no lease."""
    keys: set[tuple[str, str]] = field(default_factory=set)
    """Tenant and key of each key that is marked as live."""
    left_over: int = 0
    """Messages of epochs that are over, which no node reads."""


async def stored(servers: list[NatsServer]) -> Stored:
    """The last message of each subject, as claims and keys."""
    client = await nats.connect([server.url for server in servers], connect_timeout=2, allow_reconnect=False)
    try:
        last = await _last_messages(client.jetstream())
    finally:
        await client.close()
    found, nodes, leases = Stored(), defaultdict[str, set[tuple[str, str, str]]](set), set()
    epoch = last.get(f"{STREAM}.epoch", b"").split()
    present = f"{STREAM}.{epoch[0].decode()}." if epoch else "none"
    for subject, payload in last.items():
        if not subject.startswith(present):
            found.left_over += subject != f"{STREAM}.epoch"
            continue
        kind, *tokens = split(subject)
        if kind == "peer":
            fields = json.loads(payload)
            if fields.get("node"):
                nodes[fields["node"]].add((tokens[0], tokens[1].replace("-", "."), fields["key"]))
        elif kind == "key" and payload:
            found.keys.add((tokens[0], tokens[1]))
        elif kind == "node" and payload:
            leases.add(tokens[0])
    for node, claims in nodes.items():
        found.claims |= claims
        if node not in leases:
            found.without_lease |= claims
    return found


async def _last_messages(stream: nats.js.JetStreamContext) -> dict[str, bytes]:
    subscription = await stream.subscribe(
        f"{STREAM}.>", stream=STREAM, ordered_consumer=True, deliver_policy=DeliverPolicy.LAST_PER_SUBJECT
    )
    last: dict[str, bytes] = {}
    while True:  # There is always a next message, as nodes renew their leases.
        message = await subscription.next_msg(timeout=10)
        last[message.subject] = message.data
        if message.metadata.num_pending == 0:
            return last

"""Whatever somebody else writes into the stream, the nodes go on."""

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

from harness.keys import a_key_text
from harness.nats_server import NatsServer
from tests.builders import ACME, a_peer
from tests.fakes import Joined
from tests.integration.nats.nodes import Node, a_stream, running, until
from wg_orchestrator.adapters.nats.feed import FeedBroken

KEY = a_key_text(7)


def payload(**changes: Any) -> bytes:
    return json.dumps({"name": "seven", "key": KEY, "node": "NODE", "session": "NODE", **changes}).encode()


BAD: list[tuple[str, bytes]] = [
    ("peer.acme.100-64-0-7", b""),
    ("peer.acme.100-64-0-7", b"\xff"),
    ("peer.acme.100-64-0-7", b"[" * 1900),
    ("peer.acme.100-64-0-7", b'{"a":' * 300 + b"1" + b"}" * 300),
    ("peer.acme.100-64-0-7", b"[" * 100_000),
    ("peer.acme.100-64-0-7", b"1" * 2000),
    ("peer.acme.100-64-0-7", payload(key=[KEY])),
    ("peer.acme.100-64-0-7", payload(key=5)),
    ("peer.acme.100-64-0-7", payload(key=KEY + "\n")),
    ("peer.acme.100-64-0-7", payload(key="A" * 43 + "=")),
    ("peer.acme.100-64-0-7", payload(name=5)),
    ("peer.acme.100-64-0-7", payload(name=["x"])),
    ("peer.acme.100-64-0-7", payload(name="")),
    ("peer.acme.100-64-0-7", payload(name="x" * 129)),
    ("peer.acme.100-64-0-7", payload(name="\x1b[31m")),
    ("peer.acme.100-64-0-7", payload(name="e\u0301")),
    ("peer.acme.100-64-0-7", payload(name="\ud800")),
    ("peer.acme.100-64-0-7", payload(node=[])),
    ("peer.acme.100-64-0-7", payload(node={})),
    ("peer.acme.100-64-0-7", payload(node=None)),
    ("peer.acme.100-64-0-7", payload(session=5)),
    ("peer.acme.100-64-0-7", payload(session="")),
    ("peer.acme.100-64-0-7", payload(session="other-1")),
    ("peer.acme.100-64-0-7", payload(node="a.b", session="a.b")),
    ("peer.acme.100-64-0-7", payload(invitation=5)),
    ("peer.acme.100-64-0-7", payload(invitation="a b")),
    ("peer.acme.100-64-0-7", payload(invitation="x" * 129)),
    ("peer.acme.100-64-0-7", payload(until="5")),
    ("peer.acme.100-64-0-7", payload(until=True)),
    ("peer.acme.100-64-0-7", payload(until=-1)),
    ("peer.acme.100-64-0-7", payload(until=1.5)),
    ("peer.acme.100-64-0-07", payload()),
    ("peer.acme.100-64-0-300", payload()),
    ("peer.acme.10-0-0-1", payload()),
    ("peer.acme.100-64-0-0", payload()),
    ("peer.acme.::1", payload()),
    ("peer.ac/me.100-64-0-7", payload()),
    (f"peer.{'x' * 65}.100-64-0-7", payload()),
    ("peer.acme", payload()),
    ("peer.acme.100.64.0.7", payload()),
    ("node.NODE.x", b"settled"),
    ("node.\u00e9", b"settled"),
    ("node.x", b"settled"),
    ("node.dead-1", b"unsettled"),
    ("sync.a.b", b""),
]

HEADS = [
    b"NATS/1.0\r\nStatus: 100\r\n\r\n",
    b"NATS/1.0\r\nStatus: 503\r\nNats-Last-Consumer: 9999\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 9999\r\n\r\n",
    b"NATS/1.0 100\r\nNats-Consumer-Stalled: $SYS.x\r\nStatus: 100\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\n\xff\xfe: \x00\r\n\r\n",
]


def counted(node: Node) -> float:
    return node.telemetry.registry.get_sample_value("wg_orchestrator_unreadable_messages_total") or 0


async def test_what_no_node_would_write_is_passed_over_and_counted_once(
    server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    node, late = Node(server, stream := a_stream()), Node(server, stream)
    async with running(node):
        _, watcher = await node.join(1)
        client: NatsClient = node.tenants._connection.client
        prefix, own = node.tenants._stream.subjects._prefix, node.tenants._lease.node or ""
        for number, (subject, message) in enumerate(BAD, 1):
            await client.publish(f"{prefix}.{subject.replace('NODE', own)}", message.replace(b"NODE", own.encode()))
            await until(lambda number=number: counted(node) >= number)  # type: ignore[misc]
            assert counted(node) == number, message
        feed = node.tenants._feed
        assert (await node.join(2))[0] == a_peer(2)
        # A node that reads the stream anew finds the bad messages that were not replaced, logs each once, and is ready.
        async with running(late):
            assert late.peers() == {a_peer(1), a_peer(2)}
            found = counted(late)
            assert found == len({subject for subject, _ in BAD})
            assert late.tenants._feed is not None
            late.tenants._feed._break(FeedBroken("a gap"))
            await until(lambda: not late.tenants.is_ready())
            await until(late.tenants.is_ready)
            assert counted(late) == found
        assert node.tenants._feed is feed
        assert watcher.seen[1:] == [Joined(a_peer(2))]
        said = capsys.readouterr().out
        assert said.count("unreadable message") == len(BAD) + found
        assert "Traceback" not in said


async def test_headers_of_a_message_that_look_like_the_servers_mean_nothing(server: NatsServer) -> None:
    node = Node(server, a_stream())
    async with running(node):
        subjects, feed = node.tenants._stream.subjects, node.tenants._feed
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b'CONNECT {"headers":true,"verbose":false}\r\n')
        for number, head in enumerate(HEADS):
            writer.write(f"HPUB {subjects.sync(str(number))} {len(head)} {len(head)}\r\n".encode() + head + b"\r\n")
        writer.write(b"PING\r\n")
        while await reader.readline() != b"PONG\r\n":
            pass
        writer.close()
        await node.tenants._claims._catch_up()
        assert node.tenants._feed is feed
        assert feed is not None
        assert feed.is_sound()


async def test_an_address_whose_claim_is_unreadable_can_be_given_to_a_peer(server: NatsServer) -> None:
    node = Node(server, a_stream())
    async with running(node):
        subjects = node.tenants._stream.subjects
        client = node.tenants._connection.client
        await client.publish(subjects.peer((ACME, a_peer(1).virtual_ip)), b"[]")
        await client.publish(subjects.key(ACME, a_peer(1).public_key), b"[]")
        peer, _ = await node.join(1)
        assert peer == a_peer(1)
        await node.leave(peer)
        assert not node.peers()


@pytest.mark.parametrize("message", [b"", b"[]", b"x" * 5000, b"0123456789abcdef closed"])
async def test_an_invalid_epoch_is_replaced_by_the_first_node_that_reads_it(server: NatsServer, message: bytes) -> None:
    node, late = Node(server, stream := a_stream()), Node(server, stream)
    async with running(node):
        _, watcher = await node.join(1)
        await node.tenants._connection.client.publish(f"{stream}.epoch", message)
        assert await node.join(2)
        async with running(late):
            await until(lambda: len(late.peers()) == 2)
            await until(node.tenants.is_ready)
            assert late.peers() == node.peers()
        assert len(watcher.seen) == 2

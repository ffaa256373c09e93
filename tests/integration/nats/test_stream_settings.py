"""A stream that loses, refuses or changes what it is told is not used, and the log says why."""

from typing import Any

import pytest

from harness.nats_server import NatsServer
from tests.integration.nats.nodes import NETWORK, Node, a_stream, until
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions
from wg_orchestrator.adapters.nats.stream import StoreUnusable, Stream
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions, stream_config

HARMFUL: list[dict[str, Any]] = [
    {"max_age": 3600 * 10**9},
    {"max_msgs": 1000},
    {"max_bytes": 1_000_000},
    {"max_msg_size": 100},
    {"max_msgs_per_subject": 2},
    {"max_consumers": 2},
    {"retention": "interest"},
    {"retention": "workqueue"},
    {"discard": "new"},
    {"discard_new_per_subject": True, "discard": "new"},
    {"no_ack": True},
    {"allow_rollup_hdrs": True},
    {"allow_msg_schedules": True},
    {"allow_msg_ttl": False},
    {"allow_atomic": False},
    {"subject_delete_marker_ttl": 60 * 10**9},
    {"sources": [{"name": "elsewhere"}]},
    {"consumer_limits": {"inactive_threshold": 10**9}},
    {"storage": "file", "persist_mode": "async", "allow_atomic": False},
]
HARMLESS: list[dict[str, Any]] = [
    {"storage": "file"},
    {"storage": "file", "compression": "s2"},
    {"duplicate_window": 10**9},
    {"allow_direct": True},
    {"deny_delete": True},
    {"deny_purge": True},
    {"first_seq": 1000},
    {"description": "ours"},
    {"allow_batched": True},
]


@pytest.fixture
async def stream(server: NatsServer) -> Any:
    connection = Connection(ConnectionOptions((server.url,)))
    await connection.connect()
    yield Stream(connection, StreamOptions(a_stream(), str(NETWORK)))
    await connection.close()


async def make(stream: Stream, **settings: Any) -> None:
    await stream._ask(f"STREAM.CREATE.{stream._options.name}", {**stream_config(stream._options), **settings})


@pytest.mark.parametrize("settings", HARMFUL, ids=str)
async def test_a_stream_that_does_not_keep_what_it_is_told_is_refused(stream: Stream, settings: dict[str, Any]) -> None:
    await make(stream, **settings)
    with pytest.raises(StoreUnusable) as refusal:
        await stream.ensure()
    for setting in settings.keys() - {"storage"}:
        assert f"{setting} " in str(refusal.value)


async def test_a_sealed_stream_is_refused(stream: Stream) -> None:
    await make(stream)
    await stream._ask(f"STREAM.UPDATE.{stream._options.name}", {**stream_config(stream._options), "sealed": True})
    with pytest.raises(StoreUnusable, match="sealed true, not false"):
        await stream.ensure()


async def test_a_stream_with_its_subjects_changed_on_the_way_is_refused(stream: Stream) -> None:
    name = stream._options.name
    await make(stream, subject_transform={"src": f"{name}.*.>", "dest": f"{name}.x.>"})
    with pytest.raises(StoreUnusable, match="subject_transform"):
        await stream.ensure()


async def test_a_stream_of_a_version_without_epochs_is_refused(stream: Stream) -> None:
    await make(stream, subjects=[f"{stream._options.name}.>"])
    with pytest.raises(StoreUnusable, match="subjects"):
        await stream.ensure()


@pytest.mark.parametrize("settings", HARMLESS, ids=str)
async def test_a_stream_that_keeps_what_it_is_told_is_used(stream: Stream, settings: dict[str, Any]) -> None:
    await make(stream, **settings)
    assert await stream.ensure()


async def test_a_node_says_what_is_wrong_and_is_not_ready_until_it_is_put_right(
    server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node(server, name := a_stream())
    await node.tenants._connection.connect()
    await make(node.tenants._stream, max_age=3600 * 10**9)
    async with node.tenants.running():
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "max_age 3600000000000, not 0" in said

        await until(is_said)
        assert not node.tenants.is_ready()
        await node.tenants._stream._ask(f"STREAM.UPDATE.{name}", stream_config(node.tenants._stream._options))
        await until(node.tenants.is_ready)

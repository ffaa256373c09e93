from collections.abc import AsyncIterator

import anyio
import pytest

from harness.nats_server import PATIENCE, NatsServer
from tests.builders import ACME, a_key
from tests.contracts.admission_records import AdmissionRecordsContract, Followed
from tests.grants import KEY_REVOKED, NOW, ONCE, REVOKED, TWICE
from tests.integration.nats.nodes import QUICK, a_stream, until
from wg_orchestrator.adapters.nats.admission_records import NatsAdmissionRecords
from wg_orchestrator.adapters.nats.connection import ConnectionOptions
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.domain.admission import Admitted
from wg_orchestrator.domain.errors import Unavailable, UsedUp


def on(server: NatsServer, stream: str) -> NatsAdmissionRecords:
    return NatsAdmissionRecords(ConnectionOptions((server.url,)), StreamOptions(stream, "any"), QUICK)


@pytest.fixture
def stream() -> str:
    return a_stream()


class TestNatsAdmissionRecords(AdmissionRecordsContract):
    """Those of two nodes."""

    @pytest.fixture
    async def records(self, server: NatsServer, stream: str) -> AsyncIterator[NatsAdmissionRecords]:
        records = on(server, stream)
        async with records.running():
            await until(records.is_ready)
            yield records

    @pytest.fixture
    async def others(self, server: NatsServer, stream: str) -> AsyncIterator[NatsAdmissionRecords]:
        others = on(server, stream)
        async with others.running():
            await until(others.is_ready)
            yield others


async def test_nobody_is_let_in_while_nats_is_away_and_what_was_stored_is_there_afterwards(
    own_server: NatsServer, stream: str
) -> None:
    records, followed = on(own_server, stream), Followed()
    records.follow(followed)
    async with records.running():
        await until(records.is_ready)
        await records.take(ONCE, ACME, a_key(1), NOW)
        await records.settle(ONCE, ACME, a_key(1))
        await records.revoke(REVOKED)
        own_server.kill()
        await until(lambda: not records.is_ready())
        with pytest.raises(Unavailable):
            await records.take(TWICE, ACME, a_key(1), NOW)
        own_server.start()
        await until(records.is_ready)
        assert await records.take(ONCE, ACME, a_key(1), NOW) == Admitted(NOW)
        with pytest.raises(UsedUp):
            await records.take(ONCE, ACME, a_key(2), NOW)
        assert followed.known == {REVOKED.id: REVOKED}


async def test_what_was_revoked_and_withdrawn_while_a_node_was_away_is_told_when_it_is_back(
    own_server: NatsServer, stream: str
) -> None:
    records, followed = on(own_server, stream), Followed()
    records.follow(followed)
    async with records.running():
        await until(records.is_ready)
        await records.revoke(REVOKED)
        # The feed alone is lost, as by a slow link: the connection goes on.
        feed = records._known._feed
        assert feed is not None
        feed._break(Exception("lost"))
        await until(lambda: not records.is_ready())
        other = on(own_server, stream)
        async with other.running():
            await until(other.is_ready)
            await other.withdraw(REVOKED.id)
            await other.revoke(KEY_REVOKED)
        await followed.until({KEY_REVOKED.id: KEY_REVOKED})
        await until(records.is_ready)


async def test_a_lost_stream_gets_back_the_revocations_that_a_node_knows(own_server: NatsServer, stream: str) -> None:
    records = on(own_server, stream)
    async with records.running():
        await until(records.is_ready)
        await records.revoke(REVOKED)
        await records._stream._ask(f"STREAM.DELETE.{stream}-admission", {})
        await until(lambda: not records.is_ready())
        await until(records.is_ready)
        other, followed = on(own_server, stream), Followed()
        other.follow(followed)
        async with other.running():
            with anyio.fail_after(PATIENCE):
                await followed.until({REVOKED.id: REVOKED})

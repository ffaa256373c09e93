"""Three nodes on NATS: an invitation for one lets in one, and who is revoked is out on all of them."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness import guests
from harness.cluster import Cluster, ServiceProcess
from harness.guests import Refused, knock
from harness.invitations import Inviter, bearer
from harness.keys import a_key_text
from harness.nats_server import PATIENCE, NatsServer
from tests.integration.nats.nodes import a_stream, quickly, until
from tests.integration.service import Client, Service, join_message, refused, running
from tests.integration.test_admission_commands import command
from tests.integration.v2_client import V2Client
from wg_orchestrator.domain.admission import Revocation, RevocationId
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.receipt import Receipt
from wg_orchestrator.domain.stay import InvitationId

GUESTS = 60
ROUNDS = 5


@pytest.fixture
def inviter() -> Inviter:
    return Inviter()


@pytest.fixture
async def services(tmp_path: Path, inviter: Inviter, server: NatsServer) -> AsyncIterator[list[Service]]:
    options: dict[str, Any] = {
        "nats_url": server.url,
        "nats_stream": a_stream(),
        "invitation_keys": inviter.write_keys(tmp_path / "keys"),
    }
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(running(adapt=quickly, node_name=f"node-{number}", **options))
            for number in range(3)
        ]
        for service in services:
            await until(partial(bool, service.container.readiness()))
        yield services


async def test_an_invitation_for_one_lets_in_one_however_many_nodes_are_asked_at_once(
    services: list[Service], inviter: Inviter
) -> None:
    addresses = [service.address for service in services]
    for round_number in range(ROUNDS):
        numbers = range(1000 * round_number + 1, 1000 * round_number + 1 + GUESTS)
        outcome = await guests.all_at_once(addresses, inviter.token(uses=1), numbers)
        assert len(outcome.welcomed) == 1
        assert set(outcome.refused.values()) == {4507}
        await guests.leave(outcome)


async def test_the_same_while_a_node_is_killed(tmp_path: Path, inviter: Inviter) -> None:
    """The winner gets in on another node, if its own was killed, and nobody else does."""
    keys = inviter.write_keys(tmp_path / "keys")
    cluster = Cluster(tmp_path, 1, ("--invitation-keys", str(keys), "--max-handshake-rate", "0"))
    try:
        await cluster.start()
        addresses = [service.address for service in cluster.services]
        for round_number, delay in enumerate((0.05, 0.2)):
            victim = cluster.services[round_number]
            numbers = range(1000 * round_number + 1, 1000 * round_number + 1 + GUESTS)
            outcome = await guests.all_at_once(
                addresses,
                inviter.token(uses=1),
                numbers,
                killed(victim, delay),
            )
            assert len(outcome.welcomed) == 1
            assert set(outcome.refused.values()) == {4507}
            await guests.leave(outcome)
            victim.start()
            await cluster.ready()
    finally:
        cluster.stop()


async def killed(service: ServiceProcess, delay: float) -> None:
    await anyio.sleep(delay)
    service.kill()


async def test_who_is_revoked_on_one_node_is_out_on_all_and_others_are_told_once(
    services: list[Service], inviter: Inviter
) -> None:
    token = inviter.token(jti="stolen")
    watchers = [
        await V2Client.join(service, 10 + n, headers=bearer(inviter.token())) for n, service in enumerate(services)
    ]
    thieves = [await V2Client.join(service, 20 + n, headers=bearer(token)) for n, service in enumerate(services)]
    old = await Client.join(services[0], 30, headers=bearer(token))
    for watcher in watchers:
        while len(watcher.peers) < 6:
            await watcher.hear()
        await watcher.say({"type": "applied", "revision": watcher.revision})
    records = services[1].container.records()
    revocation = Revocation(RevocationId("r"), InvitationId("stolen"), at=int(time.time()))
    await records.revoke(revocation)
    assert [await thief.closed() for thief in thieves] == [(4506, "revoked")] * 3
    assert await old.closed() == (1008, "revoked")
    for watcher in watchers:
        while len(watcher.peers) > 2:
            await watcher.hear()
        await watcher.say({"type": "applied", "revision": watcher.revision})
    assert [sum(one["type"] == "left" for one in watcher.told) for watcher in watchers] == [4, 4, 4]
    with anyio.fail_after(PATIENCE):
        while (receipt := Receipt.of_reports(revocation.id, await records.reports(revocation.id))).since is None:
            await anyio.sleep(0.05)
    assert (receipt.put_out, receipt.nodes, receipt.by, receipt.of) == (4, 3, 3, 3)
    for service in services:
        with pytest.raises(Refused, match="4506"):
            await knock(service.address, token, 40)


async def test_a_peer_that_is_away_from_a_node_that_died_is_put_out_by_another(
    tmp_path: Path, inviter: Inviter, server: NatsServer
) -> None:
    options: dict[str, Any] = {
        "nats_url": server.url,
        "nats_stream": a_stream(),
        "grace": 60,
        "invitation_keys": inviter.write_keys(tmp_path / "keys"),
    }
    async with running(adapt=quickly, **options) as one:
        await until(lambda: bool(one.container.readiness()))
        watcher = await V2Client.join(one, 1, headers=bearer(inviter.token()))
        async with running(adapt=quickly, **options) as two:
            await until(lambda: bool(two.container.readiness()))
            await V2Client.join(two, 2, headers=bearer(inviter.token(jti="stolen")))
            await watcher.hear()
        # Its node has stopped: it is away, and may come back to any node.
        assert len(one.roster()) == 2
        await one.container.records().revoke(Revocation(RevocationId("r"), InvitationId("stolen"), at=int(time.time())))
        assert (await watcher.hear())["type"] == "left"
        assert len(one.roster()) == 1


async def test_the_command_revokes_by_nats_and_prints_the_receipt(services: list[Service], inviter: Inviter) -> None:
    settings = services[0].container.settings()
    peer = await Client.join(services[0], 1, headers=bearer(inviter.token()))
    what = ("--public-key", a_key_text(1), "--tenant", "acme", "--json")
    result = await command(
        "revoke", *what, "--nats", str(settings.nats_url), WG_ORCHESTRATOR_NATS_STREAM=settings.nats_stream
    )
    assert result.returncode == 0, result.stderr
    assert '"put_out": 1, "nodes": 3' in result.stdout
    assert await peer.closed() == (1008, "revoked")
    for service in services:
        token = bearer(inviter.token())
        assert await refused(service, join_message(1), additional_headers=token) == (1008, "revoked")
    await Client.join(services[1], 1, "globex", bearer(inviter.token(tenant="globex")))


async def test_revocations_by_nats_need_a_stream_that_is_there(server: NatsServer) -> None:
    stream = a_stream()
    for url, why in ((server.url, f"there is no stream {stream}-admission"), ("nats://127.0.0.1:1", "can't connect")):
        result = await command("revoke", "--invitation", "x", "--nats", url, WG_ORCHESTRATOR_NATS_STREAM=stream)
        assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
        assert result.stderr.startswith(f"wg-orchestrator: not revoked: {why}")


async def test_none_that_was_revoked_is_let_in_over_restarts_and_while_nats_is_away(
    tmp_path: Path, inviter: Inviter, own_server: NatsServer
) -> None:
    key = PublicKey.parse(a_key_text(1))
    options: dict[str, Any] = {
        "nats_url": own_server.url,
        "nats_stream": a_stream(),
        "invitation_keys": inviter.write_keys(tmp_path / "keys"),
    }
    token = inviter.token(jti="stolen")
    answers = list[int]()

    async def tries(service: Service, count: int) -> None:
        for number in range(count):
            shown = token if number % 2 else inviter.token()
            try:
                websocket = await knock(service.address, shown, 1)
            except guests.TryAgain:
                answers.append(0)
            except Refused as refusal:
                answers.append(refusal.code)
            else:
                answers.append(101)
                await websocket.close()

    async with running(adapt=quickly, **options) as service:
        await until(lambda: bool(service.container.readiness()))
        for what in ({"invitation": InvitationId("stolen")}, {"public_key": key}):
            revocation = Revocation(RevocationId(f"r{len(what)}{next(iter(what))[0]}"), at=int(time.time()), **what)
            await service.container.records().revoke(revocation)
        await tries(service, 20)
        own_server.kill()
        await tries(service, 20)
        own_server.start()
        await tries(service, 20)
        await until(lambda: bool(service.container.readiness()))
        await tries(service, 20)
    async with running(adapt=quickly, **options) as service:
        await tries(service, 40)
        await until(lambda: bool(service.container.readiness()))
        await tries(service, 20)
        await knock(service.address, inviter.token(), 2)
    assert set(answers) <= {0, 4506}
    assert answers.count(4506) >= 60

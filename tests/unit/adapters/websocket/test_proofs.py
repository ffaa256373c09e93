"""Who proves a key, who does not, and what follows: over connections in memory, with proofs that the test gives."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.builders import ACME, a_newcomer
from tests.fakes_proof import FakeChallenger
from tests.unit.adapters.websocket.test_sessions import House, MemoryConnection, turns
from wg_orchestrator.adapters.websocket.arrival import Arrival
from wg_orchestrator.adapters.websocket.session import V2Session
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import InvalidPublicKey, KeyInUse, NotProven
from wg_orchestrator.domain.proof import ProofPolicy
from wg_orchestrator.rfc6455.close import CLOSED_BY_PEER, Close
from wg_orchestrator.wire.close_codes import SUPERSEDED
from wg_orchestrator.wire.subprotocol import V1, V2

HERE, THERE, ELSEWHERE = (Endpoint.parse(f"203.0.113.9:{port}") for port in (4000, 5000, 6000))
LAN, OTHER_LAN = Endpoint.parse("10.0.0.7:51820"), Endpoint.parse("10.0.0.9:51820")
SOURCE = "203.0.113.9"
LOST = Close(1006, "connection lost")


class ProofHouse(House):
    def __init__(self, *endpoints: str, policy: ProofPolicy = ProofPolicy.WANTED, interval: float = 10.0) -> None:
        self.challenger = FakeChallenger(*map(Endpoint.parse, endpoints))
        super().__init__(challenger=self.challenger, policy=policy, interval=interval)

    async def arrive(
        self, number: int, *, version: str = V2, resume: tuple[str, int] | None = None, endpoints: Any = (LAN,)
    ) -> MemoryConnection:
        connection, newcomer = MemoryConnection(), replace(a_newcomer(number), endpoints=endpoints)
        await self.sessions.join(Arrival(ACME, newcomer, connection, SOURCE, version, endpoints, resume))
        return connection

    def latest(self, number: int) -> V2Session:
        session = self.sessions._latest.of((ACME, a_newcomer(number).public_key))
        assert session is not None
        return session

    async def arrive_and_prove(self, number: int, at: Endpoint = HERE) -> MemoryConnection:
        """The arrival waits for its proof, which is given as soon as it is asked for."""
        before = len(self.challenger.challenges)
        task = asyncio.create_task(self.arrive(number))
        await turns(lambda: len(self.challenger.challenges) > before)
        self.challenger.prove(self.challenger.challenges[-1], at)
        return await task


def told(connection: MemoryConnection, kind: str) -> list[dict[str, Any]]:
    messages = [json.loads(text.payload) for text in connection.sent]
    return [message for message in messages if message["type"] == kind]


def heard_of(connection: MemoryConnection) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [message["peer"] for message in told(connection, "updated")]


async def test_a_newcomer_is_welcomed_at_once_and_asked_and_its_proof_is_told() -> None:
    house = ProofHouse()
    watcher, peer = await house.arrive(1), await house.arrive(2)
    kinds = [json.loads(text.payload)["type"] for text in peer.sent]
    assert kinds[:2] == ["welcome", "prove"]
    (prove,) = told(peer, "prove")
    challenge = house.challenger.challenges[-1]
    assert prove["preshared_key"] == challenge.preshared_key
    assert prove["endpoints"] == ["198.51.100.1:51820"]
    house.challenger.prove(challenge, HERE)
    await turns(lambda: bool(heard_of(watcher)()))
    (entry,) = heard_of(watcher)()
    assert (entry["proven"], entry["endpoints"]) == (True, [str(HERE), str(LAN)])
    assert told(peer, "proven") == [{"type": "proven", "endpoint": str(HERE)}]
    late = await house.arrive(3)
    assert [entry["proven"] for entry in told(late, "welcome")[0]["peers"]] == [False, True]


async def test_the_observed_endpoint_stays_first_when_the_peer_announces_others() -> None:
    house = ProofHouse()
    watcher, peer = await house.arrive(1), await house.arrive(2)
    house.challenger.prove(house.challenger.challenges[-1], HERE)
    await turns(lambda: len(heard_of(watcher)()) == 1)
    assert peer.listener is not None
    peer.listener.heard('{"type":"update","display_name":"new","endpoints":["10.0.0.9:51820"]}')
    await asyncio.sleep(0)
    assert house.latest(2)._listed() == (HERE, Endpoint.parse("10.0.0.9:51820"))


async def test_a_nat_with_a_port_for_each_destination_is_seen_by_two() -> None:
    house = ProofHouse("198.51.100.1:51820", "198.51.100.2:51820")
    watcher, peer = await house.arrive(1), await house.arrive(2)
    house.challenger.prove(house.challenger.challenges[-1], HERE)
    first, second = told(peer, "prove")
    assert first["endpoints"] == second["endpoints"][::-1]
    assert first["preshared_key"] != second["preshared_key"]
    house.challenger.prove(house.challenger.challenges[-1], THERE)
    assert house.latest(2)._listed() == (HERE, THERE, LAN)
    assert [message["endpoint"] for message in told(peer, "proven")] == [str(HERE), str(THERE)]
    assert house.challenger.waiting == 2  # The watcher's, and one of the peer's.
    assert watcher.closed_with is None


async def test_another_nat_shows_one_port_at_both() -> None:
    house = ProofHouse("198.51.100.1:51820", "198.51.100.2:51820")
    await house.arrive(2)
    for _ in range(2):
        house.challenger.prove(house.challenger.challenges[-1], HERE)
    assert house.latest(2)._listed() == (HERE, LAN)


async def test_an_endpoint_that_flaps_is_told_once_in_the_interval() -> None:
    house = ProofHouse(interval=0.2)
    peer = await house.arrive(2)
    challenge = house.challenger.challenges[-1]
    for at in (HERE, THERE, HERE, THERE, ELSEWHERE):
        house.challenger.prove(challenge, at)
    assert [message["endpoint"] for message in told(peer, "proven")] == [str(HERE)]
    with anyio.fail_after(5):
        while len(told(peer, "proven")) < 2:
            await asyncio.sleep(0.01)
    assert [message["endpoint"] for message in told(peer, "proven")] == [str(HERE), str(ELSEWHERE)]


async def test_a_private_address_of_one_who_connects_from_a_public_one_is_not_told() -> None:
    house = ProofHouse()
    watcher = await house.arrive(1)
    connection = MemoryConnection()
    await house.sessions.join(Arrival(ACME, a_newcomer(2), connection, "8.8.4.4", V2, ()))
    house.challenger.prove(house.challenger.challenges[-1], Endpoint.parse("172.17.0.1:40000"))
    await turns(lambda: bool(heard_of(watcher)()))
    (entry,) = heard_of(watcher)()
    assert (entry["proven"], entry["endpoints"]) == (True, [])


async def test_the_owner_of_a_key_takes_it_from_a_stranger_by_its_proof() -> None:
    house = ProofHouse()
    watcher, stranger = await house.arrive(1), await house.arrive(2)
    owner = await house.arrive_and_prove(2)
    assert stranger.closed_with == SUPERSEDED
    assert house.telemetry.registry.get_sample_value("wg_orchestrator_takeovers_total") == 1
    assert [json.loads(text.payload)["type"] for text in owner.sent][:3] == ["prove", "proven", "welcome"]
    assert house.peers() == 2
    entries = [message["peer"] for message in told(watcher, "joined")]
    assert entries[0]["virtual_ip"] == entries[1]["virtual_ip"]
    await turns(lambda: bool(heard_of(watcher)()))
    assert heard_of(watcher)()[-1]["proven"]


async def test_a_proven_peer_gives_way_to_one_who_proves_the_same_key() -> None:
    house = ProofHouse()
    first = await house.arrive(2)
    house.challenger.prove(house.challenger.challenges[-1], HERE)
    again = await house.arrive_and_prove(2, THERE)
    assert first.closed_with == SUPERSEDED
    assert again.closed_with is None
    assert house.challenger.waiting == 1


async def test_a_stranger_can_not_take_a_key_that_is_live() -> None:
    house = ProofHouse()
    owner = await house.arrive(2)
    for _ in range(3):
        with pytest.raises(KeyInUse):
            await house.arrive(2)
    assert owner.closed_with is None
    assert house.challenger.waiting == 1


async def test_a_stranger_can_not_take_a_key_whose_owner_is_away_and_the_owner_can() -> None:
    house = ProofHouse()
    owner = await house.arrive(2)
    session = told(owner, "welcome")[0]
    owner.end(LOST)
    with pytest.raises(KeyInUse):
        await house.arrive(2)
    back = await house.arrive(2, resume=(session["session"], session["revision"]))
    assert back.closed_with is None
    back.end(LOST)
    again = await house.arrive_and_prove(2)
    assert again.closed_with is None
    assert house.peers() == 1


async def test_where_a_proof_is_required_nobody_is_in_without_one() -> None:
    house = ProofHouse(policy=ProofPolicy.REQUIRED)
    for version in (V1, V2):
        with pytest.raises(NotProven):
            await house.arrive(1, version=version)
    assert (house.peers(), house.challenger.waiting) == (0, 0)
    peer = await house.arrive_and_prove(1)
    kinds = [json.loads(text.payload)["type"] for text in peer.sent]
    assert kinds[:3] == ["prove", "proven", "welcome"]
    welcome = told(peer, "welcome")[0]
    # The session is as good as a proof.
    back = await house.arrive(1, resume=(welcome["session"], welcome["revision"]))
    assert (back.closed_with, peer.closed_with) == (None, SUPERSEDED)
    with pytest.raises(NotProven):
        await house.arrive(1, resume=("no such session", 0))


async def test_a_claim_that_newer_ones_drop_is_refused_at_once() -> None:
    house = ProofHouse()
    await house.arrive(2)
    house.sessions._proofs._terms = house.sessions._proofs._terms.__class__(ProofPolicy.WANTED, timeout=60)
    waiting = [asyncio.create_task(house.arrive(2)) for _ in range(5)]
    await turns(lambda: sum(task.done() for task in waiting) == 2)
    assert all(isinstance(task.exception(), KeyInUse) for task in waiting[:2])
    house.sessions._proofs.stop()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {KeyInUse}


async def test_a_member_whose_claim_strangers_drop_is_asked_again() -> None:
    house = ProofHouse(interval=0.1)
    peer = await house.arrive(2)
    strangers = await asyncio.gather(*(house.arrive(2) for _ in range(3)), return_exceptions=True)
    assert {type(stranger) for stranger in strangers} == {KeyInUse}
    with anyio.fail_after(5):
        while len(told(peer, "prove")) < 2:
            await asyncio.sleep(0.01)
    house.challenger.prove(house.challenger.challenges[-1], HERE)
    assert told(peer, "proven") == [{"type": "proven", "endpoint": str(HERE)}]
    peer.end(LOST)
    assert house.challenger.waiting == 0


async def test_what_ends_with_its_connection_is_asked_no_more() -> None:
    house = ProofHouse()
    peer = await house.arrive(1)
    challenge = house.challenger.challenges[-1]
    peer.end(Close(1000, CLOSED_BY_PEER))
    await turns(lambda: house.peers() == 0)
    assert house.challenger.waiting == 0
    sent = len(peer.sent)
    house.challenger.prove(challenge, HERE)
    assert len(peer.sent) == sent


async def test_a_move_that_waits_to_be_told_ends_with_the_connection() -> None:
    house = ProofHouse(interval=0.05)
    peer = await house.arrive(2)
    for at in (HERE, THERE):
        house.challenger.prove(house.challenger.challenges[-1], at)
    peer.end(LOST)
    sent = len(peer.sent)
    await asyncio.sleep(0.1)  # The interval is over by then.
    assert len(peer.sent) == sent


async def test_a_service_that_stops_waits_for_no_proof() -> None:
    house = ProofHouse()
    await house.arrive(2)
    house.sessions._proofs._terms = replace(house.sessions._proofs._terms, timeout=3600)
    house.sessions._proofs.stop()
    with anyio.fail_after(5), pytest.raises(KeyInUse):
        await house.arrive(2)


async def test_nobody_gets_in_with_the_key_of_the_rendezvous() -> None:
    house = ProofHouse()
    newcomer = replace(a_newcomer(1), public_key=house.challenger.rendezvous)
    for version in (V1, V2):
        with pytest.raises(InvalidPublicKey):
            await house.sessions.join(Arrival(ACME, newcomer, MemoryConnection(), SOURCE, version, ()))


async def test_where_a_peer_was_seen_stays_first_when_it_comes_back_until_it_is_seen_again() -> None:
    house = ProofHouse()
    peer = await house.arrive(2)
    house.challenger.prove(house.challenger.challenges[-1], HERE)
    await turns(lambda: house.latest(2).stay.peer.proven)
    welcome = told(peer, "welcome")[0]
    await house.arrive(2, resume=(welcome["session"], welcome["revision"]), endpoints=(OTHER_LAN,))
    assert house.latest(2)._listed() == (HERE, OTHER_LAN)
    house.challenger.prove(house.challenger.challenges[-1], THERE)
    assert house.latest(2)._listed() == (THERE, OTHER_LAN)

"""The tunnel that proves the key: when it begins anew, and what it must never have."""

import base64
from dataclasses import replace

import anyio
import pytest

from tests.builders import a_key, a_peer
from tests.unit.agent.builders import endpoint, endpoints, here, observed
from tests.unit.agent.test_agent import Machine
from tests.unit.agent.test_wishes import OWN, a_welcome
from wg_orchestrator.agent.paths import TRIAL, Reason, is_symmetric
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetTunnel
from wg_orchestrator.agent.rendezvous import PATIENCE, Rendezvous
from wg_orchestrator.agent.tunnel import Actual, Observed
from wg_orchestrator.client import Lost
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.wire.v2.notices import Prove, Proven

NOW = 1000.0
HERE = here("10.1.0.2/24")
KEY, OTHER_KEY = a_key(500), a_key(501)
A, B = "198.51.100.1:51820", "198.51.100.2:51820"
SEEN = endpoint("203.0.113.9:4000")


def psk(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def a_request(number: int = 1, *at: str, key: PublicKey = KEY) -> Prove:
    return Prove(key, psk(number), endpoints(*(at or (A,))))


def anew(number: int = 1, at: str = A, key: PublicKey = KEY) -> SetTunnel:
    return SetTunnel(key, False, endpoint(at), frozenset(), 25, begins_anew=True, preshared_key=psk(number))


def asked(*requests: Prove) -> tuple[Rendezvous, list[Change]]:
    rendezvous = Rendezvous()
    for request in requests:
        rendezvous.asked(request)
    return rendezvous, rendezvous.changes(HERE, {}, NOW)


def a_tunnel(handshake: float | None = None, key: PublicKey = KEY) -> dict[PublicKey, Observed]:
    return {key: replace(observed(1, A, 25, handshake), public_key=key, allowed_ips=frozenset())}


def test_without_a_request_there_is_none() -> None:
    assert asked()[1] == []


def test_a_request_begins_it_at_once_without_allowed_ips_and_with_its_own_preshared_key() -> None:
    rendezvous, changes = asked(a_request())
    assert changes == [anew()]
    assert psk(1) not in repr(changes)
    assert rendezvous.changes(HERE, a_tunnel(), NOW + 0.9) == []


def test_each_request_begins_it_anew() -> None:
    rendezvous, _ = asked(a_request())
    rendezvous.asked(a_request(2, B))
    assert rendezvous.changes(HERE, a_tunnel(NOW), NOW + 1) == [anew(2, B)]


def test_another_rendezvous_takes_the_place_of_the_one_before() -> None:
    rendezvous, _ = asked(a_request())
    rendezvous.asked(a_request(2, key=OTHER_KEY))
    assert rendezvous.changes(HERE, a_tunnel(NOW), NOW + 1) == [RemoveTunnel(KEY), anew(2, key=OTHER_KEY)]
    assert rendezvous.key == OTHER_KEY


def test_what_works_is_left_alone() -> None:
    rendezvous, _ = asked(a_request())
    for seconds in (0.3, 5, 100, 1000):
        tunnels = {KEY: replace(a_tunnel(NOW + 0.2)[KEY], rx_bytes=int(92 * seconds), tx_bytes=int(200 * seconds))}
        assert rendezvous.changes(HERE, tunnels, NOW + seconds) == []


def test_one_that_does_not_answer_is_tried_at_the_next_endpoint() -> None:
    rendezvous, _ = asked(a_request(1, A, B))
    assert rendezvous.changes(HERE, a_tunnel(), NOW + 1.1) == [anew()]
    assert rendezvous.changes(HERE, a_tunnel(), NOW + TRIAL) == [anew(at=B)]


def test_one_that_somebody_has_removed_is_made_again() -> None:
    rendezvous, _ = asked(a_request())
    assert rendezvous.changes(HERE, {}, NOW + 60) == [anew()]


def test_endpoints_of_a_version_that_the_machine_does_not_have_are_passed_over() -> None:
    assert asked(a_request(1, "[2001:db8::1]:51820", A))[1] == [anew()]


def test_after_a_place_on_a_new_connection_one_that_is_not_asked_for_any_more_is_removed() -> None:
    rendezvous, _ = asked(a_request())
    rendezvous.lost()
    assert rendezvous.changes(HERE, a_tunnel(NOW + 0.1), NOW + 15) == []  # The service is away: all stays.
    rendezvous.placed(NOW + 20)
    assert rendezvous.changes(HERE, a_tunnel(NOW + 0.1), NOW + 21) == []
    assert rendezvous.changes(HERE, a_tunnel(NOW + 0.1), NOW + 21 + PATIENCE) == [RemoveTunnel(KEY)]
    assert (rendezvous.key, rendezvous.changes(HERE, a_tunnel(), NOW + 100)) == (None, [])


@pytest.mark.parametrize(
    ("story", "is_found"),
    [
        (["ask", 4000], False),
        (["ask", 4000, "ask", 4000], False),
        (["ask", 4000, "ask", 5000], True),
        (["ask", 4000, 5000], False),  # It moved.
        (["ask", 4000, "ask", 5000, 6000], False),  # Until it is asked again.
        (["ask", 4000, "ask", 5000, 6000, "ask", 7000], True),
        (["ask", 4000, "lost", "ask", 5000], False),
    ],
)
def test_a_nat_with_a_port_for_each_destination_is_found_by_two_requests(
    story: list[str | int], is_found: bool
) -> None:
    rendezvous = Rendezvous()
    for step in story:
        if step == "ask":
            rendezvous.asked(a_request())
        elif step == "lost":
            rendezvous.lost()
        else:
            rendezvous.proven(endpoint(f"203.0.113.9:{step}"))
    assert rendezvous.is_symmetric is is_found


def test_two_addresses_are_no_sign_of_such_a_nat() -> None:
    assert not is_symmetric(endpoints("203.0.113.9:4000", "203.0.113.8:5000"))
    assert not is_symmetric(endpoints("203.0.113.9:4000"))


async def test_the_agent_greets_the_rendezvous_before_it_has_a_place_and_keeps_it() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_request())
        while KEY not in (machine.interface.kernel.actual or Actual()).tunnels:
            await machine.turn()
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        assert machine.peers() == {"100.64.0.1/32"}
        assert machine.interface.kernel.actual is not None
        assert set(machine.interface.kernel.actual.tunnels) == {a_key(1), KEY}
        assert [peer.public_key for peer in (await machine.agent.status()).peers] == [str(a_key(1))]


async def test_a_proof_has_peers_that_are_not_reached_tried_from_the_first_endpoint_on() -> None:
    now = NOW
    machine = Machine(clock=lambda: now)
    first, second = endpoints("203.0.113.7:51820", "192.168.7.7:51820")
    async with machine.running():
        machine.link.says(a_welcome(replace(a_peer(1), endpoints=(first, second))))
        await machine.until_applied(10)
        now += TRIAL
        machine.link.says(a_welcome(replace(a_peer(1), endpoints=(first, second)), revision=11))
        await machine.until_applied(11)
        assert [tunnel.endpoint for tunnel in machine.tunnels()] == [second]
        machine.link.says(Proven(SEEN))
        await machine.until_said("packets come from 203.0.113.9:4000")
        with anyio.fail_after(5):
            while [tunnel.endpoint for tunnel in machine.tunnels()] != [first]:
                await machine.turn()


async def test_a_service_that_names_a_peer_or_this_machine_as_the_rendezvous_changes_nothing() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.interface.applied.clear()
        for key in (a_key(1), OWN):
            machine.link.says(a_request(key=key))
        await machine.until_said("a rendezvous that is none")
        machine.link.says(a_welcome(a_peer(1), revision=11))
        await machine.until_applied(11)
        assert machine.peers() == {"100.64.0.1/32"}
        assert not any(change.begins_anew for change in machine.interface.applied if isinstance(change, SetTunnel))


async def test_a_peer_with_the_key_of_the_rendezvous_gets_no_tunnel() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_request())
        machine.link.says(a_welcome(a_peer(1), replace(a_peer(2), public_key=KEY)))
        await machine.until_applied(10)
        assert machine.peers() == {"100.64.0.1/32"}


async def test_the_reason_is_the_nat_where_that_is_known() -> None:
    machine = Machine()
    async with machine.running():
        seen = endpoints("203.0.113.7:4000", "203.0.113.7:5000")
        machine.link.says(
            a_welcome(replace(a_peer(1), endpoints=seen, proven=True), replace(a_peer(2), endpoints=seen))
        )
        await machine.until_applied(10)
        reasons = [peer.reason for peer in (await machine.agent.status()).peers]
        assert reasons == [Reason.SYMMETRIC_NAT.value, Reason.NO_HANDSHAKE.value]


async def test_a_lost_connection_leaves_the_tunnel_to_the_rendezvous() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_request())
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.link.says(Lost("gone", 1.0))
        await machine.until_said("gone")
        machine.link.says(a_welcome(a_peer(1), revision=11))
        await machine.until_applied(11)
        assert machine.interface.kernel.actual is not None
        assert KEY in machine.interface.kernel.actual.tunnels

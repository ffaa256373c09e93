"""What every adapter of the agent's port Interface promises."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest

from tests.builders import a_key
from wg_orchestrator.agent.errors import InterfaceLost
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetAddress, SetRoute, SetTunnel
from wg_orchestrator.agent.ports import Interface
from wg_orchestrator.client.keys import KeyPair
from wg_orchestrator.domain.endpoint import Endpoint

PORT, MTU = 51820, 1420
KEYS = KeyPair.generate()
NETWORK = ip_network("100.64.0.0/10")
ONE, TWO = ip_address("100.64.0.1"), ip_address("100.64.0.2")
AT = Endpoint.parse("127.0.0.1:9")


def a_new_tunnel(number: int, address: str) -> SetTunnel:
    return SetTunnel(a_key(number), True, AT, frozenset({ip_network(address)}), 0)


class InterfaceContract:
    """Subclasses have a fixture `new`, which makes an adapter; each of one test is for the same interface."""

    @pytest.fixture
    async def interface(self, new: Callable[[], Interface]) -> Interface:
        interface = new()
        await interface.open(KEYS.private, PORT, MTU)
        return interface

    async def test_it_begins_empty(self, interface: Interface) -> None:
        actual = await interface.read()
        assert (actual.addresses, actual.routes, actual.tunnels) == (frozenset(), frozenset(), {})

    async def test_what_was_set_is_read(self, interface: Interface) -> None:
        await interface.apply([SetAddress(ONE), SetRoute(NETWORK), a_new_tunnel(1, "100.64.0.7/32")])
        actual = await interface.read()
        assert (actual.addresses, actual.routes) == (frozenset({ONE}), frozenset({NETWORK}))
        (tunnel,) = actual.tunnels.values()
        assert (tunnel.public_key, tunnel.endpoint, tunnel.keepalive) == (a_key(1), AT, 0)
        assert (tunnel.allowed_ips, tunnel.latest_handshake) == (frozenset({ip_network("100.64.0.7/32")}), None)

    async def test_an_address_and_a_route_take_the_place_of_others(self, interface: Interface) -> None:
        await interface.apply([SetAddress(ONE), SetRoute(NETWORK)])
        other = ip_network("10.99.0.0/16")
        await interface.apply([SetAddress(TWO, frozenset({ONE})), SetRoute(other, frozenset({NETWORK}))])
        actual = await interface.read()
        assert (actual.addresses, actual.routes) == (frozenset({TWO}), frozenset({other}))

    @pytest.mark.parametrize(
        ("change", "keepalive", "network"),
        [
            (SetTunnel(a_key(1), keepalive=25), 25, "100.64.0.7/32"),
            (SetTunnel(a_key(1), allowed_ips=frozenset({ip_network("100.64.0.9/32")})), 0, "100.64.0.9/32"),
            (SetTunnel(a_key(1), endpoint=AT, keepalive=0, sends_now=True), 0, "100.64.0.7/32"),
            (
                SetTunnel(a_key(1), False, AT, frozenset({ip_network("100.64.0.7/32")}), 25, begins_anew=True),
                25,
                "100.64.0.7/32",
            ),
        ],
    )
    async def test_a_change_to_one_peer_is_made_and_touches_no_other(
        self, interface: Interface, change: Change, keepalive: int, network: str
    ) -> None:
        await interface.apply([a_new_tunnel(1, "100.64.0.7/32"), a_new_tunnel(2, "100.64.0.8/32")])
        before = (await interface.read()).tunnels[a_key(2)]
        await interface.apply([change])
        tunnels = (await interface.read()).tunnels
        assert tunnels[a_key(2)] == before
        assert (tunnels[a_key(1)].keepalive, tunnels[a_key(1)].allowed_ips) == (
            keepalive,
            frozenset({ip_network(network)}),
        )

    async def test_a_peer_is_removed_and_one_that_is_not_there_is_not_made_by_a_change(
        self, interface: Interface
    ) -> None:
        await interface.apply([a_new_tunnel(1, "100.64.0.7/32")])
        await interface.apply([RemoveTunnel(a_key(1)), SetTunnel(a_key(1), keepalive=25), RemoveTunnel(a_key(2))])
        assert (await interface.read()).tunnels == {}

    async def test_an_address_goes_to_whoever_was_given_it_last(self, interface: Interface) -> None:
        await interface.apply([a_new_tunnel(1, "100.64.0.7/32"), a_new_tunnel(2, "100.64.0.7/32")])
        tunnels = (await interface.read()).tunnels
        assert (tunnels[a_key(1)].allowed_ips, len(tunnels[a_key(2)].allowed_ips)) == (frozenset(), 1)

    async def test_a_second_agent_takes_it_over_as_it_is(
        self, interface: Interface, new: Callable[[], Interface]
    ) -> None:
        await interface.apply([SetAddress(ONE), SetRoute(NETWORK), a_new_tunnel(1, "100.64.0.7/32")])
        again = new()
        await again.open(KEYS.private, PORT, MTU)
        assert await again.read() == await interface.read()

    async def test_it_is_lost_when_it_is_closed_and_may_be_opened_again(self, interface: Interface) -> None:
        await interface.apply([SetAddress(ONE), a_new_tunnel(1, "100.64.0.7/32")])
        await interface.close()
        await interface.close()
        with pytest.raises(InterfaceLost):
            await interface.read()
        with pytest.raises(InterfaceLost):
            await interface.apply([RemoveTunnel(a_key(1))])
        await interface.open(KEYS.private, PORT, MTU)
        assert (await interface.read()).tunnels == {}

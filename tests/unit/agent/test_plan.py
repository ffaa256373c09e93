from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_key
from tests.unit.agent.builders import NETWORK, allowed, endpoint, observed, tunnel
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetAddress, SetRoute, SetTunnel, plan
from wg_orchestrator.agent.tunnel import Actual, IPNetwork, Observed, Tunnel, Wished
from wg_orchestrator.domain.peer import PublicKey

OWN = ip_address("100.64.0.100")


def wished(*tunnels: Tunnel) -> Wished:
    return Wished(OWN, NETWORK, {one.public_key: one for one in tunnels})


def actual(*tunnels: Observed) -> Actual:
    return Actual(frozenset({OWN}), frozenset({NETWORK}), {one.public_key: one for one in tunnels})


def test_an_interface_that_is_as_wished_needs_no_change() -> None:
    assert plan(wished(tunnel(1, "10.0.0.1:1", 25)), actual(observed(1, "10.0.0.1:1", 25))) == []


def test_a_new_peer_is_set_whole() -> None:
    (change,) = plan(wished(tunnel(1, "10.0.0.1:1", 25)), actual())
    assert change == SetTunnel(a_key(1), True, endpoint("10.0.0.1:1"), allowed("100.64.0.1/32"), 25)


def test_of_a_peer_that_is_there_only_what_differs_is_set() -> None:
    have = actual(observed(1, "10.0.0.1:1", 25), observed(2, "10.0.0.2:1"))
    want = wished(tunnel(1, "10.0.0.1:1", 0), tunnel(2, "10.0.0.2:1"))
    assert plan(want, have) == [SetTunnel(a_key(1), keepalive=0)]


def test_where_a_peer_was_found_is_left_alone_if_nothing_is_wished() -> None:
    assert plan(wished(tunnel(1, None)), actual(observed(1, "203.0.113.1:9"))) == []


def test_another_endpoint_is_written_to_at_once() -> None:
    (change,) = plan(wished(tunnel(1, "10.0.0.9:1", 25)), actual(observed(1, "10.0.0.1:1", 25)))
    assert change == SetTunnel(a_key(1), endpoint=endpoint("10.0.0.9:1"), keepalive=25, sends_now=True)


def test_peers_that_are_to_go_go_first_so_that_another_can_have_their_address() -> None:
    want = wished(tunnel(2, network="100.64.0.1/32"))
    assert plan(want, actual(observed(1))) == [
        RemoveTunnel(a_key(1)),
        SetTunnel(a_key(2), True, None, allowed("100.64.0.1/32"), 0),
    ]


def test_only_the_peers_that_are_asked_for_are_looked_at() -> None:
    have = actual(observed(1), observed(2))
    assert plan(wished(), have, [a_key(2), a_key(3)]) == [RemoveTunnel(a_key(2))]


def test_address_and_route_are_set_if_they_differ_and_others_are_removed() -> None:
    old, route = ip_address("100.64.0.7"), ip_network("10.64.0.0/16")
    have = Actual(frozenset({old}), frozenset({route}))
    assert plan(wished(), have) == [SetAddress(OWN, frozenset({old})), SetRoute(NETWORK, frozenset({route}))]


NUMBERS = st.integers(1, 5)
ENDPOINTS = st.sampled_from([None, "10.0.0.1:1", "10.0.0.2:2", "[fd00::1]:3"])


@st.composite
def interfaces(draw: st.DrawFn) -> tuple[Wished, Actual]:
    """Peers whose addresses may be those that other peers have now."""
    keys = draw(st.lists(NUMBERS, unique=True))
    places = draw(st.permutations(range(1, 6)))
    want = [
        tunnel(key, draw(ENDPOINTS), draw(st.sampled_from([0, 25])), f"100.64.0.{place}/32")
        for key, place in zip(keys, places, strict=False)
    ]
    have = [
        observed(key, draw(ENDPOINTS), draw(st.sampled_from([0, 25]))) for key in draw(st.lists(NUMBERS, unique=True))
    ]
    return wished(*want), actual(*have)


def wireguard(changes: list[Change], before: Actual) -> dict[PublicKey, Observed]:
    """What WireGuard makes of the changes: an allowed IP belongs to whoever was given it last."""
    tunnels = dict(before.tunnels)
    for change in changes:
        if isinstance(change, RemoveTunnel):
            del tunnels[change.public_key]
        elif isinstance(change, SetTunnel):
            assert change.is_new == (change.public_key not in tunnels)
            now = tunnels.get(change.public_key) or Observed(change.public_key, frozenset())
            if change.allowed_ips is not None:
                for key, other in tunnels.items():
                    left: frozenset[IPNetwork] = other.allowed_ips - change.allowed_ips
                    tunnels[key] = replace(other, allowed_ips=left)
                now = replace(now, allowed_ips=change.allowed_ips)
            tunnels[change.public_key] = replace(
                now,
                endpoint=change.endpoint or now.endpoint,
                keepalive=now.keepalive if change.keepalive is None else change.keepalive,
            )
    return tunnels


@given(interfaces())
def test_after_its_changes_the_interface_is_as_wished_and_needs_no_more(case: tuple[Wished, Actual]) -> None:
    want, have = case
    tunnels = wireguard(plan(want, have), have)
    assert tunnels.keys() == want.tunnels.keys()
    for key, one in want.tunnels.items():
        assert (tunnels[key].allowed_ips, tunnels[key].keepalive) == (one.allowed_ips, one.keepalive)
        assert one.endpoint in (None, tunnels[key].endpoint)
    assert plan(want, replace(have, tunnels=tunnels)) == []

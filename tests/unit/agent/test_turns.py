"""Who is tried when more peers can't be reached than may be tried at one time."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_key, a_name, a_peer
from tests.unit.agent.builders import endpoint, endpoints, here
from tests.unit.agent.test_wishes import OWN, a_welcome
from wg_orchestrator.agent.paths import TRIAL, Path
from wg_orchestrator.agent.plan import SetTunnel
from wg_orchestrator.agent.tunnel import Actual, Observed
from wg_orchestrator.agent.turns import AT_ONCE, Turns
from wg_orchestrator.agent.weave import Weave
from wg_orchestrator.agent.wishes import Wishes, sound_peers
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.peer import Peer, PublicKey

NOW = 1000.0
SOMEWHERE = endpoint("10.1.0.9:51820")


def tried(trials: int = 1, since: float = NOW) -> Path:
    return Path(trial=SOMEWHERE, trials=trials, since=since)


def keys(*numbers: int) -> frozenset[PublicKey]:
    return frozenset(map(a_key, numbers))


def test_all_are_tried_as_long_as_they_are_few() -> None:
    turns = Turns(3)
    paths = {a_key(1): tried(), a_key(2): Path(), a_key(3): tried(9)}
    assert turns.give(paths, NOW) == keys(1, 3)
    assert turns.give(paths, NOW + 100) == keys(1, 3)


def test_one_that_was_never_tried_takes_the_turn_of_one_that_was() -> None:
    turns = Turns(2)
    paths = {a_key(1): tried(7), a_key(2): tried(7)}
    assert turns.give(paths, NOW) == keys(1, 2)
    paths[a_key(3)] = tried(1)
    assert turns.give(paths, NOW + 1) == keys(1, 3)


def test_a_turn_is_not_taken_away_by_another_first_one() -> None:
    turns = Turns(1)
    paths = {a_key(1): tried()}
    turns.give(paths, NOW)
    paths = {a_key(2): tried(), a_key(1): tried()}
    assert turns.give(paths, NOW + 1) == keys(1)
    assert turns.give(paths, NOW + TRIAL) == keys(2)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(5, 40))
def test_everybody_has_a_turn_in_time_and_never_too_many(at_once: int, peers: int, rounds: int) -> None:
    turns = Turns(at_once)
    paths = {a_key(number): tried(7) for number in range(peers)}
    had: list[frozenset[PublicKey]] = []
    for number in range(rounds):
        now = NOW + number * TRIAL
        granted = turns.give(paths, now)
        assert len(granted) == min(at_once, peers)
        paths = {key: replace(path, since=now) if key not in granted else path for key, path in paths.items()}
        had.append(granted)
    needed = -(-peers // at_once)
    for start in range(len(had) - needed + 1):
        assert frozenset().union(*had[start : start + needed]) == frozenset(paths)


def a_peer_somewhere(number: int) -> Peer:
    address = IPv4Address(int(IPv4Address("100.65.0.0")) + number)
    return Peer(a_name(number), a_key(number), address, endpoints(f"10.1.0.9:{number}"))


def a_weave(peers: int) -> Weave:
    picture = Picture()
    picture.apply(a_welcome(*map(a_peer_somewhere, range(1000, 1000 + peers))))
    weave = Weave(picture, Wishes(OWN, picture))
    weave.here = here("10.1.0.2/24")
    return weave


def settle(weave: Weave, now: float) -> list[SetTunnel]:
    changes = weave.changes(now)
    weave.applied(changes)
    return [change for change in changes if isinstance(change, SetTunnel)]


def begun(changes: Iterable[SetTunnel]) -> set[PublicKey]:
    """Those with whom a handshake begins."""
    return {change.public_key for change in changes if change.keepalive and (change.begins_anew or change.sends_now)}


def test_no_more_handshakes_are_begun_at_one_time_and_all_peers_come_to_theirs() -> None:
    weave = a_weave(3 * AT_ONCE)
    seen = set[PublicKey]()
    active: set[PublicKey] = set()
    for step in range(200):
        changes = settle(weave, NOW + 0.2 * step)
        active |= begun(changes)
        active -= {change.public_key for change in changes if change.begins_anew and not change.keepalive}
        assert len(active) <= AT_ONCE
        seen |= active
    everybody = set(weave.actual.tunnels)
    assert len(everybody) == 3 * AT_ONCE
    assert seen == everybody


@pytest.mark.parametrize(("handshake_ago", "is_silenced"), [(None, True), (200, True), (100, False)])
def test_those_whose_turn_is_over_are_silenced_unless_their_sessions_may_hold(
    handshake_ago: float | None, is_silenced: bool
) -> None:
    weave = a_weave(2 * AT_ONCE)
    settle(weave, NOW)
    assert len(begun(settle(weave, NOW + 0.3))) == AT_ONCE
    late = NOW + TRIAL + 0.1
    handshake = None if handshake_ago is None else late - handshake_ago
    tunnels = {key: replace(tunnel, latest_handshake=handshake) for key, tunnel in weave.actual.tunnels.items()}
    weave.actual = Actual(weave.actual.addresses, weave.actual.routes, tunnels)
    silenced = [change for change in settle(weave, late) if change.begins_anew and not change.keepalive]
    assert len(silenced) == (AT_ONCE if is_silenced else 0)


def test_one_that_is_silenced_does_not_take_an_address_back_that_is_another_peers_now() -> None:
    weave = a_weave(2 * AT_ONCE)
    settle(weave, NOW)
    settle(weave, NOW + 0.3)
    first = next(iter(begun(settle(weave, NOW + 1.1))))
    taken = weave.actual.tunnels[first].allowed_ips
    # The picture has another peer there, and the first one is kept for its grace.
    newcomer = replace(a_peer_somewhere(5000), virtual_ip=next(iter(taken)).network_address)
    del weave._picture.peers[first]
    weave._picture.peers[newcomer.public_key] = newcomer
    weave._paths[first] = replace(weave._paths[first], since=NOW - 100)
    changes = [change for change in weave.changes_of([newcomer.public_key], NOW + 1.2) if isinstance(change, SetTunnel)]
    assert {change.public_key for change in changes if change.allowed_ips == taken} == {newcomer.public_key}


def test_one_that_is_heard_of_while_it_waits_is_left_alone() -> None:
    path = tried().waiting(NOW)
    assert path.next_look() is None
    same = path.step([SOMEWHERE], Observed(a_key(1), frozenset()), NOW + 60)
    assert (same.trial, same.trials, same.attempts) == (SOMEWHERE, 1, 0)
    heard = path.step([SOMEWHERE], Observed(a_key(1), frozenset(), SOMEWHERE, latest_handshake=NOW + 50), NOW + 60)
    assert heard.trial is None
    begun_now = same.begun(NOW + 70)
    assert (begun_now.since, begun_now.waits) == (NOW + 70, False)


def test_names_of_impossible_peers_are_not_taken() -> None:
    picture = Picture()
    picture.apply(a_welcome(a_peer(1), replace(a_peer(2), public_key=OWN, display_name=a_name(9))))
    assert [peer.public_key for peer in sound_peers(picture, OWN)] == [a_key(1)]

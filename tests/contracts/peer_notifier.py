from collections.abc import Awaitable, Callable
from typing import Any

from tests.builders import ACME, GLOBEX, a_peer, a_tenant, apply, joined, left
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.ports import PeerNotifier
from wg_orchestrator.domain.tenant_id import TenantId

Subscribe = Callable[[], Any]
Seen = Callable[[Any], Awaitable[list[Any]]]


class Members:
    """A tenant whose events are given to the notifier as by the repository and the service."""

    def __init__(self, notifier: PeerNotifier[Any], tenant_id: TenantId = ACME) -> None:
        self._notifier = notifier
        self._tenant = a_tenant(tenant_id=tenant_id)

    def come(self, peer: Peer, subscriber: Any = None) -> None:
        """Have a peer join. Without a subscriber, it is a peer of another node."""
        event = joined(peer, self._tenant.id)
        self._notifier.announce(apply(self._tenant, event))
        if subscriber is not None:
            self._notifier.welcome(self._tenant, event.stay, subscriber)

    def go(self, peer: Peer) -> None:
        self._notifier.announce(apply(self._tenant, left(peer, self._tenant.id)))


class PeerNotifierContract:
    """What a PeerNotifier promises. Subclass it as `Test…` and supply three fixtures:

    `notifier`; `subscribe`, which makes something to pass as a subscriber; and the coroutine function `seen`, which
    waits until the notifier has told all that it has to tell, and returns what a subscriber was told: ("welcome", own
    address, {the others' addresses}), ("joined", address), ("left", address) and, last, ("ended",) if its connection
    was ended.
    """

    async def test_a_newcomer_is_told_its_address_and_the_others(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, second, newcomer = Members(notifier), subscribe(), subscribe()
        members.come(a_peer(1))
        members.come(a_peer(2), second)
        members.come(a_peer(3), newcomer)
        assert await seen(newcomer) == [("welcome", "100.64.0.3", {"100.64.0.1", "100.64.0.2"})]
        assert (await seen(second))[0] == ("welcome", "100.64.0.2", {"100.64.0.1"})

    async def test_each_welcomed_peer_is_told_of_each_event_once_and_in_order(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, listeners = Members(notifier), [subscribe() for _ in range(3)]
        for number, listener in enumerate(listeners, 1):
            members.come(a_peer(number), listener)
        members.come(a_peer(9))
        members.go(a_peer(9))
        members.come(a_peer(8, "100.64.0.9"))
        for number, listener in enumerate(listeners, 1):
            told = (await seen(listener))[1:]
            assert told[: 3 - number] == [("joined", f"100.64.0.{later}") for later in range(number + 1, 4)]
            assert told[3 - number :] == [("joined", "100.64.0.9"), ("left", "100.64.0.9"), ("joined", "100.64.0.9")]

    async def test_events_around_a_welcome_are_in_it_or_come_after_it(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, watcher, newcomer = Members(notifier), subscribe(), subscribe()
        members.come(a_peer(1), watcher)
        members.come(a_peer(2))
        members.go(a_peer(2))
        members.come(a_peer(3))
        members.come(a_peer(4), newcomer)
        members.go(a_peer(3))
        members.come(a_peer(5))
        assert await seen(newcomer) == [
            ("welcome", "100.64.0.4", {"100.64.0.1", "100.64.0.3"}),
            ("left", "100.64.0.3"),
            ("joined", "100.64.0.5"),
        ]
        assert len(await seen(watcher)) == 7

    async def test_no_peer_is_told_of_itself(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, listener, other = Members(notifier), subscribe(), subscribe()
        members.come(a_peer(1), listener)
        members.come(a_peer(2), other)
        members.go(a_peer(1))
        assert await seen(listener) in (
            [("welcome", "100.64.0.1", set()), ("ended",)],
            [("welcome", "100.64.0.1", set()), ("joined", "100.64.0.2"), ("ended",)],
        )
        assert (await seen(other))[1:] == [("left", "100.64.0.1")]

    async def test_the_connection_of_a_peer_that_left_is_ended_and_it_is_told_nothing_more(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, gone, stays = Members(notifier), subscribe(), subscribe()
        members.come(a_peer(1), gone)
        members.come(a_peer(2), stays)
        told = await seen(gone)
        members.go(a_peer(1))
        members.come(a_peer(3))
        assert await seen(gone) == [*told, ("ended",)]
        assert (await seen(stays))[1:] == [("left", "100.64.0.1"), ("joined", "100.64.0.3")]

    async def test_peers_that_leave_right_after_their_join_are_told_of_in_order(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, watcher = Members(notifier), subscribe()
        members.come(a_peer(1), watcher)
        for number in range(2, 12):
            members.come(a_peer(number), subscribe())
            members.go(a_peer(number))
        expected = [(kind, f"100.64.0.{number}") for number in range(2, 12) for kind in ("joined", "left")]
        assert (await seen(watcher))[1:] == expected

    async def test_events_reach_the_new_holder_of_an_address_and_not_the_former_one(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        members, first, second = Members(notifier), subscribe(), subscribe()
        members.come(a_peer(1), first)
        members.go(a_peer(1))
        members.come(a_peer(2, "100.64.0.1"), second)
        members.come(a_peer(3))
        assert [kind for kind, *_ in await seen(first)] == ["welcome", "ended"]
        assert (await seen(second))[1:] == [("joined", "100.64.0.3")]

    async def test_no_event_of_one_tenant_is_told_in_another(
        self, notifier: PeerNotifier[Any], subscribe: Subscribe, seen: Seen
    ) -> None:
        acme, globex, here, there = Members(notifier), Members(notifier, GLOBEX), subscribe(), subscribe()
        acme.come(a_peer(1), here)
        globex.come(a_peer(2, "100.64.0.1"), there)
        acme.come(a_peer(3))
        globex.go(a_peer(2, "100.64.0.1"))
        acme.go(a_peer(3))
        assert (await seen(here))[1:] == [("joined", "100.64.0.3"), ("left", "100.64.0.3")]
        assert await seen(there) == [("welcome", "100.64.0.1", set()), ("ended",)]

    async def test_events_of_a_tenant_without_subscribers_raise_nothing(self, notifier: PeerNotifier[Any]) -> None:
        members = Members(notifier)
        members.come(a_peer(1))
        members.go(a_peer(1))

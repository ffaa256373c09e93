from collections.abc import Callable
from typing import Any

from tests.builders import ACME, GLOBEX, a_peer, joined, left
from wg_orchestrator.domain.events import MembershipEvent
from wg_orchestrator.domain.ports import PeerNotifier


class PeerNotifierContract:
    """What a PeerNotifier promises. Subclass it as `Test…` and supply three fixtures:

    `notifier`; `subscribe`, which makes something to pass as a subscriber; and `seen`, which says what that was
    told so far: ("welcome", own address, {the others' addresses}), ("joined", address) and ("left", address).
    """

    def test_a_newcomer_is_told_its_address_and_the_others(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        newcomer = subscribe()
        notifier.welcome(ACME, a_peer(3), [a_peer(1), a_peer(2)], newcomer)
        assert seen(newcomer) == [("welcome", "100.64.0.3", {"100.64.0.1", "100.64.0.2"})]

    def test_whoever_was_welcomed_hears_of_each_event_once_and_in_order(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        listeners = [subscribe() for _ in range(3)]
        for number, listener in enumerate(listeners, 1):
            notifier.welcome(ACME, a_peer(number), [], listener)
        events: list[MembershipEvent] = [joined(a_peer(9)), left(a_peer(9)), joined(a_peer(8, "100.64.0.9"))]
        for event in events:
            notifier.announce(event)
        for listener in listeners:
            assert seen(listener)[1:] == [("joined", "100.64.0.9"), ("left", "100.64.0.9"), ("joined", "100.64.0.9")]

    def test_nobody_hears_of_what_came_before_its_welcome(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        newcomer = subscribe()
        notifier.announce(joined(a_peer(1)))
        notifier.welcome(ACME, a_peer(1), [], newcomer)
        assert seen(newcomer) == [("welcome", "100.64.0.1", set())]

    def test_nobody_hears_of_itself(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        listener = subscribe()
        notifier.welcome(ACME, a_peer(1), [], listener)
        notifier.announce(joined(a_peer(1)))
        notifier.announce(left(a_peer(1)))
        assert len(seen(listener)) == 1

    def test_whoever_left_hears_nothing_any_more(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        gone, stays = subscribe(), subscribe()
        notifier.welcome(ACME, a_peer(1), [], gone)
        notifier.welcome(ACME, a_peer(2), [a_peer(1)], stays)
        notifier.announce(left(a_peer(1)))
        notifier.announce(joined(a_peer(3)))
        assert len(seen(gone)) == 1
        assert seen(stays)[1:] == [("left", "100.64.0.1"), ("joined", "100.64.0.3")]

    def test_an_address_that_changes_hands_reaches_its_new_owner(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        first, second = subscribe(), subscribe()
        notifier.welcome(ACME, a_peer(1), [], first)
        notifier.announce(left(a_peer(1)))
        notifier.welcome(ACME, a_peer(2, "100.64.0.1"), [], second)
        notifier.announce(joined(a_peer(3)))
        assert len(seen(first)) == 1
        assert seen(second)[1:] == [("joined", "100.64.0.3")]

    def test_nothing_of_one_tenant_reaches_another(
        self, notifier: PeerNotifier[Any], subscribe: Callable[[], Any], seen: Callable[[Any], list[Any]]
    ) -> None:
        here, there = subscribe(), subscribe()
        notifier.welcome(ACME, a_peer(1), [], here)
        notifier.welcome(GLOBEX, a_peer(2, "100.64.0.1"), [], there)
        notifier.announce(joined(a_peer(3), ACME))
        notifier.announce(left(a_peer(2, "100.64.0.1"), GLOBEX))
        notifier.announce(left(a_peer(3), ACME))
        assert seen(here)[1:] == [("joined", "100.64.0.3"), ("left", "100.64.0.3")]
        assert len(seen(there)) == 1

    def test_telling_nobody_is_fine(self, notifier: PeerNotifier[Any]) -> None:
        notifier.announce(joined(a_peer(1)))
        notifier.announce(left(a_peer(1)))

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.contracts.peer_notifier import PeerNotifierContract
from tests.fakes import Joined, RecordingNotifier, Subscriber, Told, Welcome


class TestRecordingNotifier(PeerNotifierContract):
    @pytest.fixture
    def notifier(self) -> RecordingNotifier:
        return RecordingNotifier()

    @pytest.fixture
    def subscribe(self) -> Callable[[], Subscriber]:
        return Subscriber

    @pytest.fixture
    def seen(self) -> Callable[[Subscriber], Awaitable[list[Any]]]:
        async def seen(subscriber: Subscriber) -> list[Any]:
            return [*(_plain(told) for told in subscriber.seen), *([("ended",)] if subscriber.ended else [])]

        return seen


def _plain(told: Told) -> tuple[Any, ...]:
    if isinstance(told, Welcome):
        return "welcome", str(told.newcomer.virtual_ip), {str(peer.virtual_ip) for peer in told.others}
    return "joined" if isinstance(told, Joined) else "left", str(told.peer.virtual_ip)

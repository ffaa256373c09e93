from wg_orchestrator.adapters.websocket.history import History, HistoryLimits
from wg_orchestrator.rfc6455.message import Text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_history(limits: HistoryLimits, count: int, *, first: int = 10, clock: Clock | None = None) -> History:
    """It begins after revision `first`, and has notices with the revisions of every second number after it."""
    history = History(first, limits, clock or Clock())
    for number in range(1, count + 1):
        history.add(first + 2 * number, Text(b"%d" % number), "", is_anybody_away=True)
    return history


def texts(history: History, revision: int, last: int = 1000, key: str = "me") -> list[bytes] | None:
    missed = history.since(revision, last, key)
    return None if missed is None else [text.payload for text in missed]


def test_what_came_after_a_revision_is_told_in_order() -> None:
    history = a_history(HistoryLimits(), 4)
    assert texts(history, 10) == [b"1", b"2", b"3", b"4"]
    assert texts(history, 12) == texts(history, 13) == [b"2", b"3", b"4"]
    assert texts(history, 18) == []


def test_what_is_not_kept_or_not_yet_there_is_not_told() -> None:
    history = a_history(HistoryLimits(), 4)
    assert texts(history, 9) is None
    assert texts(history, 19, last=18) is None
    assert texts(history, 18, last=18) == []


def test_no_more_notices_and_no_more_bytes_are_kept_than_allowed() -> None:
    assert texts(a_history(HistoryLimits(notices=2), 4), 13) is None
    assert texts(a_history(HistoryLimits(notices=2), 4), 14) == [b"3", b"4"]
    size = len(Text(b"1").frame)
    assert texts(a_history(HistoryLimits(size=3 * size), 4), 12) == [b"2", b"3", b"4"]
    assert texts(a_history(HistoryLimits(size=3 * size - 1), 4), 12) is None


def test_nobody_is_told_of_its_own_update() -> None:
    history = History(0, HistoryLimits(), Clock())
    history.add(1, Text(b"mine"), "me", is_anybody_away=True)
    history.add(2, Text(b"theirs"), "them", is_anybody_away=True)
    assert texts(history, 0) == [b"theirs"]
    assert texts(history, 0, key="them") == [b"mine"]


def test_while_nobody_is_away_only_what_may_have_been_lost_on_the_way_is_kept() -> None:
    clock = Clock()
    history = History(0, HistoryLimits(while_all_are_here=30.0), clock)
    for revision in range(1, 101):
        clock.now += 1.0
        history.add(revision, Text(b"x"), "", is_anybody_away=False)
    assert texts(history, 69) == [b"x"] * 31
    assert texts(history, 68) is None
    clock.now += 1000.0
    history.add(101, Text(b"y"), "", is_anybody_away=True)
    assert texts(history, 69) == [b"x"] * 31 + [b"y"]

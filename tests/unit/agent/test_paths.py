"""Which endpoint a peer is sent to: tables of what is seen, and what follows."""

import pytest

from tests.unit.agent.builders import endpoint, endpoints, here, observed
from wg_orchestrator.agent.paths import ATTEMPTS, LONG_TRIAL, SHORT_ROUNDS, SILENCE, TRIAL, Path, Reason
from wg_orchestrator.agent.tunnel import Observed
from wg_orchestrator.domain.path_kind import PathKind

LAN, PUBLIC, ROUTED, SIX = "10.1.0.3:51820", "203.0.113.9:51820", "192.168.7.7:51820", "[2001:db8::9]:51820"
NOW = 1000.0


@pytest.mark.parametrize(
    ("own", "listed", "order"),
    [
        (["10.1.0.2/24"], [PUBLIC, ROUTED, LAN], [LAN, PUBLIC, ROUTED]),
        (["198.51.100.7/24"], [ROUTED, LAN, PUBLIC], [PUBLIC, ROUTED, LAN]),
        (["10.1.0.2/24"], [SIX, LAN], [LAN]),
        (["10.1.0.2/24", "2001:db8:1::2/64"], [SIX, LAN], [LAN, SIX]),
        (["10.1.0.3/24"], [LAN, PUBLIC], [PUBLIC]),  # It is this machine's own address.
        ([], [LAN, PUBLIC], []),
        (["100.100.0.2/24"], [LAN, PUBLIC], [PUBLIC, LAN]),  # A provider's address, behind its NAT.
    ],
)
def test_the_nearest_endpoints_are_tried_first(own: list[str], listed: list[str], order: list[str]) -> None:
    assert here(*own).candidates(endpoints(*listed)) == endpoints(*order)


@pytest.mark.parametrize(
    ("own", "at", "seconds"),
    [
        (["10.1.0.2/24"], LAN, 0),
        (["10.1.0.2/24"], PUBLIC, 25),
        (["198.51.100.7/24"], PUBLIC, 0),
        (["198.51.100.7/24"], ROUTED, 25),
        (["10.1.0.2/24"], None, 0),
        (["100.100.0.2/24"], PUBLIC, 25),
    ],
)
def test_packets_keep_a_mapping_open_where_there_may_be_a_nat(own: list[str], at: str | None, seconds: int) -> None:
    assert here(*own).keepalive(None if at is None else endpoint(at)) == seconds


FIRST, SECOND = endpoints(LAN, PUBLIC)


def a_trial() -> Path:
    """The first endpoint of two is being tried, since NOW."""
    return Path().step([FIRST, SECOND], observed(1), NOW)


def test_a_peer_that_was_never_reached_is_tried_at_its_first_endpoint() -> None:
    path = a_trial()
    assert (path.trial, path.since, path.attempts) == (FIRST, NOW, 0)


def test_a_peer_without_endpoints_waits_for_its_packets() -> None:
    path = Path().step([], observed(1), NOW)
    assert path.trial is None
    assert path.kind(observed(1), here()) == (PathKind.NONE, Reason.NO_ENDPOINT)
    assert path.next_look() is None


def test_handshakes_are_begun_a_moment_later_and_again() -> None:
    path, seen = a_trial(), []
    for moment in ATTEMPTS:
        assert path.next_look() == NOW + moment
        path = path.step([FIRST, SECOND], observed(1), NOW + moment)
        seen.append(path.attempts)
    assert (seen, path.trial) == ([1, 2, 3], FIRST)
    assert path.next_look() == NOW + TRIAL


def test_without_an_answer_the_next_endpoint_is_tried_and_then_the_first_again() -> None:
    path, now, tried = a_trial(), NOW, []
    for _ in range(4):
        tried.append(path.trial)
        now += TRIAL
        path = path.step([FIRST, SECOND], observed(1), now)
    assert tried == [FIRST, SECOND, FIRST, SECOND]


def test_after_a_few_rounds_each_endpoint_is_given_longer() -> None:
    path, now = a_trial(), NOW
    for _ in range(2 * SHORT_ROUNDS):
        now += TRIAL
        path = path.step([FIRST, SECOND], observed(1), now)
    assert (path.next_look(), path.is_urgent) == (None, False)
    assert path.step([FIRST, SECOND], observed(1), now + LONG_TRIAL - 1).trial == path.trial
    assert path.step([FIRST, SECOND], observed(1), now + LONG_TRIAL).trial != path.trial


@pytest.mark.parametrize("answer", [observed(1, LAN, handshake=NOW + 1), observed(1, LAN, rx=148)])
def test_what_answers_is_kept(answer: Observed) -> None:
    path = a_trial().step([FIRST, SECOND], answer, NOW + 1.5)
    assert (path.trial, path.next_look()) == (None, None)


def test_a_clock_that_is_put_back_delays_nothing() -> None:
    path = a_trial().step([FIRST, SECOND], observed(1), NOW - 3600)
    assert (path.trial, path.next_look()) == (FIRST, NOW - 3600 + ATTEMPTS[0])
    assert path.step([FIRST, SECOND], observed(1), NOW - 3600 + TRIAL).trial == SECOND


def test_an_endpoint_that_comes_first_now_is_tried_at_once() -> None:
    path = Path().step([SECOND], observed(1), NOW).step([FIRST, SECOND], observed(1), NOW + 1)
    assert (path.trial, path.since) == (FIRST, NOW + 1)


def a_path_that_works(at: str = PUBLIC, listed: tuple[str, ...] = (PUBLIC,)) -> Path:
    return Path().step(endpoints(*listed), observed(1, at, 25, NOW - 1, rx=500, tx=500), NOW)


@pytest.mark.parametrize(
    ("after", "rx", "tx", "is_tried"),
    [
        (SILENCE + 1, 500, 500 + 2000, True),  # Data has gone out, and nothing has come back.
        (SILENCE - 1, 500, 500 + 2000, False),  # It may still come.
        (SILENCE + 1, 900, 500 + 2000, False),
        (SILENCE + 1, 500, 500, False),  # Nothing was sent: who is not asked does not answer.
        (100, 500, 500 + 32 * 5, False),  # Packets that keep a mapping open get no answer.
        (100, 500, 500 + 32 * 4 + 148, True),  # A handshake would have got one.
    ],
)
def test_a_peer_that_falls_silent_is_tried_anew(after: float, rx: int, tx: int, is_tried: bool) -> None:
    seen = observed(1, PUBLIC, 25, NOW - 1, rx, tx)
    path = a_path_that_works().step(endpoints(PUBLIC), seen, NOW + after)
    assert (path.trial is not None) is is_tried


def test_an_endpoint_that_the_peer_does_not_name_any_more_is_given_up() -> None:
    path = a_path_that_works().step(endpoints(ROUTED), observed(1, PUBLIC, 25, NOW - 1, 500, 500), NOW + 1)
    assert path.trial == endpoint(ROUTED)


def test_an_endpoint_that_the_peer_has_never_named_is_kept() -> None:
    """Its packets come from there: that is behind its NAT."""
    path = a_path_that_works("203.0.113.77:9").step(
        endpoints(ROUTED), observed(1, "203.0.113.77:9", 25, NOW - 1, 500, 500), NOW + 1
    )
    assert path.trial is None


@pytest.mark.parametrize(
    ("path", "at", "handshake", "kind"),
    [
        (Path(), LAN, NOW, (PathKind.LAN, None)),
        (Path(), PUBLIC, NOW, (PathKind.DIRECT, None)),
        (Path(), PUBLIC, None, (PathKind.NONE, Reason.NO_HANDSHAKE)),
        (Path(trial=FIRST, since=NOW), LAN, NOW - 5, (PathKind.NONE, Reason.NO_HANDSHAKE)),
        (Path(trial=FIRST, since=NOW), LAN, NOW + 1, (PathKind.LAN, None)),
    ],
)
def test_a_path_has_its_name_or_a_reason(
    path: Path, at: str, handshake: float | None, kind: tuple[PathKind, Reason | None]
) -> None:
    assert path.kind(observed(1, at, handshake=handshake), here("10.1.0.2/24")) == kind

"""For each phase of a WebSocket and each step: whether the step is allowed, where it leads, and what is sent."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from tests.unit.rfc6455.test_handshake import HEADERS
from tests.unit.server.streams import encoded
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.conversation import (
    ENDINGS,
    TRANSITIONS,
    Conversation,
    Ending,
    Event,
    Phase,
    Reply,
    Sign,
    Step,
)
from wg_orchestrator.rfc6455.frames import Opcode, Violation, close_frame, frame
from wg_orchestrator.rfc6455.handshake import Handshake, Request

Said = Ending | bytes | None
"""What a step returned. None: it was too late or too early."""

CLOSE_FRAME = encoded(0x88, b"\x03\xe8bye", b"mask")
TOO_BIG = encoded(0x82, b"x" * 101, b"mask")


def a_conversation() -> Conversation:
    return Conversation(Handshake(Request("GET", b"/", "1.1", HEADERS)), max_message_size=100, max_fragments=16)


def received(conversation: Conversation, data: bytes) -> list[Event]:
    """All events of one read, as the protocol class takes them."""
    events: list[Event] = []
    try:
        events.extend(conversation.hear(opcode, payload) for opcode, payload in conversation.read(data))
    except Violation as violation:
        events += [ending] if (ending := conversation.violate(violation)) else []
    return events


def ending_in(conversation: Conversation, data: bytes) -> Said:
    endings = [event for event in received(conversation, data) if isinstance(event, Ending)]
    assert len(endings) <= 1
    return endings[0] if endings else None


TAKE: dict[Step, Callable[[Conversation], Said]] = {
    Step.ACCEPT: lambda conversation: conversation.accept((), None),
    Step.REFUSE: lambda conversation: conversation.refuse(403, (), b"no"),
    Step.CLOSE: lambda conversation: conversation.close(Close(1000, "bye")),
    Step.HEAR_CLOSE: lambda conversation: ending_in(conversation, CLOSE_FRAME),
    Step.BREAK: lambda conversation: ending_in(conversation, TOO_BIG),
    Step.HEAR_END: lambda conversation: conversation.hear_end(),
    Step.GIVE_UP: lambda conversation: conversation.give_up("too long"),
    Step.LOSE: lambda conversation: conversation.lose(),
}

WAYS = {
    Phase.CONNECTING: (),
    Phase.OPEN: (Step.ACCEPT,),
    Phase.CLOSING: (Step.ACCEPT, Step.CLOSE),
    Phase.DRAINING: (Step.ACCEPT, Step.HEAR_END),
    Phase.CLOSED: (Step.ACCEPT, Step.LOSE),
}


def in_phase(phase: Phase) -> Conversation:
    conversation = a_conversation()
    for step in WAYS[phase]:
        TAKE[step](conversation)
    assert conversation.phase is phase
    return conversation


@pytest.mark.parametrize(("phase", "step"), [*itertools.product(Phase, Step)])
def test_each_step_in_each_phase_leads_to_where_the_table_says_or_is_nothing(phase: Phase, step: Step) -> None:
    conversation = in_phase(phase)
    cause = conversation.cause
    said = TAKE[step](conversation)
    if step in TRANSITIONS[phase]:
        assert said is not None
        assert conversation.phase is TRANSITIONS[phase][step]
    else:
        assert said is None
        assert (conversation.phase, conversation.cause) == (phase, cause)


@pytest.mark.parametrize(("phase", "step"), [*itertools.product(Phase, ENDINGS)])
def test_the_end_is_told_by_the_first_step_towards_it_and_nothing_is_said_after_it(phase: Phase, step: Step) -> None:
    conversation = in_phase(phase)
    former = conversation.cause
    said = TAKE[step](conversation)
    if isinstance(said, Ending):
        is_first = phase in (Phase.CONNECTING, Phase.OPEN)
        assert said.step is step
        assert (said.cause is not None) == is_first
        assert is_first or not said.wire
        assert conversation.cause == (said.cause or former)


def test_the_table_has_every_phase_and_no_way_back() -> None:
    order = list(Phase)
    assert list(TRANSITIONS) == order
    for phase, steps in TRANSITIONS.items():
        assert all(order.index(following) >= order.index(phase) for following in steps.values())
        assert (Step.LOSE in steps) == (phase is not Phase.CLOSED)
    assert set(ENDINGS) == set(Step) - {Step.ACCEPT}


@pytest.mark.parametrize(
    ("step", "wire", "code", "reason"),
    [
        (Step.CLOSE, close_frame(1000, "bye"), 1000, "bye"),
        (Step.HEAR_CLOSE, close_frame(1000), 1000, "closed by the peer"),
        (Step.BREAK, close_frame(1009, "too big"), 1009, "too big"),
        (Step.HEAR_END, b"", 1006, "end of stream"),
        (Step.GIVE_UP, b"", 1006, "too long"),
        (Step.LOSE, b"", 1006, "connection lost"),
    ],
)
def test_what_ends_an_open_conversation_is_said_and_told(step: Step, wire: bytes, code: int, reason: str) -> None:
    assert TAKE[step](in_phase(Phase.OPEN)) == Ending(step, wire, Close(code, reason))


def test_a_refusal_is_an_http_response_and_the_end() -> None:
    said = a_conversation().refuse(403, (), b"no")
    assert said is not None
    assert said.wire.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert said.cause == Close(1006, "refused")


def test_what_comes_before_the_answer_to_the_handshake_is_heard_after_it() -> None:
    conversation = a_conversation()
    text = encoded(0x81, b"join", b"mask")
    conversation.hold(text[:3])
    conversation.hold(text[3:])
    assert conversation.accept((), None) is not None
    assert received(conversation, b"") == ["join"]


def test_each_frame_is_an_event() -> None:
    frames = [(0x81, b"text"), (0x82, b"binary"), (0x89, b"ping"), (0x8A, b"pong"), (0x01, b"a"), (0x80, b"b")]
    data = b"".join(encoded(first, payload, b"mask") for first, payload in frames)
    expected = ["text", b"binary", Reply(frame(Opcode.PONG, b"ping")), Sign.NOTHING, Sign.NOTHING]
    assert received(in_phase(Phase.OPEN), data) == [*expected, "ab"]


def test_only_the_answer_to_the_last_ping_is_a_sign_of_life_and_only_once() -> None:
    conversation = in_phase(Phase.OPEN)
    first, last = encoded(0x8A, b"one", b"mask"), encoded(0x8A, b"two", b"mask")
    assert conversation.ping(b"one") == frame(Opcode.PING, b"one")
    assert conversation.ping(b"two") == frame(Opcode.PING, b"two")
    assert received(conversation, first + last + last) == [Sign.NOTHING, Sign.ALIVE, Sign.NOTHING]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.OPEN])
def test_who_does_not_listen_is_not_pinged(phase: Phase) -> None:
    assert in_phase(phase).ping(b"one") is None


def test_behind_a_close_frame_of_ours_nothing_but_the_answer_is_heard() -> None:
    conversation = in_phase(Phase.CLOSING)
    data = encoded(0x81, b"text", b"mask") + encoded(0x89, b"ping", b"mask")
    assert received(conversation, data) == [Sign.NOTHING, Sign.NOTHING]
    assert received(conversation, CLOSE_FRAME) == [Ending(Step.HEAR_CLOSE, b"", None)]


def test_what_is_done_about_a_frame_counts_for_the_next_one_of_the_same_read() -> None:
    conversation = in_phase(Phase.OPEN)
    events = []
    for opcode, payload in conversation.read(encoded(0x82, b"x", b"mask") + encoded(0x81, b"y", b"mask")):
        events.append(conversation.hear(opcode, payload))
        conversation.close(Close(1003, "text only"))
    assert events == [b"x", Sign.NOTHING]


_STEPS = st.lists(st.sampled_from(list(Step)), max_size=12)


@fuzzed(300)
@given(_STEPS)
def test_whatever_happens_the_end_is_told_once_and_nothing_is_said_behind_it(steps: list[Step]) -> None:
    conversation = a_conversation()
    causes: list[Close] = []
    for step in steps:
        said = TAKE[step](conversation)
        wire = said.wire if isinstance(said, Ending) else said
        assert not (causes and wire)
        if isinstance(said, Ending) and said.cause is not None:
            causes.append(said.cause)
    assert len(causes) <= 1
    assert conversation.cause == (causes[0] if causes else None)
    assert (conversation.phase in (Phase.CONNECTING, Phase.OPEN)) == (causes == [])

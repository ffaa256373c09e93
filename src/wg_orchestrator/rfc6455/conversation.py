"""The server's side of one WebSocket: RFC 6455 without extensions, without I/O and without a clock. The caller has
these: it tells a `Conversation` what has happened, and does what the answer says.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias

from wg_orchestrator.rfc6455.close import CLOSED_BY_PEER, Close
from wg_orchestrator.rfc6455.frames import FrameReader, Opcode, Violation, close_frame, decode_text, frame, parse_close
from wg_orchestrator.rfc6455.handshake import Handshake, refusal

ABNORMAL = 1006
"""Stands for a close code if the connection ended without a close frame (RFC 6455, section 7.1.5)."""


class _Singletons(Enum):
    # Each member exists once, so its identity is its hash. Enum's own hash is Python code: slow in a table's lookups.
    __hash__ = object.__hash__


class Phase(_Singletons):
    CONNECTING = "the handshake has no answer yet"
    OPEN = "both sides may send"
    CLOSING = "we have sent a close frame, and ignore all but the client's"
    DRAINING = "we ignore all that still comes, and wait for the end of the TCP connection"
    CLOSED = "the TCP connection is gone"


class Step(_Singletons):
    ACCEPT = "we answer the handshake with 101"
    REFUSE = "we answer the handshake with another status"
    CLOSE = "we send a close frame"
    HEAR_CLOSE = "a close frame has come"
    BREAK = "the client has broken RFC 6455, or a limit"
    HEAR_END = "the client has ended its stream"
    GIVE_UP = "we wait no longer"
    LOSE = "the TCP connection is lost"


# Looked up once, because each frame and each notice needs them: before Python 3.12, to read a member of an Enum costs
# as much as a function call.
CONNECTING: Final = Phase.CONNECTING
OPEN: Final = Phase.OPEN

TRANSITIONS: Mapping[Phase, Mapping[Step, Phase]] = {
    Phase.CONNECTING: {
        Step.ACCEPT: Phase.OPEN,
        Step.REFUSE: Phase.DRAINING,
        Step.HEAR_END: Phase.DRAINING,
        Step.GIVE_UP: Phase.DRAINING,
        Step.LOSE: Phase.CLOSED,
    },
    Phase.OPEN: {
        Step.CLOSE: Phase.CLOSING,
        Step.HEAR_CLOSE: Phase.DRAINING,
        Step.BREAK: Phase.DRAINING,
        Step.HEAR_END: Phase.DRAINING,
        Step.GIVE_UP: Phase.DRAINING,
        Step.LOSE: Phase.CLOSED,
    },
    Phase.CLOSING: {
        Step.HEAR_CLOSE: Phase.DRAINING,
        Step.BREAK: Phase.DRAINING,
        Step.HEAR_END: Phase.DRAINING,
        Step.GIVE_UP: Phase.DRAINING,
        Step.LOSE: Phase.CLOSED,
    },
    Phase.DRAINING: {
        Step.HEAR_END: Phase.DRAINING,
        Step.GIVE_UP: Phase.DRAINING,
        Step.LOSE: Phase.CLOSED,
    },
    Phase.CLOSED: {},
}
"""Where each step leads. A step that is not in a phase's row is too late or too early there, and changes nothing."""


class Tcp(Enum):
    """What the caller has to do with the TCP connection."""

    READ_ON = "keep it open and read: the client has to answer"
    HALF_CLOSE = "end our direction, and wait until the client ends its own"
    CLOSE = "close it as soon as all is sent"
    ABORT = "close it at once"
    NOTHING = "nothing: it ends by itself"


ENDINGS: Mapping[Step, Tcp] = {
    Step.REFUSE: Tcp.CLOSE,
    Step.CLOSE: Tcp.READ_ON,
    Step.HEAR_CLOSE: Tcp.CLOSE,
    Step.BREAK: Tcp.HALF_CLOSE,
    Step.HEAR_END: Tcp.NOTHING,
    Step.GIVE_UP: Tcp.ABORT,
    Step.LOSE: Tcp.NOTHING,
}
"""What each step towards the end means for the TCP connection. ACCEPT is the only step that is not one of them."""


_REFUSED = Close(ABNORMAL, "refused")
_END_OF_STREAM = Close(ABNORMAL, "end of stream")
_CONNECTION_LOST = Close(ABNORMAL, "connection lost")


_BINARY, _CLOSE, _CONTINUATION = Opcode.BINARY, Opcode.CLOSE, Opcode.CONTINUATION
_PING, _PONG = Opcode.PING, Opcode.PONG


class Ending(NamedTuple):
    """A step towards the end. The caller sends `wire`, does with the TCP connection what ENDINGS says, and reports the
    end and its `cause` to the connection's user. No cause: an earlier step has already reported the end.
    """

    step: Step
    wire: bytes
    cause: Close | None


class Reply(NamedTuple):
    """The caller sends `wire`: the pong that answers a ping."""

    wire: bytes


class Sign(Enum):
    ALIVE = auto()
    """The client has answered our last ping: it has read all that we sent before that."""
    NOTHING = auto()
    """The frame needs no action."""


ALIVE: Final = Sign.ALIVE
NOTHING: Final = Sign.NOTHING

Event: TypeAlias = str | bytes | Reply | Sign | Ending
"""What a frame leads to. A str or bytes is a whole message for the connection's user."""


class Conversation:
    """Knows a WebSocket's phase, and what may be sent in it. From the first step towards the end on, `cause` says what
    ended it.
    """

    __slots__ = ("_handshake", "_ping", "_reader", "cause", "phase")

    def __init__(self, handshake: Handshake, max_message_size: int, max_fragments: int) -> None:
        self.phase = CONNECTING
        self.cause: Close | None = None
        self._handshake: Handshake | None = handshake
        self._reader: FrameReader | None = FrameReader(max_message_size, max_fragments)
        self._ping = b""

    # What we do. None: it is too late or too early for this step, and nothing is to be done.

    def accept(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> bytes | None:
        """Accept the handshake. Returns the 101 response to send."""
        if self._handshake is None or not self._take(Step.ACCEPT):
            return None
        wire = self._handshake.accept(headers, subprotocol)
        self._handshake = None
        return wire

    def refuse(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Ending | None:
        """Answer the handshake with this HTTP response instead of 101."""
        if Step.REFUSE not in TRANSITIONS[self.phase]:
            return None
        return self._end(Step.REFUSE, _REFUSED, refusal(status, headers, body))

    def close(self, close: Close) -> Ending | None:
        if self.phase is not OPEN:
            return None
        return self._end(Step.CLOSE, close, close_frame(close.code, close.reason))

    def ping(self, payload: bytes) -> bytes | None:
        """Returns a ping to send. A client that can't guess `payload` can't answer before it has read the ping."""
        if self.phase is not OPEN:
            return None
        self._ping = payload
        return frame(Opcode.PING, payload)

    def give_up(self, reason: str) -> Ending | None:
        return self._end(Step.GIVE_UP, Close(ABNORMAL, reason))

    # What happens to the connection

    def hear_end(self) -> Ending | None:
        return self._end(Step.HEAR_END, _END_OF_STREAM)

    def lose(self) -> Ending | None:
        return self._end(Step.LOSE, _CONNECTION_LOST)

    def violate(self, violation: Violation) -> Ending | None:
        """The client has broken RFC 6455, or a limit of ours."""
        close = Close(violation.code, violation.reason)
        return self._end(Step.BREAK, close, close_frame(close.code, close.reason) if self.phase is OPEN else b"")

    def hold(self, data: bytes) -> None:
        """Keep `data`, which has come before the handshake's answer. The first `read` after the answer gets it."""
        if self._reader is not None:
            self._reader.hold(data)

    @property
    def is_holding(self) -> bool:
        """Whether bytes that came earlier wait for the next `read`."""
        return self._reader is not None and self._reader.pending != b""

    def read(self, data: bytes) -> Iterable[tuple[Opcode, bytes]]:
        """Yield the frames that `data` completes. Call `hear` for each before you take the next. Raises Violation."""
        return () if self._reader is None else self._reader.feed(data)

    def hear(self, opcode: Opcode, payload: bytes) -> Event:
        """Returns what the caller has to do about a frame. Raises Violation."""
        if opcode is _CLOSE:
            code, _ = parse_close(payload)
            answer = frame(Opcode.CLOSE, payload[:2]) if self.phase is OPEN else b""
            return self._end(Step.HEAR_CLOSE, Close(code, CLOSED_BY_PEER), answer) or NOTHING
        if self.phase is not OPEN or opcode is _CONTINUATION:
            return NOTHING
        if opcode is _PONG:
            if not self._ping or payload != self._ping:
                return NOTHING
            self._ping = b""
            return ALIVE
        if opcode is _PING:
            return Reply(frame(Opcode.PONG, payload))
        return payload if opcode is _BINARY else decode_text(payload)

    def _end(self, step: Step, cause: Close, wire: bytes = b"") -> Ending | None:
        is_told = self.phase not in (CONNECTING, OPEN)
        if not self._take(step):
            return None
        if self.phase is not Phase.CLOSING:
            self._handshake = self._reader = None
        if is_told:
            return Ending(step, wire, None)
        self.cause = cause
        return Ending(step, wire, cause)

    def _take(self, step: Step) -> bool:
        following = TRANSITIONS[self.phase].get(step)
        if following is None:
            return False
        self.phase = following
        return True

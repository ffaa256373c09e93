from collections.abc import Sequence

from wg_orchestrator.rfc6455.frames import Opcode, frame


class Text:
    """One text message, framed once for however many receivers."""

    __slots__ = ("frame", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.frame = frame(Opcode.TEXT, payload)


class Notices:
    """Text messages that go out together, in order: `wire` is all their frames."""

    __slots__ = ("texts", "wire")

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        self.wire = b"".join([text.frame for text in texts])

    def after(self, count: int) -> "Notices":
        """All but the first `count` of them."""
        return Notices(self.texts[count:])

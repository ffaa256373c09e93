from collections.abc import Sequence

from wg_orchestrator.rfc6455.frames import Opcode, frame, frame_header


class Text:
    """One text message. It is framed once, and all receivers get the same bytes."""

    __slots__ = ("frame", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.frame = frame(Opcode.TEXT, payload)


class LongText(Text):
    """One text message of many parts. Only its frame stays in memory: for a megabyte, one more copy would cost more
    than all other work on the message.
    """

    __slots__ = ("_header_size",)

    def __init__(self, parts: list[bytes], separator: bytes) -> None:
        """`parts` has at least one part. This changes the list, so the caller can't use it again."""
        size = sum(map(len, parts)) + len(separator) * (len(parts) - 1)
        header = frame_header(Opcode.TEXT, size)
        self._header_size = len(header)
        parts[0] = header + parts[0]
        self.frame = separator.join(parts)

    @property
    def payload(self) -> bytes:  # type: ignore[override]
        """A copy of the payload."""
        return self.frame[self._header_size :]


class Notices:
    """Text messages that go out together, in order: `wire` is all their frames."""

    __slots__ = ("texts", "wire")

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        self.wire = b"".join([text.frame for text in texts])

    def after(self, count: int) -> "Notices":
        """All but the first `count` of them."""
        return Notices(self.texts[count:])

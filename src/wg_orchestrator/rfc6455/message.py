from collections.abc import Sequence

from wg_orchestrator.rfc6455.frames import Opcode, frame, frame_header, header_size


class Text:
    """One text message. It is framed once, and all receivers get the same bytes. Only the frame stays in memory: a
    welcome may be a megabyte.
    """

    __slots__ = ("frame",)

    def __init__(self, payload: bytes) -> None:
        self.frame = frame(Opcode.TEXT, payload)

    @classmethod
    def of_parts(cls, parts: list[bytes], separator: bytes) -> "Text":
        """The message of these parts, with the separator between them. There is at least one part. This changes the
        list, so the caller can't use it again.
        """
        size = sum(map(len, parts)) + len(separator) * (len(parts) - 1)
        parts[0] = frame_header(Opcode.TEXT, size) + parts[0]
        text = cls.__new__(cls)
        text.frame = separator.join(parts)
        return text

    @property
    def payload(self) -> bytes:
        """A copy of the payload."""
        return self.frame[header_size(self.frame) :]


class Notices:
    """Text messages that go out together, in order: `wire` is all their frames."""

    __slots__ = ("texts", "wire")

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        self.wire = b"".join([text.frame for text in texts])

    def after(self, count: int) -> "Notices":
        """All but the first `count` of them."""
        return Notices(self.texts[count:])

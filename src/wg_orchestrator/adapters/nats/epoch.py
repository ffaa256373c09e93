import re
from dataclasses import dataclass
from secrets import token_hex

_EPOCH = re.compile(rb"([0-9a-f]{16})(?: ([1-9][0-9]{0,11}))?( open)?")

_MARGIN = 2**20
"""Messages that others may have seen of an epoch, and that the node which begins the next one has not."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A time in which the stream has lost nothing. Its name is in the subject of every message, so what is said in one
    epoch does not count in another, whenever it arrives, and whatever the sequences are.

    It begins closed: the nodes put back what a lost store held of theirs, and nobody else gets in. It is opened when
    whoever has not come back by then has no lease any more. From that point of the stream on it is the whole truth.
    """

    name: str
    is_open: bool
    sequence: int
    base: int = 0
    """What is added to the sequences of this epoch, so that they go on where those of the epoch before have ended."""

    @property
    def opened(self) -> bytes:
        """The payload of the message that opens it."""
        return beginning(self.name, self.base) + b" open"

    def base_after(self, sequence: int) -> int:
        """The base of the next epoch, if this is the last sequence that is known of this one."""
        return self.base + sequence + _MARGIN


def new_epoch_name() -> str:
    return token_hex(8)


def beginning(name: str, base: int) -> bytes:
    """The payload of the message that begins an epoch."""
    return f"{name} {base}".encode() if base else name.encode()


def read_epoch(sequence: int, payload: bytes) -> Epoch | None:
    """The epoch that a message begins or opens. None if the message does neither."""
    found = _EPOCH.fullmatch(payload)
    return found and Epoch(found[1].decode(), found[3] is not None, sequence, int(found[2] or 0))

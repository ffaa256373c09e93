import re
from dataclasses import dataclass
from secrets import token_hex

_EPOCH = re.compile(rb"([0-9a-f]{16})( open)?")


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

    @property
    def opened(self) -> bytes:
        """The payload of the message that opens it."""
        return f"{self.name} open".encode()


def new_epoch_name() -> str:
    return token_hex(8)


def read_epoch(sequence: int, payload: bytes) -> Epoch | None:
    """The epoch that a message begins or opens. None if the message does neither."""
    found = _EPOCH.fullmatch(payload)
    return found and Epoch(found[1].decode(), found[2] is not None, sequence)

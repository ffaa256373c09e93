import base64
import hashlib
from functools import cache

from bench import frames


class Identity:
    """What a client says of itself: a name, a key that depends only on number and salt, and a join message's frame.

    Names are ASCII and 6 characters long, so that no notice has more than 125 bytes: `counting` relies on it.
    """

    __slots__ = ("join", "key", "name", "number")

    def __init__(self, number: int, salt: bytes = b"") -> None:
        if not 0 <= number < 100_000:
            raise ValueError("an identity's number has at most five digits")
        self.number = number
        self.name = f"p{number:05d}"
        raw = bytearray(hashlib.sha256(self.name.encode() + salt).digest())
        raw[31] &= 0x3F  # Below 2^254: a canonical point.
        self.key = base64.b64encode(raw).decode()
        message = f'{{"display_name":"{self.name}","public_key":"{self.key}"}}'
        self.join = frames.masked(frames.TEXT, message.encode())


@cache
def identity(number: int) -> Identity:
    return Identity(number)

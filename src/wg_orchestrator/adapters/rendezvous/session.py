"""The session that a handshake has begun (whitepaper, sections 5.4.5 and 5.4.6)."""

import struct

from cryptography.exceptions import InvalidTag

from wg_orchestrator.adapters.rendezvous import primitives as p
from wg_orchestrator.adapters.rendezvous.handshake import Answer, Refused

TRANSPORT = b"\x04\x00\x00\x00"
LEAST_BYTES = 32
REJECT_AFTER = 180.0
"""Seconds for which a session's keys are used (REJECT_AFTER_TIME)."""
REJECT_AFTER_MESSAGES = 2**64 - 2**13 - 1
WINDOW = 2048
"""How far behind the newest message a late one may be: packets overtake each other (RFC 6479)."""


def receiver_of(message: bytes) -> int:
    """The index that a transport message names."""
    (index,) = struct.unpack_from("<I", message, 4)
    return int(index)


class Session:
    """Says of each transport message whether it is authentic and new."""

    __slots__ = ("_newest", "_receiving_key", "_seen", "began")

    def __init__(self, answer: Answer, began: float) -> None:
        """`began`: when the response was made, in seconds of any clock."""
        self._receiving_key = answer.receiving_key
        self._newest = -1
        self._seen = 0
        """Which of the messages up to the newest one have come: bit 0 is the newest one."""
        self.began = began

    def receive(self, message: bytes, now: float) -> bool:
        """Take a transport message, of which the data are thrown away. Returns whether it is newer than all before.

        Raises Refused. Then nothing has changed.
        """
        (counter,) = struct.unpack_from("<Q", message, 8)
        if now - self.began > REJECT_AFTER or counter >= REJECT_AFTER_MESSAGES:
            raise Refused("session over")
        behind = self._newest - counter
        if behind >= 0 and (behind >= WINDOW or self._seen >> behind & 1):
            raise Refused("replayed transport")
        try:
            p.unseal(self._receiving_key, counter, message[16:], b"")
        except InvalidTag as error:
            raise Refused("forged transport") from error
        if behind >= 0:
            self._seen |= 1 << behind
            return False
        self._seen = (self._seen << min(-behind, WINDOW) | 1) & ((1 << WINDOW) - 1)
        self._newest = counter
        return True

"""The handshake, from the responder's side (whitepaper, section 5.4)."""

import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wg_orchestrator.adapters.rendezvous import primitives as p

INITIATION_BYTES = 148
RESPONSE_BYTES = 92

INITIATION = b"\x01\x00\x00\x00"
RESPONSE = b"\x02\x00\x00\x00"

_EPHEMERAL = slice(8, 40)
_STATIC = slice(40, 88)
_TIMESTAMP = slice(88, 116)
_MAC1 = slice(116, 132)
_MAC2 = slice(132, 148)


class Refused(Exception):
    """A message that gets no answer. `cause` is one of a few fixed phrases, for counting."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Initiation:
    """An initiation whose sender has, or had at some time, the private key of `static`, or the responder's own.

    It is no proof: it may be a replay, its source may be forged, and whoever has the responder's private key can make
    one for any key. The proof is the first message over a session that a response has begun.
    """

    static: bytes
    timestamp: bytes
    """TAI64N: a later initiation of the same key has a higher one."""
    sender_index: int
    chain: bytes = field(repr=False)
    hashed: bytes = field(repr=False)
    ephemeral: X25519PublicKey = field(repr=False)
    static_key: X25519PublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to an initiation, and the keys of the session that it begins."""

    message: bytes
    receiving_key: bytes = field(repr=False)
    sending_key: bytes = field(repr=False)


class Responder:
    """Answers initiations with one static key. It remembers nothing."""

    def __init__(self, private_key: bytes) -> None:
        """`private_key`: 32 bytes."""
        self._private = X25519PrivateKey.from_private_bytes(private_key)
        self.public_key = self._private.public_key().public_bytes_raw()
        self._mac1_key = p.digest(p.LABEL_MAC1 + self.public_key)
        self._chain = p.digest(p.CONSTRUCTION)
        self._hashed = p.digest(p.digest(self._chain + p.IDENTIFIER) + self.public_key)

    def is_addressed(self, message: bytes) -> bool:
        """Whether the sender of this initiation knows the responder's public key: its mac1 is right."""
        return hmac.compare_digest(p.mac(self._mac1_key, message[: _MAC1.start]), message[_MAC1])

    def shared_secret(self, static: bytes) -> bytes:
        """Of the responder's key and another one. It is the same for each of its initiations.

        Raises ValueError if the other one is no usable key.
        """
        return self._private.exchange(X25519PublicKey.from_public_bytes(static))

    def read(self, message: bytes, secret_of: Callable[[bytes], bytes | None]) -> Initiation:
        """Read an initiation of 148 bytes whose mac1 is right. `secret_of` gives the shared secret with a static key;
        None if that is nobody's business here.

        Raises Refused.
        """
        ephemeral = message[_EPHEMERAL]
        (chain,) = p.derive(self._chain, ephemeral, 1)
        hashed = p.digest(self._hashed + ephemeral)
        try:
            ephemeral_key = X25519PublicKey.from_public_bytes(ephemeral)
            chain, key = p.derive(chain, self._private.exchange(ephemeral_key), 2)
            static = p.unseal(key, 0, message[_STATIC], hashed)
            secret = secret_of(static)
            if secret is None:
                raise Refused("key not claimed")
            hashed = p.digest(hashed + message[_STATIC])
            chain, key = p.derive(chain, secret, 2)
            timestamp = p.unseal(key, 0, message[_TIMESTAMP], hashed)
            static_key = X25519PublicKey.from_public_bytes(static)
        except (InvalidTag, ValueError) as error:  # ValueError: a point of low order.
            raise Refused("forged initiation") from error
        hashed = p.digest(hashed + message[_TIMESTAMP])
        (sender_index,) = struct.unpack_from("<I", message, 4)
        return Initiation(static, timestamp, sender_index, chain, hashed, ephemeral_key, static_key)

    def answer(self, initiation: Initiation, index: int, preshared_key: bytes) -> Answer:
        """The response under this preshared key, by a fresh ephemeral key. `index` names the session here.

        Only who has the initiation's private key and the preshared key can use the session.
        """
        private = X25519PrivateKey.generate()
        ephemeral = private.public_key().public_bytes_raw()
        (chain,) = p.derive(initiation.chain, ephemeral, 1)
        (chain,) = p.derive(chain, private.exchange(initiation.ephemeral), 1)
        (chain,) = p.derive(chain, private.exchange(initiation.static_key), 1)
        chain, mixed, key = p.derive(chain, preshared_key, 3)
        hashed = p.digest(p.digest(initiation.hashed + ephemeral) + mixed)
        empty = p.seal(key, 0, b"", hashed)
        message = RESPONSE + struct.pack("<II", index, initiation.sender_index) + ephemeral + empty
        message += p.mac(p.digest(p.LABEL_MAC1 + initiation.static), message) + bytes(p.MAC_BYTES)
        receiving, sending = p.derive(chain, b"", 2)
        return Answer(message, receiving, sending)


def mac1_of(message: bytes) -> bytes:
    """What a cookie for this initiation is bound to."""
    return message[_MAC1]


def mac2_of(message: bytes) -> bytes:
    """What shows that its sender has a cookie; zeros if it has none."""
    return message[_MAC2]


def covered_by_mac2(message: bytes) -> bytes:
    """The part of an initiation that its mac2 is of."""
    return message[: _MAC2.start]

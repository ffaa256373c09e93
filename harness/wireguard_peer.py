"""A peer's WireGuard. Its Noise is the library `noiseprotocol`: an implementation that is not ours."""

import os
import struct
from hashlib import blake2s

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from noise.connection import Keypair, NoiseConnection

NO_PSK = bytes(32)


def keyed(key: bytes, data: bytes) -> bytes:
    return blake2s(data, key=key, digest_size=16).digest()


class Peer:
    """Has a key pair, and makes the messages of an initiator."""

    def __init__(self, rendezvous: bytes, preshared_key: bytes = NO_PSK, private_key: bytes | None = None) -> None:
        """`rendezvous` is the public key of whom it speaks to."""
        key = X25519PrivateKey.from_private_bytes(private_key) if private_key else X25519PrivateKey.generate()
        self.private_key = key.private_bytes_raw()
        self.public_key = key.public_key().public_bytes_raw()
        self.rendezvous = rendezvous
        self.preshared_key = preshared_key
        self.cookie: bytes | None = None
        self._stamp = 0
        self._index = b""
        self._receiver = b""
        self._noise: NoiseConnection | None = None

    def initiation(self) -> bytes:
        """Each one is later than the one before."""
        noise = self._noise = NoiseConnection.from_name(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
        noise.set_as_initiator()
        noise.set_prologue(b"WireGuard v1 zx2c4 Jason@zx2c4.com")
        noise.set_psks(psk=self.preshared_key)
        noise.set_keypair_from_private_bytes(Keypair.STATIC, self.private_key)
        noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, self.rendezvous)
        noise.start_handshake()
        self._stamp += 1
        self._index = os.urandom(4)
        body = b"\1\0\0\0" + self._index + noise.write_message(struct.pack(">QI", 2**62 + self._stamp, 0))
        return self.addressed(body)

    def addressed(self, body: bytes) -> bytes:
        """An initiation's 116 bytes, with the mac1 that anyone can make who knows the public key, and a mac2."""
        body += keyed(blake2s(b"mac1----" + self.rendezvous).digest(), body)
        return body + (bytes(16) if self.cookie is None else keyed(self.cookie, body))

    def take(self, response: bytes) -> None:
        """Raises InvalidTag if it is not for this peer."""
        assert (len(response), response[:4], response[8:12]) == (92, b"\2\0\0\0", self._index)
        mac1 = keyed(blake2s(b"mac1----" + self.public_key).digest(), response[:60])
        assert response[60:] == mac1 + bytes(16)
        assert self._noise is not None
        self._noise.read_message(response[12:60])
        self._receiver = response[4:8]

    def take_cookie(self, reply: bytes, mac1: bytes) -> None:
        """The answer of a responder that is under load, to an initiation with this mac1. The next one shows it."""
        nonce, sealed = reply[8:32], reply[32:64]
        key = _subkey(blake2s(b"cookie--" + self.rendezvous).digest(), nonce[:16])
        self.cookie = ChaCha20Poly1305(key).decrypt(bytes(4) + nonce[16:], sealed, mac1)

    def transport(self, data: bytes = b"", counter: int | None = None) -> bytes:
        """A message over the session: a keepalive if it has no data."""
        assert self._noise is not None
        state = self._noise.noise_protocol.cipher_state_encrypt
        if counter is not None:
            state.n = counter
        return b"\4\0\0\0" + self._receiver + struct.pack("<Q", state.n) + bytes(self._noise.encrypt(data))


def _subkey(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20 (draft-irtf-cfrg-xchacha, section 2.2)."""
    state = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), *struct.unpack("<4I", nonce)]
    for _ in range(10):
        for quarter in _QUARTERS:
            _mix(state, *quarter)
    return struct.pack("<8I", *state[:4], *state[12:])


_QUARTERS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def _mix(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for one, other, turned, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[one] = (state[one] + state[other]) & 0xFFFFFFFF
        word = state[turned] ^ state[one]
        state[turned] = (word << by | word >> (32 - by)) & 0xFFFFFFFF

"""The functions that WireGuard's messages are made of (whitepaper, section 5.4)."""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_BYTES = 32
MAC_BYTES = 16
TAG_BYTES = 16
COOKIE_NONCE_BYTES = 24

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
LABEL_COOKIE = b"cookie--"

_CHACHA_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
_WORD = 0xFFFFFFFF


def digest(data: bytes) -> bytes:
    """HASH: BLAKE2s of 32 bytes."""
    return hashlib.blake2s(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """MAC: keyed BLAKE2s of 16 bytes."""
    return hashlib.blake2s(data, key=key, digest_size=MAC_BYTES).digest()


def derive(chain: bytes, material: bytes, count: int) -> list[bytes]:
    """KDF: `count` keys, by HKDF with HMAC-BLAKE2s."""
    secret = hmac.digest(chain, material, "blake2s")
    keys, last = [], b""
    for number in range(1, count + 1):
        last = hmac.digest(secret, last + bytes([number]), "blake2s")
        keys.append(last)
    return keys


def seal(key: bytes, counter: int, data: bytes, bound_to: bytes) -> bytes:
    """AEAD: ChaCha20-Poly1305 with a counter as its nonce."""
    return ChaCha20Poly1305(key).encrypt(_nonce(counter), data, bound_to)


def unseal(key: bytes, counter: int, sealed: bytes, bound_to: bytes) -> bytes:
    """Raises InvalidTag if it was not sealed so."""
    return ChaCha20Poly1305(key).decrypt(_nonce(counter), sealed, bound_to)


def seal_cookie(key: bytes, nonce: bytes, data: bytes, bound_to: bytes) -> bytes:
    """XAEAD: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, section 2), with a nonce of 24 bytes."""
    return ChaCha20Poly1305(_subkey(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], data, bound_to)


def _subkey(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20. It is ChaCha20's block without the last addition of its input, of which these words are known."""
    block = Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(bytes(64))
    words = struct.unpack("<16I", block)
    known = _CHACHA_CONSTANTS + struct.unpack("<4I", nonce)
    ends = words[:4] + words[12:]
    return struct.pack("<8I", *((word - added) & _WORD for word, added in zip(ends, known, strict=True)))


def _nonce(counter: int) -> bytes:
    return struct.pack("<4xQ", counter)

"""Cookies: under load, a sender has to show that it gets what is sent to its address (whitepaper, section 5.4.7)."""

import hmac
import os
import struct
from collections.abc import Callable

from wg_orchestrator.adapters.rendezvous import primitives as p
from wg_orchestrator.adapters.rendezvous.handshake import covered_by_mac2, mac1_of, mac2_of
from wg_orchestrator.domain.endpoint import Endpoint

COOKIE_REPLY = b"\x03\x00\x00\x00"
COOKIE_REPLY_BYTES = 64
LIFE = 120.0
"""Seconds after which the secret behind the cookies is another one."""


class Cookies:
    """Gives cookies, and knows them again. It remembers nothing of whom it gave one."""

    def __init__(self, public_key: bytes, clock: Callable[[], float]) -> None:
        """`public_key` is the responder's."""
        self._key = p.digest(p.LABEL_COOKIE + public_key)
        self._clock = clock
        self._secret = self._last_secret = os.urandom(p.KEY_BYTES)
        self._since = clock()

    def reply(self, initiation: bytes, source: Endpoint) -> bytes:
        """A message of 64 bytes, less than half of the initiation, with the cookie of its source."""
        self._renew()
        nonce = os.urandom(p.COOKIE_NONCE_BYTES)
        sealed = p.seal_cookie(self._key, nonce, _cookie(self._secret, source), mac1_of(initiation))
        return COOKIE_REPLY + initiation[4:8] + nonce + sealed

    def is_shown(self, initiation: bytes, source: Endpoint) -> bool:
        """Whether the sender of this initiation has got a cookie at this address, not long ago."""
        self._renew()
        given, covered = mac2_of(initiation), covered_by_mac2(initiation)
        return any(
            hmac.compare_digest(p.mac(_cookie(secret, source), covered), given)
            for secret in (self._secret, self._last_secret)
        )

    def _renew(self) -> None:
        now = self._clock()
        if now - self._since > LIFE:
            # The last one counts for as long again, if it is not older than that.
            is_recent = now - self._since <= 2 * LIFE
            self._last_secret = self._secret if is_recent else os.urandom(p.KEY_BYTES)
            self._secret, self._since = os.urandom(p.KEY_BYTES), now


def _cookie(secret: bytes, source: Endpoint) -> bytes:
    return p.mac(secret, source.address.packed + struct.pack("!H", source.port))

"""JSON Web Tokens (RFC 7519, RFC 8725), read strictly."""

import base64
import hashlib
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from wg_orchestrator.adapters.admission.signing_keys import SigningKey
from wg_orchestrator.domain.errors import BadCredentials
from wg_orchestrator.wire import strict_json

MAX_TOKEN = 8192
"""Characters."""
SKEW = 60
"""Seconds by which the clocks of whoever signs tokens and of this machine may differ."""
REMEMBERED = 10_000
"""Tokens that were found good and are kept, so that the next peers with them cost no check of a signature."""

_LATEST = 2**53
_NAMES_ITS_KEY = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc")
"""Header fields that bring or fetch a key, or change what is signed: a token that has one is refused."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def read_header(token: str) -> dict[str, Any]:
    """The header of a token, of which nothing is known yet. Raises BadCredentials."""
    if len(token) > MAX_TOKEN or not token.isascii():
        raise BadCredentials("the token is too long, or not one")
    if token.count(".") != 2:
        raise BadCredentials("the token is no signed one of three parts")
    header = _object(token.partition(".")[0])
    if any(name in header for name in _NAMES_ITS_KEY):
        raise BadCredentials("the token's header has a field that is not taken")
    for name in ("alg", "kid"):
        if not isinstance(header.get(name), str):
            raise BadCredentials(f"the token's header has no {name}")
    return header


def unverified_claims(token: str) -> dict[str, Any]:
    """The claims of a token, for nothing but to find out who has to check it. Raises BadCredentials."""
    return _object(token.split(".")[1])


def verified_claims(token: str, header: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """The claims of a token with this header, if it was signed by this key. Raises BadCredentials."""
    if header["alg"] not in key.algorithms:
        raise BadCredentials("the token's algorithm is not its key's")
    signed, _, signature = token.rpartition(".")
    if not key.verifies(header["alg"], signed.encode(), _decoded(signature)):
        raise BadCredentials("the token's signature is not good")
    return unverified_claims(token)


def text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that has to be there, and be a text. Raises BadCredentials."""
    value = claims.get(name)
    if not isinstance(value, str):
        raise BadCredentials(f"the token's {name} is no text")
    return value


def whole(claims: Mapping[str, Any], name: str, least: int = 0, most: int = _LATEST) -> int:
    """A claim that has to be there, and be a whole number of this range. Raises BadCredentials."""
    value = claims.get(name)
    if type(value) is not int or not least <= value <= most:
        raise BadCredentials(f"the token's {name} is no whole number from {least} to {most}")
    return value


def number(claims: Mapping[str, Any], name: str) -> float:
    """A time that has to be there (RFC 7519, section 2: NumericDate). Raises BadCredentials."""
    value: Any = claims.get(name)
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= _LATEST:
        raise BadCredentials(f"the token's {name} is no time")
    return float(value)


class Remembered:
    """The claims of tokens whose signature was found good, by the tokens' digests: the latest ones."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._claims: OrderedDict[bytes, dict[str, Any]] = OrderedDict()

    def get(self, token: str) -> dict[str, Any] | None:
        digest = _digest(token)
        claims = self._claims.get(digest)
        if claims is not None:
            self._claims.move_to_end(digest)
        return claims

    def put(self, token: str, claims: dict[str, Any]) -> None:
        self._claims[_digest(token)] = claims
        if len(self._claims) > self._most:
            self._claims.popitem(last=False)

    def clear(self) -> None:
        """Forget all of them: some of their keys may not be good any more."""
        self._claims.clear()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _decoded(part: str) -> bytes:
    """A part of a token: base64url without padding, in its only spelling (RFC 7515, appendix C)."""
    padded = part + "=" * (-len(part) % 4)
    if len(part) % 4 == 1 or not _BASE64URL.fullmatch(part):
        raise BadCredentials("a part of the token is not base64url")
    raw = base64.urlsafe_b64decode(padded)
    if base64.urlsafe_b64encode(raw).decode() != padded:
        raise BadCredentials("a part of the token is not base64url")
    return raw


def _object(part: str) -> dict[str, Any]:
    try:
        found = strict_json.decode(_decoded(part).decode())
    except ValueError as error:
        raise BadCredentials("a part of the token is no JSON, or has a name twice") from error
    if not isinstance(found, dict):
        raise BadCredentials("a part of the token is no JSON object")
    return found

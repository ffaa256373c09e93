"""Public keys that tokens are signed with, from a JWK Set (RFC 7517), each with the algorithms that fit it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from wg_orchestrator.wire import strict_json

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

_ALGORITHMS = get_default_algorithms()
MAX_KEYS = 100
MAX_KEY_ID = 256
_LEAST_RSA_BITS = 2048
_MOST_RSA_BITS = 8192
"""Longer keys take long to check, and nobody has them."""


class BadKeySet(Exception):
    """A text is no JWK Set, or has a key in it that can't be what it says. Says which, without the key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and the only algorithms that a token by it may name: which they are, the token has no say in."""

    key: PublicKey
    algorithms: frozenset[str]

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether it is the signature of this key, by an algorithm that fits it."""
        return algorithm in self.algorithms and _ALGORITHMS[algorithm].verify(signed, self.key, signature)


def read_key_set(text: str, algorithms: frozenset[str], *, is_strict: bool) -> dict[str, SigningKey]:
    """The keys of a JWK Set by their ids: those for signatures by one of these algorithms.

    With `is_strict`, every key has to be one of them: the set is our own. Without it, others are passed over, as an
    identity provider has keys for other uses too.

    Raises BadKeySet.
    """
    try:
        found = strict_json.decode(text)
    except ValueError as error:
        raise BadKeySet("it is not JSON") from error
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadKeySet('it has no list "keys" of objects')
    if len(entries) > MAX_KEYS:
        raise BadKeySet(f"it has more than {MAX_KEYS} keys")
    keys = dict[str, SigningKey]()
    for number, entry in enumerate(entries, 1):
        try:
            name, key = _read(entry, algorithms)
        except (BadKeySet, InvalidKeyError, ValueError, TypeError, KeyError) as error:
            if is_strict:
                why = str(error) if isinstance(error, BadKeySet) else "its numbers are no key"
                raise BadKeySet(f"key {number}: {why}") from None
            continue
        if name in keys:
            raise BadKeySet(f"key {number}: another one has its kid")
        keys[name] = key
    if not keys and is_strict:
        raise BadKeySet("it has no keys")
    return keys


def _read(entry: Mapping[str, Any], algorithms: frozenset[str]) -> tuple[str, SigningKey]:
    name = entry.get("kid")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_KEY_ID:
        raise BadKeySet("it has no kid")
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        raise BadKeySet("it is not for signatures")
    if "d" in entry:
        raise BadKeySet("it is a private key")
    key, fitting = _parse(entry)
    named = entry.get("alg")
    usable = fitting & algorithms & (fitting if named is None else {named})
    if not usable:
        raise BadKeySet("it is for no algorithm that is taken here")
    return name, SigningKey(key, frozenset(usable))


def _parse(entry: Mapping[str, Any]) -> tuple[PublicKey, set[str]]:
    # Each kind by its own reader: a token can't have a key taken for one of another kind.
    match entry.get("kty"), entry.get("crv"):
        case "OKP", "Ed25519":
            key: Any = OKPAlgorithm.from_jwk(dict(entry))
            if isinstance(key, Ed25519PublicKey):
                return key, {"EdDSA"}
        case "EC", "P-256":
            key = ECAlgorithm.from_jwk(dict(entry))
            if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
                return key, {"ES256"}
        case "RSA", _:
            key = RSAAlgorithm.from_jwk(dict(entry))
            if isinstance(key, RSAPublicKey):
                if not _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS:
                    raise BadKeySet(f"an RSA key has {_LEAST_RSA_BITS} to {_MOST_RSA_BITS} bits")
                return key, {"RS256", "PS256"}
        case _:
            pass
    raise BadKeySet("it is of no kind that is taken here")

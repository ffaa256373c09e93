"""Tokens that must let nobody in, each with the status that answers it. Named by what is wrong with them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.invitations import Inviter, as_json, segment

WRONG_TYPES: dict[str, list[Any]] = {
    "tenant": [7, ["acme"], {"acme": 1}, True, "", "a b", "x" * 65],
    "jti": [7, ["a"], True, "", "a b", "a/b", "x" * 129],
    "iat": ["0", 0.5, True, [0], -1, 2**53 + 1, 10**30, 1e300],
    "exp": ["9999999999", 9999999999.5, True, {}, -1, 10**30],
    "nbf": ["0", 0.5, True],
    "aud": [7, ["wg-orchestrator"], True, "", "wg-orchestrator ", "WG-Orchestrator"],
    "name": [7, ["a"], True, "", "x" * 129, "a\nb", "e\u0301", "\u202e"],
    "uses": [0, -1, "1", 1.0, 1.5, True, [1], 10**9],
    "stay": [0, -1, "60", 60.0, True, 10**12],
}
REQUIRED = ("tenant", "jti", "iat", "exp", "aud")


def bad_invitations(inviter: Inviter, listener: str) -> Iterator[tuple[str, str, int]]:
    """The name, the token and the status of each. `listener` is a URL at which nobody must ask for a key."""
    now = int(time.time())
    header, claims = inviter.header(), inviter.claims(jti="bad")

    def with_header(**changes: Any) -> str:
        return inviter.sign(as_json(inviter.header(**changes)), as_json(claims))

    def with_claims(**changes: Any) -> str:
        return inviter.sign(as_json(header), as_json(inviter.claims(**{"jti": "bad", **changes})))

    for name, values in WRONG_TYPES.items():
        for value in values:
            yield f"{name} is {json.dumps(value)[:30]}", with_claims(**{name: value}), 401
        rest = as_json({other: value for other, value in claims.items() if other != name})[1:]
        yield f"{name} is null", inviter.sign(as_json(header), b'{"%s":null,' % name.encode() + rest), 401
    for name in REQUIRED:
        yield f"{name} is missing", with_claims(**{name: None}), 401
    for name in claims:
        twice = as_json(claims)[:-1] + b',"%s":%s}' % (name.encode(), as_json(claims[name]))
        yield f"{name} is there twice", inviter.sign(as_json(header), twice), 401
    for name in header:
        twice = as_json(header)[:-1] + b',"%s":%s}' % (name.encode(), as_json(header[name]))
        yield f"{name} is in the header twice", inviter.sign(twice, as_json(claims)), 401

    yield "expired by a second beyond the skew", with_claims(iat=now - 3600, exp=now - 61), 401
    yield "expired long ago", with_claims(iat=1, exp=2), 401
    yield "not yet valid", with_claims(iat=now + 90, exp=now + 3600), 401
    yield "not before later", with_claims(nbf=now + 90), 401
    yield "it ends before it begins", with_claims(iat=now, exp=now), 401
    yield "of another audience", with_claims(aud="another"), 401
    yield "for another tenant", with_claims(tenant="globex"), 403
    yield "for a tenant in another case", with_claims(tenant="Acme"), 403
    yield "uses that nobody counts", with_claims(uses=1), 401

    for alg in ("none", "None", "NONE", "", "HS256", "HS512", "RS256", "ES256", "ES256K", "Ed448", "eddsa", "EdDSA "):
        yield f"alg is {alg!r}", with_header(alg=alg), 401
    yield "alg is missing", with_header(alg=None), 401
    yield "alg is a list", with_header(alg=["EdDSA"]), 401
    unsigned = segment(as_json(inviter.header(alg="none"))) + b"." + segment(as_json(claims)) + b"."
    yield "alg is none, without a signature", unsigned.decode(), 401
    yield "no signature", with_header().rpartition(".")[0] + ".", 401
    for kid in ("../../etc/passwd", "/dev/null", "' OR 1=1 --", "", "KEY-1", "key-1 ", "x" * 5000):
        yield f"kid is {kid[:20]!r}", with_header(kid=kid), 401
    yield "kid is missing", with_header(kid=None), 401
    yield "kid is a number", with_header(kid=1), 401
    for typ in ("JWE", "at+jwt", "", 7):
        yield f"typ is {typ!r}", with_header(typ=typ), 401
    yield "typ is missing", with_header(typ=None), 401
    for name in ("jku", "x5u"):
        yield f"{name} names another key", with_header(**{name: f"{listener}/keys"}), 401
    stranger = Inviter(inviter.key_id)
    yield "jwk brings a key", stranger.sign(as_json(stranger.header(jwk=stranger.jwk())), as_json(claims)), 401
    yield "x5c brings a key", with_header(x5c=["MIIB"]), 401
    yield "crit names something", with_header(crit=["exp"]), 401
    yield "b64 is false", with_header(b64=False, crit=["b64"]), 401
    yield "zip", with_header(zip="DEF"), 401

    yield "by another key", stranger.token(), 401
    for other_name, other in _by_other_kinds(inviter, claims):
        yield other_name, other, 401
    good = inviter.token(jti="bad")
    head, payload, signature = good.split(".")
    yield "a flipped bit in the payload", f"{head}.{_flipped(payload)}.{signature}", 401
    yield "a flipped bit in the signature", f"{head}.{payload}.{_flipped(signature)}", 401
    yield "a flipped bit in the header", f"{_flipped(head)}.{payload}.{signature}", 401
    yield "the signature of another token", f"{head}.{payload}.{inviter.token(jti='other').split('.')[2]}", 401
    yield "two parts", f"{head}.{payload}", 401
    yield "four parts", f"{good}.{signature}", 401
    yield "five parts, as if encrypted", f"{good}.{payload}.{signature}", 401
    yield "a token in a token", inviter.sign(as_json(inviter.header(cty="JWT")), good.encode()), 401
    yield "a list as payload", inviter.sign(as_json(header), b"[]"), 401
    yield "a text as payload", inviter.sign(as_json(header), b'"acme"'), 401
    yield "no JSON as payload", inviter.sign(as_json(header), b"acme"), 401
    yield "NaN in the payload", inviter.sign(as_json(header), as_json(claims)[:-1] + b',"x":NaN}'), 401
    yield "deep JSON as payload", inviter.sign(as_json(header), b"[" * 2500 + b"]" * 2500), 401
    yield "no UTF-8 in the payload", inviter.sign(as_json(header), b'{"tenant":"\xff"}'), 401
    yield "a list as header", inviter.sign(b"[]", as_json(claims)), 401
    yield "no JSON as header", inviter.sign(b"acme", as_json(claims)), 401
    yield "a header of 12 KiB", with_header(padding="x" * 9000), 401
    yield "no token at all", "-", 401
    yield "dots only", "..", 401
    yield "another alphabet", good.replace("-", "+").replace("_", "/") + "+", 401
    yield "white space within", f"{head}. {payload}.{signature}", 401


def _by_other_kinds(inviter: Inviter, claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Signed by keys of other kinds, also by the public key that everybody knows."""
    raw = inviter.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = inviter.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, secret in (("raw", raw), ("PEM", pem), ("text", inviter.x.encode()), ("empty", b"")):
        signed = segment(as_json(inviter.header(alg="HS256"))) + b"." + segment(as_json(claims))
        yield f"HS256 by the public key ({name})", _joined(signed, hmac.digest(secret, signed, hashlib.sha256))
    curve = generate_private_key(SECP256R1())
    for alg in ("ES256", "EdDSA"):
        signed = segment(as_json(inviter.header(alg=alg))) + b"." + segment(as_json(claims))
        r, s = decode_dss_signature(curve.sign(signed, ECDSA(SHA256())))
        yield f"{alg} by another curve", _joined(signed, r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    signed = segment(as_json(inviter.header())) + b"." + segment(as_json(claims))
    yield "EdDSA by Ed448", _joined(signed, Ed448PrivateKey.generate().sign(signed))
    rsa = generate_rsa(65537, 2048)
    signed = segment(as_json(inviter.header(alg="RS256"))) + b"." + segment(as_json(claims))
    yield "RS256 by a key of their own", _joined(signed, rsa.sign(signed, PKCS1v15(), SHA256()))


def _joined(signed: bytes, signature: bytes) -> str:
    return (signed + b"." + segment(signature)).decode()


def _flipped(part: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    raw[len(raw) // 2] ^= 1
    return segment(bytes(raw)).decode()

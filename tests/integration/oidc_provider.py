"""An OpenID provider of the tests' own, over HTTP on loopback: real keys, real tokens, and it can misbehave."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "vpn"
CLAIM = "vpn_tenants"


class SigningKey:
    """A key of one kind, and its tokens."""

    def __init__(self, key_id: str, algorithm: str = "ES256") -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self._key: Any
        if algorithm in ("RS256", "PS256"):
            self._key = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        elif algorithm == "ES256":
            self._key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        else:
            self._key = ed25519.Ed25519PrivateKey.generate()
            public = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwk: dict[str, Any] = {**public, "kid": key_id, "use": "sig", "alg": algorithm}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return PyJWS().encode(json.dumps(claims).encode(), self._key, self.algorithm, {"kid": self.key_id, **header})


class Provider:
    """What it answers with can be changed while it runs."""

    def __init__(self) -> None:
        self.keys = [SigningKey("first")]
        self.requests = list[str]()
        self.hangs = False
        self.garbage: bytes | None = None
        """The body of all answers, if it is set."""
        self.status = 200
        self.configuration: dict[str, Any] = {}
        """What the configuration says besides, or instead."""
        self.issuer = ""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._open = set[asyncio.StreamWriter]()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self._port}/realm"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def token(self, key: SigningKey | None = None, *, tenants: Any = ("acme",), **changes: Any) -> str:
        """A good token, but for what is changed; `None` leaves a claim out."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300, CLAIM: tenants}
        claims = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        return (key or self.keys[0]).sign(claims)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (line := await reader.readline()) and line != b"\r\n":
                while await reader.readline() != b"\r\n":
                    pass
                path = line.split()[1].decode()
                self.requests.append(path)
                if self.hangs:
                    await asyncio.Event().wait()
                body = self._body(path) if self.garbage is None else self.garbage
                head = f"HTTP/1.1 {self.status} Status\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
                writer.write(head.encode() + b"\r\n\r\n" + body)
                await writer.drain()
        finally:
            self._open.discard(writer)
            writer.close()

    def _body(self, path: str) -> bytes:
        if path.endswith("/.well-known/openid-configuration"):
            found: object = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.configuration}
        else:
            found = {"keys": [key.jwk for key in self.keys]}
        return json.dumps(found).encode()


@asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    """A provider that runs."""
    provider = Provider()
    await provider.start()
    try:
        yield provider
    finally:
        with suppress(ConnectionError):
            await provider.stop()

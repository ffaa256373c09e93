"""Who may ask the operators' API at all."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wg_orchestrator.adapters.operators.pages import Pages
from wg_orchestrator.adapters.operators.problems import problem
from wg_orchestrator.rfc6455.handshake import Headers, host_name

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
"""Of every answer: a browser is to keep nothing, load nothing, and show it in no frame."""


class Guard:
    """Stands before an ASGI application: the Host has to be one of the service's names, the Origin its own, and the
    token the right one, in this order. So no page in a browser and no DNS rebinding reaches it.
    """

    def __init__(self, app: ASGIApp, pages: Pages, hosts: Iterable[str], token: str | None) -> None:
        """`hosts` are the names that it goes by, as `host_name` gives them, besides those of the machine itself.
        Without a `token`, none is asked for; for `pages` it never is.
        """
        self._app = app
        self._pages = pages
        self._hosts = _LOCAL | frozenset(hosts)
        # Compared in constant time, whatever the lengths.
        self._digest = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in _SAFE if one[0] not in given)]
            await send(message)

        headers: Headers = scope["headers"]
        hosts, origins = _values(headers, b"host"), _values(headers, b"origin")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._hosts:
            await problem(421, "the Host is none of the service's names")(scope, receive, send_safely)
        elif any(origin != f"{scope['scheme']}://{hosts[0]}" for origin in origins):
            await problem(403, "the Origin is not the service's own")(scope, receive, send_safely)
        elif (file := self._pages.find(scope["method"], scope["path"])) is not None:
            await file(scope, receive, send_safely)
        elif not self._has_token(headers):
            challenge = {"www-authenticate": "Bearer"}
            await problem(401, "a bearer token is needed", challenge)(scope, receive, send_safely)
        else:
            await self._app(scope, receive, send_safely)

    def _has_token(self, headers: Headers) -> bool:
        if self._digest is None:
            return True
        given = _values(headers, b"authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        is_right = hmac.compare_digest(_digest(token.strip(" ").encode("latin-1")), self._digest)
        return is_right and scheme.lower() == "bearer"


_key = secrets.token_bytes(32)


def _digest(token: bytes) -> bytes:
    return hmac.digest(_key, token, hashlib.sha256)


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]
